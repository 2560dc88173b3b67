"""Networks of published models that no library ships, written to load their published weights."""

"""Networks of published models that no library ships, written from their published facts to load their weights."""

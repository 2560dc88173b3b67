"""What may happen to a run, and that nothing is lost by it."""

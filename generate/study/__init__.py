"""What is asked for: the study file, its conditions, probes, noise and texts."""

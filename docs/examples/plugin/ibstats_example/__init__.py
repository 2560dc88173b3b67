"""What a package adds to ibstats: a metric, an adapter of a model, a renderer of tables."""

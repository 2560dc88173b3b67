"""Statistics of where the diversity of discrete-latent image generators comes from."""

"""Sample images and latent token grids under the probes of a study, into a labelled store."""

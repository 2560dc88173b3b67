"""From a plan to finished blocks, here or on a cluster."""

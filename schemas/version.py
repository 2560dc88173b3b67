"""The version of this software: both programs print it, and results carry it."""

__version__ = "0.2.0"

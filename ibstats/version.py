"""The version of this software, which results carry."""

__version__ = "0.2.0"

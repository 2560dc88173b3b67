"""Errors a user can repair: each message is one line that says how."""

from __future__ import annotations


class GenerateError(Exception):
    """Base of all errors that end a command with one line instead of a traceback."""


class StudyError(GenerateError):
    """The study file, or what it names, cannot be used."""


class ModelError(GenerateError):
    """A model is unknown, or cannot be loaded as asked."""


class StoreError(GenerateError):
    """A run directory is not what the command needs."""


class DiskFullError(StoreError):
    """The disk or a quota is full; everything committed is kept."""

"""Where it is kept: the template of a run, its blocks, who works on them, and its bytes."""

from schemas.moved import attributes

__getattr__ = attributes(__name__)

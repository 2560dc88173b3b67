"""The files of the published checkpoints by repository: what they hold, or how large they are.

From `hub-configs.json`, which says of every file how it was seen. What was not seen there stands here.
"""

from __future__ import annotations

import copy
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generate.models import model_class
from generate.models.public import PublicModel

DOCUMENT = json.loads(Path(__file__).with_name("hub-configs.json").read_text(encoding="utf-8"))
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

CLIP_TEXT = {
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "vocab_size": 49408,
}
"""Keys that the text towers of CLIP share."""
CLIP_L = {
    **CLIP_TEXT,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
}
CLIP_H = {
    **CLIP_TEXT,
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "projection_dim": 1024,
}
CLIP_B = {
    **CLIP_TEXT,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "num_hidden_layers": 12,
    "projection_dim": 512,
}
FLAN_T5_XL = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 5120,
    "d_kv": 64,
    "d_model": 2048,
    "feed_forward_proj": "gated-gelu",
    "model_type": "t5",
    "num_heads": 32,
    "num_layers": 24,
    "tie_word_embeddings": False,
    "vocab_size": 32128,
}
UNSEEN: dict[str, dict[str, Any]] = {
    "amused/amused-256": {
        "text_encoder/config.json": CLIP_L,
        "text_encoder/model.safetensors": 494_624_560,
        "tokenizer/vocab.json": {},
        "vqvae/diffusion_pytorch_model.safetensors": 585_000_000,
    },
    "amused/amused-512": {
        "text_encoder/config.json": CLIP_L,
        "text_encoder/model.safetensors": 494_624_560,
    },
    "MeissonFlow/Meissonic": {"text_encoder/config.json": CLIP_H},
    "microsoft/vq-diffusion-ithq": {"text_encoder/config.json": CLIP_B},
    "microsoft/phi-1_5": {"tokenizer.json": {}, "vocab.json": {}},
    "FoundationVision/LlamaGen": {"vq_ds16_c2i.pt": 287_920_306},
    "google/flan-t5-xl": {"config.json": FLAN_T5_XL, "tokenizer.json": {}},
    "deepseek-community/Janus-Pro-1B": {
        "model.safetensors": 4_153_400_000,
        "tokenizer_config.json": {},
    },
}
"""Contents and sizes that were not seen on the hub: those of the same network elsewhere."""


@dataclass(frozen=True)
class File:
    """A published file: its content where it is JSON that was seen, else only its size."""

    content: dict[str, Any] | None
    n_bytes: int

    def written(self) -> bytes:
        """The file as the libraries save it, for one that has a content."""
        return (json.dumps(self.content, indent=2) + "\n").encode()


def _of(described: Any) -> File:
    if isinstance(described, int):
        return File(None, described)
    if "content" in described:
        content = described["content"]
        return File(content, len(File(content, 0).written()))
    if "bytes" in described:
        return File(None, described["bytes"])
    number, unit = described.get("size", "1 kB").split()
    return File(None, int(float(number) * UNITS[unit]))


def files(repository: str) -> dict[str, File]:
    """All files of a repository, by their path there."""
    found = {}
    for name, described in DOCUMENT["repositories"][repository]["files"].items():
        found[name] = _of(described)
    for name, unseen in UNSEEN.get(repository, {}).items():
        found[name] = _of(unseen if isinstance(unseen, int) else {"content": unseen})
    return found


def lay(folder: Path, there: Mapping[str, File]) -> Path:
    """Write files into a folder: JSON as it is, weights of the right size that hold nothing.

    Sparse: they take no room.
    """
    for name, file in there.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.content is not None:
            path.write_bytes(file.written())
        elif path.suffix == ".safetensors":
            path.write_bytes(_header(file.n_bytes))
            os.truncate(path, file.n_bytes)
        else:
            path.write_bytes(b"{}")
            os.truncate(path, file.n_bytes)
    return folder


def _header(n_bytes: int) -> bytes:
    """The header of a safetensors file of so many bytes, all of one tensor."""
    header = b"{}"
    for _ in range(2):  # the number of its own letters is in it
        n_numbers = n_bytes - 8 - len(header)
        tensor = {"dtype": "U8", "shape": [n_numbers], "data_offsets": [0, n_numbers]}
        header = json.dumps({"all": tensor}).encode()
    return struct.pack("<Q", len(header)) + header


def keys(content: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key of a configuration, with a dot into nested ones."""
    found = []
    for key, value in content.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += keys(value, f"{prefix}{key}.")
    return found


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    """A configuration short of a key."""
    left = copy.deepcopy(content)
    *outer, last = key.split(".")
    place = left
    for name in outer:
        place = place[name]
    del place[last]
    return left


CONFIGURED = [
    ("amused", {}, "checkpoint"),
    ("amused", {"preset": "512"}, "checkpoint"),
    ("meissonic", {}, "checkpoint"),
    ("vq-diffusion", {}, "checkpoint"),
    ("janus-pro", {}, "checkpoint"),
    ("llamagen", {}, "text_encoder"),
    ("show-o", {}, "checkpoint"),
    ("show-o", {}, "image_tokenizer"),
]
"""An adapter, its options, and the source whose files are tried one after another."""


def adapter_and_options(name: str, given: Mapping[str, Any]) -> tuple[type[PublicModel], Any]:
    adapter = model_class(name)
    assert issubclass(adapter, PublicModel)
    return adapter, adapter.options(given)

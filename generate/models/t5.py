"""What models share that read texts by T5 (Raffel et al. 2020, arXiv:1910.10683)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from generate.models.checkpoint import Source
from generate.models.component import Part
from generate.study.reading import Reading

TEXT_ENCODER = Source(
    "text_encoder",
    (
        "config.json",
        "model.safetensors|model-*-of-*.safetensors|pytorch_model.bin|pytorch_model-*-of-*.bin",
        "tokenizer.json|spiece.model",
        "*.json",
    ),
    unused=("decoder.", "lm_head."),
)
"""The repository of a whole T5, of which the encoder is read."""


@dataclass(frozen=True)
class Conditioning:
    """Text states: rows of the texts, then as many unconditional ones when guided.

    `states` are (row, caption token, width), padded to one length, and `mask` (row, caption token)
    is True where there is text.
    """

    states: Tensor  # (row, caption token, width)
    mask: Tensor  # (row, caption token) bool


def part() -> Part:
    """The encoder as a part of a model.

    Its source is `TEXT_ENCODER`.
    """
    from transformers import T5EncoderModel

    return Part(T5EncoderModel, source=TEXT_ENCODER.option)


@functools.cache
def tokenizer(folder: Path) -> Any:
    """The tokenizer whose files lie in a folder.

    It is read once, and the hub is not asked.
    """
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def read(tokenizer: Any, text: str, length: int) -> Reading:
    """T5 tokens of a text, EOS included, at most `length` of them.

    `cut` is whether the whole text has more.
    """
    whole = tokenizer(text, verbose=False).input_ids
    kept = tokenizer(text, max_length=length, truncation=True).input_ids
    return Reading(tuple(kept), cut=len(whole) > length)

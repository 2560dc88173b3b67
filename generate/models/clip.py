"""CLIP's tokenizer as the published models use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from generate.study.reading import Reading

HEADS = ("num_attention_heads",)
"""Keys of a text tower's configuration whose absence no tensor tells: another number fits too."""


class ClipTokenizer:
    """Texts to as many ids as the text tower takes (77).

    `folder` has the tokenizer's files; `keep_end` is whether a cut text still ends in EOS.
    """

    def __init__(self, folder: Path, *, keep_end: bool = True) -> None:
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.keep_end = keep_end

    @property
    def length(self) -> int:
        """Ids of every text, padding included."""
        return int(self.tokenizer.model_max_length)

    def ids(self, text: str) -> Tensor:
        """Ids (1, length) of a text, padded and cut to `length`.

        A text that is cut ends in EOS where `keep_end` says so, and in the last id that fits
        otherwise.
        """
        ids = self.tokenizer(
            text,
            padding="max_length",
            max_length=self.length,
            truncation=self.keep_end,
            return_tensors="pt",
            verbose=False,
        ).input_ids
        return torch.as_tensor(ids[:, : self.length])

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the text tower sees of each text, special ids included and padding left out.

        `cut` is whether the text has more ids than `length`.
        """
        readings = []
        for text in texts:
            n_whole = len(self.tokenizer(text, verbose=False).input_ids)
            seen = self.ids(text)[0, :n_whole].tolist()
            readings.append(Reading(tuple(seen), cut=n_whole > self.length))
        return readings

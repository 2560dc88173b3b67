"""CLIP's tokenizer as the published models use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from generate.study.reading import Reading


class ClipTokenizer:
    """Texts to as many ids as the text tower takes (77); `keep_end` is whether a cut text still ends in EOS."""

    def __init__(self, folder: Path, *, keep_end: bool = True) -> None:
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.keep_end = keep_end

    @property
    def length(self) -> int:
        """Ids of every text, padding included."""
        return int(self.tokenizer.model_max_length)

    def ids(self, text: str) -> Tensor:
        """Ids (1, length) of a text, padded and cut."""
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
        """What the text tower sees of each text."""
        whole = [self.tokenizer(text, verbose=False).input_ids for text in texts]
        return [
            Reading(tuple(self.ids(text)[0, : len(ids)].tolist()), cut=len(ids) > self.length)
            for text, ids in zip(texts, whole, strict=True)
        ]

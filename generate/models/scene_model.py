"""What models of the trio's scenes share: captions in, guidance, shipped weights, images out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from generate.errors import ModelError
from generate.models.base import Card, Model
from generate.models.guidance import Guidance
from generate.provenance import weight_file
from generate.study.reading import Reading
from generate.traversal.draw import TokenLaw
from generate.trio.captions import PAD, tokenise
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import Tokenizer
from generate.trio.transformer import Body, Prefix
from schemas.provenance import ModelIdentity

IMAGE_SIZE = (32, 32)
SCENES_AT_ONCE = 256


@dataclass(frozen=True)
class SceneOptions:
    """Sampling settings of every member.

    `guidance` is the scale s of u + s (c - u), so that 1 is the plain conditional; `temperature`
    divides the guided logits.
    """

    guidance: float = 2.0
    temperature: float = 1.0


def _tokens(texts: Sequence[str]) -> NDArray[np.int64]:
    """Caption tokens (text, CAPTION_LENGTH); raises if a text is not of the grammar."""
    try:
        return tokenise(texts)
    except ValueError as error:
        raise ModelError(str(error)) from None


class SceneModel(Model):
    """A tokenizer and a transformer of the trio's scenes, with the weights that are shipped.

    A member says which files those are and which traversal it takes. Nothing is fetched.
    """

    card = Card(
        licence="Apache-2.0", verified="drawn scenes follow their captions, by the scene network"
    )
    Options: ClassVar[type[Any]] = SceneOptions
    network: Body

    def __init__(
        self,
        identity: ModelIdentity,
        options: Any,
        network: Body,
        tokenizer: Tokenizer,
        device: str,
    ) -> None:
        super().__init__(identity)
        self.settings = options
        self.network = network
        self.tokenizer = tokenizer
        self.device = device
        self.law = TokenLaw(temperature=options.temperature)

    @classmethod
    def described(cls, name: str, files: Sequence[Path], **known: Any) -> ModelIdentity:
        """The identity of a member: the given weights with their digests, and what else is `known`.

        The revision is the first twelve digits of the digest of the last file, the transformer's.
        """
        weights = [weight_file(path) for path in files]
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=weights[-1].sha256[:12],
            weights=weights,
            image_size=IMAGE_SIZE,
            **known,
        )

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading]:
        """Words of the captions, the start token included; none is cut.

        Raises ModelError for a caption outside the grammar.
        """
        return [Reading(tuple(row[row != PAD].tolist()), cut=False) for row in _tokens(texts)]

    def codes_of_images(self, n_images: int, seed: int) -> Iterator[NDArray[np.integer[Any]]]:
        """Ids (image, position) of fresh scenes, some images at a time.

        All attributes and wordings are equally frequent, whatever prompts a study has.
        """
        for index, start in enumerate(range(0, n_images, SCENES_AT_ONCE)):
            rng = np.random.default_rng([seed, index])
            scenes = draw_images(min(SCENES_AT_ONCE, n_images - start), rng)
            with torch.inference_mode():
                ids = self.tokenizer.encode(scenes.to(self.device)).flatten(1)
            yield ids.cpu().numpy()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Prefix:
        """Keys and values of the captions, then as many of the empty caption when guided.

        Each distinct caption is computed once. Raises ModelError for a word outside the grammar, or
        for too many words.
        """
        distinct = list(dict.fromkeys(texts))
        rows = [distinct.index(text) for text in texts]
        if self.guidance.guided:
            rows += [len(distinct)] * len(texts)
            distinct.append("")
        ids = torch.from_numpy(_tokens(distinct)).to(self.device)
        return self.network.encode_caption(ids).select(torch.tensor(rows, device=self.device))

    @property
    def guidance(self) -> Guidance:
        """Guidance of a batch, at the scale of the options.

        Only a scale of 1 needs no unconditional branch.
        """
        scale = self.settings.guidance
        return Guidance(scale, guided=scale != 1.0)

    def n_samples(self, conditioning: Prefix) -> int:
        """Samples of a batch of conditioning.

        Guided, it has two rows a sample.
        """
        return self.guidance.n_samples(len(conditioning.mask))

"""The trio's member of several scales: a tokenizer and a transformer of its own, on the same scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.models.base import Family, to_pixels
from generate.models.scene_model import SceneModel
from generate.study.probes import Probe
from generate.traversal import scales
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from generate.trio.scale_quantizer import SCALES, ScaleVq
from generate.trio.scale_transformer import ScaleTransformer, load_scales
from generate.trio.tokenizer import load_tokenizer
from generate.trio.transformer import Prefix
from generate.trio.weights import SHIPPED
from schemas.provenance import ModelIdentity

SIZES = [side * side for side in SCALES]
CODES = 256


class TrioScales(SceneModel):
    """Next-scale prediction: grids of side 1, 2, 3, 5 and 8, each drawn at once.

    The tokens of all scales lie in one row, coarsest first and in raster order within a scale.
    """

    family: ClassVar[Family] = "scales"
    network: ScaleTransformer
    card = replace(
        SceneModel.card,
        grids=", ".join(f"{side}x{side}" for side in SCALES),
        codebook_size=CODES,
        quantizer="vq",
        parameters=1.63,
    )

    @classmethod
    def files(cls) -> tuple[Path, Path]:
        """The shipped weights, of the tokenizer and of the transformer.

        They come with the package, so nothing is looked for elsewhere.
        """
        return SHIPPED / "tokenizer-scales.safetensors", SHIPPED / "scales.safetensors"

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """The shipped weights with their digests; a step is a scale.

        The revision is the first twelve digits of the transformer's digest.
        """
        return cls.described(
            name,
            cls.files(),
            codebook_size=CODES,
            grid=(1, sum(SIZES)),
            steps=len(SIZES),
            options=vars(options),
            quantizer="vq",
            scales=SIZES,
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The member with the shipped weights, on a torch device.

        They are stored in half precision and compute in float32.
        """
        tokenizer, network = cls.files()
        transformer = load_scales(network).to(device)
        return cls(identity, options, transformer, load_tokenizer(tokenizer).to(device), device)

    @property
    def quantizer(self) -> ScaleVq:
        """The quantizer of the tokenizer, which says what coarser scales add up to.

        Its sum after each scale is what the transformer is given of the tokens.
        """
        return cast(ScaleVq, self.tokenizer.quantizer)

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Sample scale by scale with cached keys and values.

        The trace has no path: the order is fixed.
        """
        guidance, quantizer = self.guidance, self.quantizer
        cache = self.network.cache(conditioning)
        context_of = quantizer.walk(self.n_samples(conditioning), self.device)

        def scale_logits(previous: Tensor | None, scale: int) -> Tensor:
            context = context_of(previous, scale)
            if context is not None:
                context = guidance.rows(context)
            return guidance.logits(self.network.scale_logits(cache, context, scale))

        def all_logits(tokens: Tensor) -> Tensor:
            contexts = guidance.rows(quantizer.contexts(tokens.to(self.device)))
            return guidance.logits(self.network.all_logits(conditioning, contexts))

        return scales.traverse(
            scale_logits, SIZES, law=self.law, probe=probe, noise=noise, all_logits=all_logits
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, 32, 32, 3) of the tokens (sample, 103) of all scales.

        The tokenizer gives pixels in [0, 1].
        """
        return to_pixels(self.tokenizer.decode(tokens))

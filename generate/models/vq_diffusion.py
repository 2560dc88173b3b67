"""VQ-Diffusion (Gu et al. 2022, doi:10.1109/CVPR52688.2022.01043): mask-and-replace diffusion."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.models.base import Card, Family, to_pixels
from generate.models.checkpoint import PIPELINE_FILES, Checkpoint, Source, load_tensors
from generate.models.clip import ClipTokenizer
from generate.models.public import Geometry, PublicModel, PublicOptions
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import diffusion
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from generate.traversal.transition import Schedule, mask_and_replace
from schemas.provenance import ModelIdentity

LEARNED = "learned_classifier_free_sampling_embeddings"


@dataclass(frozen=True)
class VQDiffusionOptions(PublicOptions):
    """Settings of `VQDiffusionPipeline.__call__`.

    `truncation` keeps the fewest most probable codes whose mass reaches it. The number of steps is
    the checkpoint's: fewer would start an all-MASK grid at a time when the schedule has only a part
    of it masked.
    """

    checkpoint: str = "microsoft/vq-diffusion-ithq"
    guidance: float = 5.0
    truncation: float = 1.0


class VQDiffusion(PublicModel):
    """VQ-Diffusion (ITHQ): transformer over VQ-VAE tokens, CLIP text.

    Where upstream draws the next state from the posterior mixture at once, the traversal draws x0
    and then the transition: one law, two streams of noise. Upstream clamps log-probabilities at
    -70; nothing is clamped here.
    """

    family: ClassVar[Family] = "diffusion"
    Options: ClassVar[type[Any]] = VQDiffusionOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "guided": {"guidance": 5.0, "truncation": 1.0},
        "truncated": {"guidance": 1.0, "truncation": 0.86},
    }
    card = Card(
        grids="32x32",
        codebook_size=4096,
        quantizer="vq",
        licence="MIT (code)",
        parameters=1486,
        paper="doi:10.1109/CVPR52688.2022.01043",
    )
    sources = (
        Source(
            "checkpoint",
            (
                *PIPELINE_FILES,
                f"{LEARNED}/config.json",
                f"{LEARNED}/diffusion_pytorch_model.safetensors|{LEARNED}/diffusion_pytorch_model.bin",
            ),
        ),
    )

    def __init__(self, identity: ModelIdentity, options: VQDiffusionOptions, device: str) -> None:
        from diffusers import Transformer2DModel, VQModel
        from transformers import CLIPTextModel

        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        self.text_encoder = self.component(CLIPTextModel, "text_encoder")
        self.transformer = self.compiled(self.component(Transformer2DModel, "transformer"))
        self.vqvae = self.component(VQModel, "vqvae", dtype=torch.float32)
        self.schedule = self.schedule_of(checkpoint, identity.codebook_size)
        self.learned: Tensor | None = None
        if checkpoint.json(f"{LEARNED}/config.json")["learnable"]:
            (path,) = [path for path in checkpoint.weights if path.parent.name == LEARNED]
            self.learned = load_tensors(path)["embeddings"].to(self.device, self.dtype)
        self.encode_text = functools.lru_cache(maxsize=512)(self._encode_text)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: VQDiffusionOptions) -> Geometry:
        """From the transformer, the number of levels of the decoder, and the schedule.

        The transformer counts MASK among its embeddings, the codebook does not. Steps are the
        scheduler's.
        """
        checkpoint = found["checkpoint"]
        transformer = checkpoint.json("transformer/config.json")
        levels = checkpoint.json("vqvae/config.json")["block_out_channels"]
        side = transformer["sample_size"]
        pixels = side * 2 ** (len(levels) - 1)
        steps = checkpoint.json("scheduler/scheduler_config.json")["num_train_timesteps"]
        return Geometry(transformer["num_vector_embeds"] - 1, (side, side), (pixels, pixels), steps)

    @classmethod
    def schedule_of(cls, checkpoint: Checkpoint, n_codes: int) -> Schedule:
        """The forward process over `n_codes` codes, as the scheduler's configuration file has it.

        Cumulative probabilities of staying and of being masked grow linearly over the steps.
        """
        config = checkpoint.json("scheduler/scheduler_config.json")
        return mask_and_replace(
            config["num_train_timesteps"],
            n_codes,
            alpha=(config["alpha_cum_start"], config["alpha_cum_end"]),
            gamma=(config["gamma_cum_start"], config["gamma_cum_end"]),
        )

    @classmethod
    @functools.cache
    def tokenizer(cls, options: VQDiffusionOptions) -> ClipTokenizer:
        """The CLIP tokenizer of a checkpoint; a text that is cut loses its EOS, as upstream."""
        return ClipTokenizer(cls.find(options)["checkpoint"].folder / "tokenizer", keep_end=False)

    @classmethod
    def read(cls, options: VQDiffusionOptions, texts: Sequence[str]) -> list[Reading]:
        """CLIP tokens, special ones included."""
        return cls.tokenizer(options).read(texts)

    @torch.inference_mode()
    def _encode_text(self, text: str) -> Tensor:
        """CLIP states (token, width) of a text, each of unit length; padding is attended to."""
        ids = self.tokenizer(self.settings).ids(text).to(self.device)
        states: Tensor = self.text_encoder(ids).last_hidden_state[0]
        return torch.nn.functional.normalize(states, dim=-1)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """CLIP states (row, token, width) of the texts, and unconditional ones when guided.

        Those are the checkpoint's learned states, or the states of the empty text where it has
        none. A text is encoded once and kept; the least recent of 512 goes first.
        """
        rows = [self.encode_text(text) for text in texts]
        if self.guidance.guided:
            nothing = self.encode_text("") if self.learned is None else self.learned
            rows += [nothing] * len(texts)
        return torch.stack(rows)

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Denoise from an all-MASK grid on the checkpoint's mask-and-replace schedule.

        Guidance acts on the network's log-probabilities of x0, and the truncation on what it gives.
        """
        guidance = self.guidance

        def grid_logits(tokens: Tensor, t: int) -> Tensor:
            log_p: Tensor = self.transformer(
                guidance.rows(tokens),
                encoder_hidden_states=conditioning,
                timestep=torch.tensor(t - 1, device=self.device),
                return_dict=False,
            )[0]
            return guidance.logits(log_p.mT)

        return diffusion.traverse(
            grid_logits,
            guidance.n_samples(len(conditioning)),
            math.prod(self.identity.grid),
            self.identity.codebook_size,
            schedule=self.schedule,
            law=TokenLaw(top_p=self.settings.truncation),
            probe=probe,
            noise=noise,
            device=self.device,
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        shape = (len(tokens), *self.identity.grid, self.vqvae.config.vq_embed_dim)
        latents = self.vqvae.quantize.get_codebook_entry(tokens, shape=shape)
        return to_pixels(self.vqvae.decode(latents, force_not_quantize=True).sample / 2 + 0.5)

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

from generate.errors import ModelError
from generate.models.base import Card, Family, to_pixels
from generate.models.checkpoint import (
    PIPELINE_FILES,
    Checkpoint,
    Source,
    load_tensors,
    refuse_keys,
)
from generate.models.clip import HEADS, ClipTokenizer
from generate.models.component import Part
from generate.models.precision import computing
from generate.models.public import Geometry, PublicModel, PublicOptions
from generate.models.recent import Recent
from generate.models.vq_decoder import decoded
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import diffusion
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from generate.traversal.transition import Schedule, mask_and_replace
from schemas.provenance import ModelIdentity

LEARNED = "learned_classifier_free_sampling_embeddings"
LEARNED_KIND = "LearnedClassifierFreeSamplingEmbeddings"


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
        licence="MIT",
        parameters=1486,
        download=5.9,
        paper="doi:10.1109/CVPR52688.2022.01043",
        operations=459,
        verified="logits and pixels equal those of diffusers' VQDiffusionPipeline, "
        "the law that of its loop",
        speeds={"float32": 0.097, "tf32": 0.32, "bfloat16": 0.83},
    )
    sources = (
        Source(
            "checkpoint",
            (
                *PIPELINE_FILES,
                f"{LEARNED}/config.json",
                f"{LEARNED}/diffusion_pytorch_model.safetensors|{LEARNED}/diffusion_pytorch_model.bin",
            ),
            float32=("vqvae/",),
        ),
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """Text encoder, transformer and VQ model, as diffusers saved them in 2022.

        The transformer's norm had no key then: a number of adaptive norms was the choice of one.
        """
        from diffusers import Transformer2DModel, VQModel
        from transformers import CLIPTextModel

        adaptive = {"norm_type": "ada_norm"}
        return {
            "text_encoder": Part(CLIPTextModel, "text_encoder", keys=HEADS),
            "transformer": Part(Transformer2DModel, "transformer", defaults=adaptive),
            "vqvae": Part(VQModel, "vqvae"),
        }

    def __init__(self, identity: ModelIdentity, options: VQDiffusionOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        self.text_encoder = self.component("text_encoder")
        self.transformer = self.component("transformer")
        self.vqvae = self.component("vqvae", torch.float32)
        self.schedule = self.schedule_of(checkpoint, identity.codebook_size)
        self.learned: Tensor | None = None
        shape = self.learned_shape(checkpoint)
        if shape is not None:
            self.learned = load_learned(checkpoint, shape).to(self.device, self.dtype)
        self.states: Recent[Tensor] = Recent()

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
        codes = transformer["num_vector_embeds"] - 1
        cls.learned_shape(checkpoint)
        steps = cls.schedule_of(checkpoint, codes).n_steps
        return Geometry(codes, (side, side), (pixels, pixels), steps)

    @classmethod
    def schedule_of(cls, checkpoint: Checkpoint, n_codes: int) -> Schedule:
        """The forward process over `n_codes` codes, as the scheduler's configuration file has it.

        Cumulative probabilities of staying and of being masked grow linearly over the steps.
        """
        file = "scheduler/scheduler_config.json"
        config = checkpoint.json(file, kind="VQDiffusionScheduler")
        if config["num_vec_classes"] != n_codes + 1:
            raise ModelError(
                f"{file} of checkpoint '{checkpoint.name}' has num_vec_classes "
                f"{config['num_vec_classes']}, but its transformer has {n_codes} codes and MASK: "
                "fetch it again, or name another."
            )
        return mask_and_replace(
            config["num_train_timesteps"],
            n_codes,
            alpha=(config["alpha_cum_start"], config["alpha_cum_end"]),
            gamma=(config["gamma_cum_start"], config["gamma_cum_end"]),
        )

    @classmethod
    def learned_shape(cls, checkpoint: Checkpoint) -> tuple[int, int] | None:
        """(token, width) of the learned states that stand for no text; None where there are none."""
        config = checkpoint.json(f"{LEARNED}/config.json", kind=LEARNED_KIND)
        if not config["learnable"]:
            return None
        return config["length"], config["hidden_size"]

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
    def encode_text(self, text: str) -> Tensor:
        """CLIP states (token, width) of a text, each of unit length; padding is attended to."""
        ids = self.tokenizer(self.settings).ids(text).to(self.device)
        with computing(self.settings.precision):
            states: Tensor = self.text_encoder(ids).last_hidden_state[0]
        return torch.nn.functional.normalize(states, dim=-1)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """CLIP states (row, token, width) of the texts, and unconditional ones when guided.

        Those are the checkpoint's learned states, or the states of the empty text where it has
        none. A text is encoded once and kept; the least recent of 512 goes first.
        """
        rows = [self.states.of(text, self.encode_text) for text in texts]
        if self.guidance.guided:
            nothing = self.learned
            if nothing is None:
                nothing = self.states.of("", self.encode_text)
            rows += [nothing] * len(texts)
        return torch.stack(rows)

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Denoise from an all-MASK grid on the checkpoint's mask-and-replace schedule.

        Guidance acts on the network's log-probabilities of x0, and the truncation on what it gives.
        """
        guidance = self.guidance

        @computing(self.settings.precision)
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
        return to_pixels(decoded(self.vqvae, tokens, self.identity.grid) / 2 + 0.5)


def load_learned(checkpoint: Checkpoint, shape: tuple[int, int]) -> Tensor:
    """Learned states (token, width) that stand for no text.

    Raises ModelError where their file has none of the shape that its description says.
    """
    (path,) = [path for path in checkpoint.weights if path.parent.name == LEARNED]
    tensors = load_tensors(path)
    missing = sorted({"embeddings"} - set(tensors))
    refuse_keys(checkpoint, LEARNED_KIND, "missing_keys", missing)
    learned = tensors["embeddings"]
    if learned.shape != shape:
        raise ModelError(
            f"{path} has embeddings of {tuple(learned.shape)}, but {LEARNED}/config.json says "
            f"{shape}: fetch it again, or name another."
        )
    return learned

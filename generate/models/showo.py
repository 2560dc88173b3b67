"""Show-o (Xie et al. 2024, arXiv:2408.12528): masked image tokens inside a language model."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, to_pixels
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, refuse_keys
from generate.models.guidance import Guidance
from generate.models.masked_model import MaskedModel
from generate.models.padding import left_padded
from generate.models.precision import computing
from generate.models.prefix_cache import PrefixCache
from generate.models.public import Geometry, PublicOptions
from generate.networks.lfq import DecoderConfig, LFQDecoder
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

TEXT_LENGTH = 129
"""Ids of the text part: the task token, BOS, the text and EOS, padded on the left."""
DOWNSAMPLE = 16
PAD, SOI, EOI, T2I = 0, 1, 2, 5
"""Special ids, counted from the size of the language model's own vocabulary; codes follow them."""
N_SPECIAL = 10


@dataclass(frozen=True)
class ShowoOptions(PublicOptions):
    """Settings of upstream's 512-pixel text-to-image command.

    The preset 256 has those of its 256-pixel ones. The guidance s means (1 + s) c - s u, so that 0
    is none. The path temperature of step k is the product over j <= k + 1 of (1 - j / steps) times
    `path_temperature`, as upstream's loop compounds it. `path_surprisal` says what is recorded of
    the path: `exact`, `given_candidates` (cheaper) or `none`.
    """

    checkpoint: str = "showlab/show-o-512x512"
    image_tokenizer: str = "showlab/magvitv2"
    text_tokenizer: str = "microsoft/phi-1_5"
    steps: int = 50
    guidance: float = 5.0
    path_temperature: float = 1.0
    path_surprisal: masked.PathSurprisal = "exact"

    def __post_init__(self) -> None:
        if "show-o2" in self.checkpoint.lower():
            raise ModelError(
                f"checkpoint '{self.checkpoint}' is a Show-o2: its latents are continuous, so there is "
                "no codebook to restrict and no token to take the mode of; use a Show-o, such as "
                "'showlab/show-o-512x512'."
            )


class Showo(MaskedModel):
    """Show-o 256 and 512: Phi-1.5 with image tokens, lookup-free quantisation.

    Codes are ids of the language model's vocabulary behind its words and special ids; here they run
    from 0. The law of a code leaves all other ids out.
    """

    Options: ClassVar[type[Any]] = ShowoOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "256": {"checkpoint": "showlab/show-o", "guidance": 1.75, "steps": 16},
        "512": {"checkpoint": "showlab/show-o-512x512", "guidance": 5.0, "steps": 50},
    }
    card = Card(
        grids="16x16, 32x32",
        codebook_size=8192,
        quantizer="lfq",
        licence="512 Apache-2.0, 256 MIT; image tokenizer MIT",
        parameters=1488,
        download=6.2,
        paper="arXiv:2408.12528",
        operations=275,
        verified="logits, tokens and pixels equal those recorded of upstream's code",
        speeds={"float32": 1.9, "tf32": 6.4, "bfloat16": 11.5},
    )
    sources = (
        Source(
            "checkpoint",
            ("config.json", "pytorch_model.safetensors|model.safetensors|pytorch_model.bin"),
        ),
        Source(
            "image_tokenizer",
            ("config.json", "pytorch_model.safetensors|model.safetensors|pytorch_model.bin"),
            unused=("encoder.",),
            float32=("",),
        ),
        Source("text_tokenizer", ("tokenizer.json|vocab.json", "*.json")),
    )

    def __init__(self, identity: ModelIdentity, options: ShowoOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint, images = self.found["checkpoint"], self.found["image_tokenizer"]
        self.first_special = int(checkpoint.json("config.json")["llm_vocab_size"])
        self.mask_id = self.first_special + N_SPECIAL + identity.codebook_size
        network = load_language_model(checkpoint, load_tensors(checkpoint.weights[0]))
        self.network = network.to(device, self.dtype)
        self.transformer = self.network.model
        self.decoder = load_decoder(images, load_tensors(images.weights[0])).to(device)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: ShowoOptions) -> Geometry:
        """From the number of image tokens, which fill a square; steps are the option's.

        One position stands for 16 x 16 pixels.
        """
        config = found["checkpoint"].json("config.json", kind="Showo")
        found["image_tokenizer"].json("config.json", kind="MAGVITv2")
        codes = config["codebook_size"]
        ids = config["llm_vocab_size"] + N_SPECIAL + codes
        if (config["mask_token_id"], config["vocab_size"]) != (ids, ids + 1):
            raise ModelError(
                f"config.json of checkpoint '{found['checkpoint'].name}' has mask_token_id "
                f"{config['mask_token_id']} and vocab_size {config['vocab_size']}, but its words, "
                f"special ids and codes are {ids}: fetch it again, or name another."
            )
        side = math.isqrt(config["num_vq_tokens"])
        if side**2 != config["num_vq_tokens"]:
            raise ModelError(
                f"config.json of checkpoint '{found['checkpoint'].name}' has num_vq_tokens "
                f"{config['num_vq_tokens']}, which fill no square: fetch it again, or name another."
            )
        pixels = side * DOWNSAMPLE
        bits = (2,) * (codes - 1).bit_length()
        return Geometry(codes, (side, side), (pixels, pixels), options.steps, bits)

    @classmethod
    @functools.cache
    def tokenizer(cls, options: ShowoOptions) -> Any:
        """The language model's tokenizer; the special ids are set here, not in it."""
        from transformers import AutoTokenizer

        folder = cls.find(options)["text_tokenizer"].folder
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)

    @classmethod
    @functools.cache
    def prompt(cls, options: ShowoOptions, text: str) -> tuple[list[int], bool]:
        """Ids of the text part without padding, and whether the text was cut.

        A cut one still ends in EOS.
        """
        tokenizer = cls.tokenizer(options)
        first_special = cls.find(options)["checkpoint"].json("config.json")["llm_vocab_size"]
        return text_part(tokenizer, first_special + T2I, text, TEXT_LENGTH)

    @classmethod
    def read(cls, options: ShowoOptions, texts: Sequence[str]) -> list[Reading]:
        """Ids of the text part: task token, BOS, text, EOS."""
        readings = []
        for text in texts:
            ids, cut = cls.prompt(options, text)
            readings.append(Reading(tuple(ids), cut))
        return readings

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch.

        Show-o's own number s means (1 + s) c - s u, so that 0 is none, and the scale here is 1 + s.
        """
        return Guidance.beyond(options.guidance)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Ids of the text parts (row, TEXT_LENGTH), padded on the left.

        Rows are those of the texts and then, when guided, of as many empty ones.
        """
        pad = self.first_special + PAD
        prompts = [self.prompt(self.settings, text)[0] for text in self.guidance.texts(texts)]
        return left_padded(prompts, pad, self.device, TEXT_LENGTH)[0]

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule.

        The text never looks at the image, so its keys and values are computed once and serve all
        steps.
        """
        guidance, steps = self.guidance, self.settings.steps
        n_positions, n_rows = math.prod(self.identity.grid), len(conditioning)
        is_text = conditioning != self.first_special + PAD
        length = TEXT_LENGTH + n_positions + 2
        places = torch.arange(length, device=self.device).expand(n_rows, -1)
        cache = PrefixCache(length)
        with computing(self.settings.precision):
            self.transformer(
                input_ids=conditioning,
                attention_mask=text_mask(is_text),
                position_ids=places[:, :TEXT_LENGTH],
                past_key_values=cache,
                use_cache=True,
            )
        seen_by_image = F.pad(is_text, (0, n_positions + 2), value=True)[:, None, None]
        seen_by_image = seen_by_image.expand(-1, -1, n_positions + 2, -1)
        first_code = self.first_special + N_SPECIAL
        head = self.network.lm_head
        weight, bias = head.weight[first_code : self.mask_id], head.bias[first_code : self.mask_id]

        @computing(self.settings.precision)
        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            ids = tokens.where(tokens == self.mask_id, tokens + first_code)
            ids = F.pad(ids, (1, 0), value=self.first_special + SOI)
            ids = F.pad(ids, (0, 1), value=self.first_special + EOI)
            states = self.transformer(
                input_ids=guidance.rows(ids),
                attention_mask=seen_by_image,
                position_ids=places[:, TEXT_LENGTH:],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            return guidance.logits(F.linear(states[:, 1:-1], weight, bias))

        path_temperature = compounding(self.settings.path_temperature, steps)
        return self.unmask(grid_logits, guidance.n_samples(n_rows), path_temperature, probe, noise)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1], about; what lies outside is clamped.
        """
        return to_pixels(self.decoder(tokens.view(-1, *self.identity.grid)) / 2 + 0.5)


def text_part(tokenizer: Any, task: int, text: str, length: int) -> tuple[list[int], bool]:
    """Ids of a task token, BOS, a text and EOS, at most `length`, and whether the text was cut.

    A cut one still ends in EOS. The tokenizer may put BOS before a text itself.
    """
    words = tokenizer(text, verbose=False).input_ids
    if words[:1] != [tokenizer.bos_token_id]:
        words = [tokenizer.bos_token_id, *words]
    ids = [task, *words, tokenizer.eos_token_id]
    if len(ids) <= length:
        return ids, False
    return [*ids[: length - 1], tokenizer.eos_token_id], True


def compounding(temperature: float, steps: int) -> list[float]:
    """Path temperature of each step: upstream multiplies it by 1 - (k + 1) / T at every step k.

    >>> compounding(1.0, 4)
    [0.75, 0.375, 0.09375, 0.0]
    """
    shares = 1.0 - np.arange(1, steps + 1) / steps
    found: list[float] = (temperature * np.cumprod(shares)).tolist()
    return found


def text_mask(is_text: Tensor) -> Tensor:
    """What each place of the text part sees, (row, 1, place, place) bool.

    Text sees the text before it and padding the padding; `is_text` is (row, place) bool.
    """
    length = is_text.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=is_text.device).tril()
    alike = is_text[:, :, None] == is_text[:, None, :]
    return (causal & alike)[:, None]


def load_language_model(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> Any:
    """The language model of a state dict as a PhiForCausalLM, strictly.

    Sizes are read off the tensors; raises ModelError where one is absent or unknown. Show-o's Phi
    normalises queries and keys. The variants with a CLIP tower carry a projector that sampling
    leaves out.
    """
    from transformers import PhiConfig, PhiForCausalLM

    language: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if not key.startswith("mm_projector."):
            language[key.removeprefix("showo.")] = tensor
    embeddings = "model.embed_tokens.weight"
    head_norm = "model.layers.0.self_attn.q_layernorm.weight"
    hidden = "model.layers.0.mlp.fc1.weight"
    missing = sorted({embeddings, head_norm, hidden} - set(language))
    refuse_keys(checkpoint, "Show-o", "missing_keys", missing)
    vocabulary, width = language[embeddings].shape
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": len(language[hidden]),
        "num_hidden_layers": sum(key.endswith(".mlp.fc1.weight") for key in language),
        "num_attention_heads": width // len(language[head_norm]),
        "attn_implementation": "sdpa",  # the others misread a mask of booleans
    }
    config = PhiConfig(**sizes, max_position_embeddings=2048, qk_layernorm=True)
    with torch.device("meta"):
        network = PhiForCausalLM(config)
    network.model.rotary_emb = type(network.model.rotary_emb)(config)
    return fill(checkpoint, network, language)


def load_decoder(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> LFQDecoder:
    """The decoder of an image tokenizer, strictly, in float32.

    The encoder and the derivable codebook are left out; raises ModelError where a tensor of the
    decoder is absent or unknown.
    """
    decoder: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.startswith("decoder."):
            decoder[key.removeprefix("decoder.")] = tensor.float()
    missing = sorted({"conv_in.weight", "up.0.block.0.conv1.weight"} - set(decoder))
    refuse_keys(checkpoint, "LFQDecoder", "missing_keys", missing)
    config = DecoderConfig.read(decoder)
    with torch.device("meta"):
        network = LFQDecoder(config)
    return fill(checkpoint, network, decoder)

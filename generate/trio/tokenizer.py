"""Tokenizer: 32 x 32 images to an 8 x 8 grid of codes and back.

Encoder and decoder are plain residual stacks; what is between them is one of the quantizers of
`generate.trio.quantizers`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from generate.trio import weights
from generate.trio.quantizers import Geometry, Quantised, Quantizer
from generate.trio.scale_quantizer import ScaleVq


@dataclass(frozen=True)
class TokenizerConfig:
    """Quantizer and size of a tokenizer; pairs are for the 16 x 16 and the 8 x 8 stage.

    Widths are in channels, blocks are counts of residual blocks. `scales` are the sides of the grids
    of a multi-scale `vq`, coarsest first; without any there is one grid.
    """

    quantizer: str = "vq"
    levels: tuple[int, ...] = (256,)
    encoder_widths: tuple[int, int] = (32, 64)
    encoder_blocks: tuple[int, int] = (1, 2)
    decoder_widths: tuple[int, int] = (32, 96)
    decoder_blocks: tuple[int, int] = (2, 2)
    scales: tuple[int, ...] = ()

    def make_quantizer(self) -> Quantizer:
        """The quantizer, untrained where there is something to train.

        Raises ValueError for one that is unknown, or that has no scales.
        """
        if not self.scales:
            return Geometry(self.quantizer, tuple(self.levels)).make()
        if self.quantizer != "vq":
            raise ValueError(
                f"quantizer is '{self.quantizer}': of several scales there is vq alone"
            )
        return ScaleVq(self.levels, self.scales)


class Block(nn.Module):
    """Residual block: two 3 x 3 convolutions behind a group norm.

    It starts as the identity, since the second convolution starts at zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`x` plus what the block adds, same shape."""
        added: Tensor = self.second(F.relu(self.first(F.relu(self.norm(x)))))
        return x + added


def _blocks(width: int, count: int) -> list[Block]:
    return [Block(width) for _ in range(count)]


class Tokenizer(nn.Module):
    """`encode` images to codes, `decode` codes to images; `forward` is for training.

    Images are (B, 3, 32, 32) in [0, 1], codes (B, 8, 8) int64, or of several scales (B, position).
    """

    def __init__(self, config: TokenizerConfig = TokenizerConfig()) -> None:
        super().__init__()
        self.config = config
        self.quantizer = config.make_quantizer()
        fine, coarse = config.encoder_widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, fine, 3, padding=1),
            *_blocks(fine, config.encoder_blocks[0]),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * fine, coarse, 1),
            *_blocks(coarse, config.encoder_blocks[1]),
            nn.GroupNorm(8, coarse),
            nn.ReLU(),
            nn.Conv2d(coarse, self.quantizer.dim, 1),
        )
        fine, coarse = config.decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(self.quantizer.dim, coarse, 3, padding=1),
            *_blocks(coarse, config.decoder_blocks[1]),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *_blocks(fine, config.decoder_blocks[0]),
            nn.GroupNorm(8, fine),
            nn.ReLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    @property
    def codes(self) -> int:
        """Number of codes, the same at every position.

        Of several scales there is one codebook.
        """
        return self.quantizer.codes

    def encode(self, images: Tensor) -> Tensor:
        """Codes int64 of images (B, 3, 32, 32) in [0, 1].

        They are (B, 8, 8), or of several scales (B, position).
        """
        return self.quantizer.encode(self.latents(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, 3, 32, 32) of codes as `encode` gives them, clamped to [0, 1].

        An id that is no code, such as a mask, is an IndexError on the CPU.
        """
        return self.images(self.quantizer.vectors(codes)).clamp(0, 1)

    def forward(self, images: Tensor, progress: float = 1.0) -> tuple[Tensor, Quantised]:
        """Reconstruction (unclamped) and the quantised latents (B, 8, 8, D).

        Gradients pass the quantizer straight through; `progress` is the share of the training done.
        """
        quantised: Quantised = self.quantizer(self.latents(images), progress)
        return self.images(quantised.vectors), quantised

    def latents(self, images: Tensor) -> Tensor:
        """Latents (B, 8, 8, D) of images (B, 3, 32, 32) in [0, 1].

        They are what the encoder gives, before the quantizer projects them.
        """
        latents: Tensor = self.encoder(images * 2 - 1).permute(0, 2, 3, 1)
        return latents

    def images(self, vectors: Tensor) -> Tensor:
        """Images (B, 3, 32, 32), unclamped, of vectors (B, 8, 8, D)."""
        images: Tensor = self.decoder(vectors.permute(0, 3, 1, 2))
        return images * 0.5 + 0.5


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write the tokenizer in half precision, with its sizes.

    `load_tokenizer` reads it back, rounded to half precision.
    """
    weights.save(path, tokenizer.state_dict(), asdict(tokenizer.config))


def load_tokenizer(path: Path | None = None) -> Tokenizer:
    """The shipped tokenizer, or the one at `path`, ready for inference in float32.

    Raises FileNotFoundError, with the recipe, where there is no such file.
    """
    tensors, config = weights.load(path or weights.SHIPPED / "tokenizer.safetensors")
    if "codes" in config:  # written when codes were learned, and of no other kind
        del config["code_dim"]
        config |= {"quantizer": "vq", "levels": [config.pop("codes")]}
        for name in ("codebook", "usage"):
            tensors[f"quantizer.{name}"] = tensors.pop(name)
    for name, value in config.items():
        if isinstance(value, list):  # JSON has no tuples
            config[name] = tuple(value)
    tokenizer = Tokenizer(TokenizerConfig(**config))
    tokenizer.load_state_dict(tensors)
    return tokenizer.eval().requires_grad_(False)

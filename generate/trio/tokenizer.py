"""VQ tokenizer: 32 x 32 images to an 8 x 8 grid of 256 codes and back.

Encoder and decoder are plain residual stacks. Codes live on the unit sphere, so the nearest
code is the one of largest cosine; the codebook follows the encoder by a moving average, and
codes that fall out of use restart at fresh encodings.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.trio import weights


@dataclass(frozen=True)
class TokenizerConfig:
    """Size of a tokenizer; pairs are for the 16 x 16 and the 8 x 8 stage.

    Widths are in channels, blocks are counts of residual blocks, and `code_dim` is the length of a
    code's vector.
    """

    codes: int = 256
    code_dim: int = 16
    encoder_widths: tuple[int, int] = (32, 64)
    encoder_blocks: tuple[int, int] = (1, 2)
    decoder_widths: tuple[int, int] = (32, 96)
    decoder_blocks: tuple[int, int] = (2, 2)


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

    Images are (B, 3, 32, 32) in [0, 1], codes (B, 8, 8) int64.
    """

    codebook: Tensor
    usage: Tensor

    def __init__(self, config: TokenizerConfig = TokenizerConfig()) -> None:
        super().__init__()
        self.config = config
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
            nn.Conv2d(coarse, config.code_dim, 1),
        )
        fine, coarse = config.decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, coarse, 3, padding=1),
            *_blocks(coarse, config.decoder_blocks[1]),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *_blocks(fine, config.decoder_blocks[0]),
            nn.GroupNorm(8, fine),
            nn.ReLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.register_buffer(
            "codebook", F.normalize(torch.randn(config.codes, config.code_dim), dim=1)
        )
        self.register_buffer("usage", torch.ones(config.codes))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, 8, 8) int64 of images (B, 3, 32, 32) in [0, 1].

        The code of a place is the one of largest cosine with its latent.
        """
        return self._nearest(self._latents(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, 3, 32, 32) of codes (B, 8, 8), clamped to [0, 1].

        An id that is no code, such as a mask, is an IndexError on the CPU.
        """
        return self._images(self.codebook[codes].permute(0, 3, 1, 2)).clamp(0, 1)

    def forward(self, images: Tensor, *, quantise: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction (unclamped), unit latents (B, 8, 8, D) and their codes (B, 8, 8).

        Gradients pass the quantiser straight through. Without `quantise` the decoder sees the
        latents themselves, as in the first steps of training, before the codebook is placed.
        """
        latents = self._latents(images)
        codes = self._nearest(latents)
        seen = latents
        if quantise:
            seen = latents + (self.codebook[codes] - latents).detach()
        return self._images(seen.permute(0, 3, 1, 2)), latents, codes

    @torch.no_grad()
    def follow(
        self, latents: Tensor, codes: Tensor, *, decay: float = 0.98, dead: float = 0.05
    ) -> None:
        """Move the codebook towards the latents assigned to it; restart codes used too rarely.

        `latents` are (..., D) and `codes` (...) their codes; `decay` is what a step keeps of the
        old codebook. `dead` is the share of a uniform code's usage below which a code restarts at a
        latent.
        """
        flat = latents.flatten(0, -2)
        assigned = F.one_hot(codes.flatten(), self.config.codes).to(flat.dtype)
        counts = assigned.sum(0)
        means = F.normalize(assigned.T @ flat, dim=1)
        moved = F.normalize(decay * self.codebook + (1 - decay) * means, dim=1)
        self.codebook.copy_(torch.where(counts[:, None] > 0, moved, self.codebook))
        uniform = len(flat) / self.config.codes
        self.usage.mul_(decay).add_((1 - decay) * counts / uniform)
        self.restart(flat, self.usage < dead)

    @torch.no_grad()
    def restart(self, latents: Tensor, which: Tensor) -> None:
        """Put the codes marked by `which` (codes,) at random rows of unit `latents` (n, D).

        Their usage counts as that of a uniform code again. Rows may repeat; torch's global
        generator draws them.
        """
        rows = torch.randint(len(latents), (int(which.sum()),))
        self.codebook[which] = latents[rows]
        self.usage[which] = 1.0

    def _latents(self, images: Tensor) -> Tensor:
        return F.normalize(self.encoder(images * 2 - 1).permute(0, 2, 3, 1), dim=-1)

    def _nearest(self, latents: Tensor) -> Tensor:
        return (latents @ self.codebook.T).argmax(-1)

    def _images(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(latents)
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
    tokenizer = Tokenizer(TokenizerConfig(**config))
    tokenizer.load_state_dict(tensors)
    return tokenizer.eval().requires_grad_(False)

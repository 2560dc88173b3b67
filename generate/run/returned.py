"""What an adapter returns, checked before anything is made of it.

Adapters are written by users. A value that is cast before it is looked at can become another that
is plausible: floats in [0, 1] become black images, code 65536 + k becomes code k. So every call of
`traverse` and `decode` goes through here, and what does not fit is refused in one line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError, one_line
from generate.models.base import Model
from generate.study.probes import Probe
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.timings import stage

BELOW_ZERO = 1e-3
"""Bits below zero that rounding may give; a surprisal or an entropy is 0 or more."""

DECODED_AT_ONCE = 16
"""Images that a model decodes in one call."""

BY_POSITION = ("token_surprisal", "token_entropy")
BY_STEP = ("path_surprisal", "joint_surprisal")


def sample(model: Model, label: str, texts: Sequence[str], probe: Probe, noise: Noise) -> Trace:
    """One grid a text, sampled by the model that a run calls `label`.

    Raises `ModelError` if tokens, steps or bits are not of the type, shape and range that
    `generate.traversal.trace.Trace` says, or not finite.
    """
    trace = _traversed(model, label, texts, probe, noise)
    n_positions = math.prod(model.identity.grid)
    for name in BY_POSITION:
        _check_bits(label, name, getattr(trace, name), (len(texts), n_positions))
    if trace.token_step is not None:
        _check_steps(model, label, trace.token_step, (len(texts), n_positions))
    for name in BY_STEP:
        bits = getattr(trace, name)
        if bits is not None:
            _check_bits(label, name, bits, (len(texts), model.identity.steps))
    return trace


def replay(model: Model, label: str, texts: Sequence[str], probe: Probe, noise: Noise) -> Trace:
    """Grids of known tokens, scored along paths.

    Bits may be infinite there: a path that cannot be. Raises `ModelError` for tokens as `sample`
    does, and for bits that are absent or of another type or shape.
    """
    trace = _traversed(model, label, texts, probe, noise)
    for name in ("joint_surprisal", "path_surprisal", "proposal_surprisal"):
        bits = getattr(trace, name)
        _check_tensor(label, name, bits, (len(texts), model.identity.steps), floating=True)
    return trace


def decode(
    model: Model, label: str, tokens: Tensor, keys: NDArray[np.uint64] | None = None
) -> NDArray[np.uint8]:
    """8-bit images (sample, y, x, channel) of grids (sample, position).

    With rendering noise, where its Philox keys (sample,) are given. In parts, since a decoder takes
    more memory an image than sampling does. Raises `ModelError` if the model that a run calls
    `label` gives another type or shape.
    """
    with stage("decode"):
        parts = []
        for start in range(0, len(tokens), DECODED_AT_ONCE):
            rows = slice(start, start + DECODED_AT_ONCE)
            parts.append(_decoded(model, label, tokens[rows], None if keys is None else keys[rows]))
        return np.concatenate(parts)


def _decoded(
    model: Model, label: str, tokens: Tensor, keys: NDArray[np.uint64] | None
) -> NDArray[np.uint8]:
    """Images of one part, checked."""
    method = "decode" if keys is None else "render"
    images: Any = model.decode(tokens) if keys is None else model.render(tokens, keys)
    if not isinstance(images, np.ndarray):
        _refuse(label, method, f"a {_kind(images)}; return a NumPy array of uint8 (`to_pixels`)")
    if images.dtype != np.uint8:
        repair = "return levels 0..255 as uint8, made by `to_pixels` of floats in [0, 1]"
        _refuse(label, method, f"{images.dtype}{_range(images)}; {repair}")
    shape = (len(tokens), *model.identity.image_size, 3)
    if images.shape != shape:
        repair = "return (sample, y, x, channel) of the image size that `identify` says"
        _refuse(label, method, f"images {images.shape}, but they are {shape} here; {repair}")
    return images


def _traversed(model: Model, label: str, texts: Sequence[str], probe: Probe, noise: Noise) -> Trace:
    """What `traverse` returns, its tokens checked."""
    with stage("encode"):
        conditioning = model.encode(texts)
    with stage("traverse"):
        trace: Any = model.traverse(conditioning, probe, noise)
    if not isinstance(trace, Trace):
        _refuse(label, "traverse", f"a {_kind(trace)}; return what the family's traversal returns")
    shape = (len(texts), math.prod(model.identity.grid))
    _check_tensor(label, "tokens", trace.tokens, shape, floating=False)
    _check_codes(model, label, trace.tokens)
    return trace


def _check_codes(model: Model, label: str, tokens: Tensor) -> None:
    """Refuse tokens that are no codes."""
    size = model.identity.codebook_size
    outside = tokens[(tokens < 0) | (tokens >= size)]
    if outside.numel():
        raise ModelError(
            f"`tokens` of model '{label}' hold code {int(outside[0])}, but its codes run "
            f"0..{size - 1}; were the offsets of special tokens removed?"
        )


def _check_steps(model: Model, label: str, steps: Tensor, shape: tuple[int, int]) -> None:
    """Refuse steps that a traversal does not have."""
    _check_tensor(label, "token_step", steps, shape, floating=False)
    n_steps = model.identity.steps
    outside = steps[(steps < 0) | (steps >= n_steps)]
    if outside.numel():
        raise ModelError(
            f"`token_step` of model '{label}' holds step {int(outside[0])}, but its steps run "
            f"0..{n_steps - 1}; does `identify` say as many steps as are taken?"
        )


def _check_bits(label: str, name: str, bits: Any, shape: tuple[int, int]) -> None:
    """Refuse bits that are not finite, or below zero."""
    _check_tensor(label, name, bits, shape, floating=True)
    n_bad = int((~torch.isfinite(bits)).sum())
    if n_bad:
        raise ModelError(
            f"`{name}` of model '{label}' has {n_bad} of {bits.numel()} values that are not "
            "finite; are the logits, or is the network in half precision?"
        )
    lowest = float(bits.min())
    if lowest < -BELOW_ZERO:
        raise ModelError(
            f"`{name}` of model '{label}' goes down to {lowest:.3g}, but bits are 0 or more; it "
            "is -log2 of a probability, not of a density and not the log itself."
        )


def _check_tensor(
    label: str, name: str, values: Any, shape: tuple[int, int], *, floating: bool
) -> None:
    """Refuse what is no tensor of that shape, or no floats where they are wanted, else no integers."""
    wanted = "floating point" if floating else "integers"
    if not isinstance(values, Tensor):
        _refuse(label, "traverse", f"a {_kind(values)} as `{name}`; give a tensor of {wanted}")
    is_integer = not (
        values.is_floating_point() or values.is_complex() or values.dtype == torch.bool
    )
    fits = values.is_floating_point() if floating else is_integer
    if not fits:
        _refuse(label, "traverse", f"`{name}` as {values.dtype}; give {wanted}")
    if values.shape != shape:
        _refuse(label, "traverse", f"`{name}` {tuple(values.shape)}, but it is {shape} here")


def _refuse(label: str, method: str, gave: str) -> NoReturn:
    raise ModelError(one_line(f"`{method}` of model '{label}' gave {gave}."))


def _kind(value: object) -> str:
    return type(value).__name__


def _range(values: NDArray[Any]) -> str:
    """The range of an array in words, for numbers of any kind."""
    if values.dtype.kind not in "iuf" or values.size == 0:
        return ""
    finite = values[np.isfinite(values)]
    n_bad = values.size - finite.size
    said = ""
    if finite.size:
        said = f" in [{finite.min():.4g}, {finite.max():.4g}]"
    if n_bad:
        said += f", {n_bad} of {values.size} values not finite"
    return said

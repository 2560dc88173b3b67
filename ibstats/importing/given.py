"""What a sampling loop gives, as arrays of the store: tensors, pictures and lists; nothing is bent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.importing.reading import SHAPES, check_values, n_dims, rgb
from ibstats.importing.survey import size
from ibstats.kernels.logits import surprisal_and_entropy
from schemas.variables import VARIABLES, token_dtype

Arrays = dict[str, NDArray[Any]]
"""By variable of the store, samples `(sample, ...)`."""
Grid = tuple[int, int]


def images_of(given: Any, where: str) -> NDArray[np.uint8]:
    """Give 8-bit RGB images `(sample, y, x, channel)`.

    `given` is a picture of Pillow, a list of them, or an array of one image or of several. Raises
    IbstatsError, whose message begins with `where`, for anything else.
    """
    pictures = given if isinstance(given, list | tuple) else [given]
    if pictures and all(hasattr(one, "getexif") for one in pictures):
        found: list[NDArray[np.uint8]] = []
        for one in pictures:
            found.append(rgb(one, where))
            if found[-1].shape != found[0].shape:
                raise IbstatsError(f"{where} has images of several sizes; bring them to one")
        return np.stack(found)
    values = array_of(given)
    if values.ndim == 3:
        values = values[None]
    if values.ndim == 4 and values.shape[-1] != 3 and values.shape[1] == 3:
        raise IbstatsError(
            f"{where} has images of shape {values.shape}: channels come last, for instance by "
            "images.permute(0, 2, 3, 1)"
        )
    if values.ndim == 4 and values.dtype.kind == "f":
        raise IbstatsError(
            f"{where} has images of {values.dtype}, but they are 8-bit; of values from 0 to 1 make "
            "(255 * images).round().astype('uint8')"
        )
    return _checked("image", values, where)


def tokens_of(given: Any, grid: Grid | None, codebook: int, where: str) -> NDArray[Any]:
    """Give token grids `(sample, row, col)` in the dtype of the store.

    `given` is one grid or several, flat ones where `grid` says rows and columns. Raises
    IbstatsError, whose message begins with `where`, for other shapes, and for codes that the
    codebook does not have.
    """
    values = _checked("tokens", _gridded(array_of(given), grid), where)
    if grid is not None and values.shape[1:] != tuple(grid):
        raise IbstatsError(f"{where} has tokens of {size(values.shape[1:])}, not of {size(grid)}")
    highest = int(values.max(initial=0))
    if highest >= codebook:
        raise IbstatsError(
            f"{where} holds the code {highest}, but codes run 0..{codebook - 1}; were the "
            "special-token offsets removed?"
        )
    return values.astype(token_dtype(codebook)[0])


def beside_tokens(variable: str, given: Any, tokens: NDArray[Any], where: str) -> NDArray[Any]:
    """Give what describes tokens `(sample, row, col)`, one number each, or one a step.

    Raises IbstatsError, whose message begins with `where`, for another shape or impossible values.
    """
    values = array_of(given)
    per_token = n_dims(variable) == n_dims("tokens")
    if per_token and values.size == tokens.size:
        values = values.reshape(tokens.shape)
    elif not per_token and values.ndim == 1:
        values = values[None]
    found = _checked(variable, values, where)
    expected = tokens.shape if per_token else (len(tokens), *found.shape[1:])
    if found.shape != expected:
        raise IbstatsError(
            f"`{variable}` in {where} has shape {found.shape}, but tokens have {tokens.shape}"
        )
    return found.astype(VARIABLES[variable].dtype)


def of_logits(given: Any, tokens: NDArray[Any], codebook: int, where: str) -> Arrays:
    """Give surprisal and entropy in bits, of the logits that tokens `(sample, row, col)` came from.

    `given` are logits `(sample, row, col, code)` or `(sample, position, code)`, as they were drawn
    from: after temperature, guidance and truncation. Raises IbstatsError, whose message begins with
    `where`, for another shape, logits that are no law, and tokens that could not be drawn.
    """
    logits = array_of(given)
    if logits.ndim < 2 or logits.shape[-1] != codebook:
        raise IbstatsError(
            f"{where} has logits of shape {logits.shape}, but the last dim are the {codebook} "
            "codes; leave other tokens of the vocabulary out"
        )
    if logits.size != tokens.size * codebook:
        raise IbstatsError(
            f"{where} has logits of shape {logits.shape} for tokens of {tokens.shape}"
        )
    laws = logits.reshape(*tokens.shape, codebook)
    surprisal, entropy = surprisal_and_entropy(laws, tokens)
    if np.isnan(entropy).any():
        raise IbstatsError(f"{where} has logits that are no law (NaN, +inf, or -inf of all codes)")
    if np.isinf(surprisal).any():
        raise IbstatsError(
            f"{where} has a token whose logit is -inf; give the logits that tokens were drawn from"
        )
    return {
        "token_surprisal": surprisal.astype(np.float32),
        "token_entropy": entropy.astype(np.float32),
    }


def array_of(given: Any) -> NDArray[Any]:
    """Give a NumPy array of an array, a tensor of any device, or a list of them.

    Half precision of torch, which NumPy does not know, becomes single.
    """
    if isinstance(given, list | tuple) and given and hasattr(given[0], "detach"):
        return np.stack(list(map(array_of, given)))
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        if str(given.dtype) == "torch.bfloat16":
            given = given.float()
    return np.asarray(given)


def same_numbers(arrays: Mapping[str, NDArray[Any]], where: str) -> int:
    """Give the number of samples, which all variables share.

    Raises IbstatsError, whose message begins with `where`, where they do not, or there are none.
    """
    counts = {name: len(values) for name, values in arrays.items()}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[least] != counts[most]:
        raise IbstatsError(
            f"{where} has {counts[least]} of `{least}`, but {counts[most]} of `{most}`"
        )
    if not counts[most]:
        raise IbstatsError(f"{where} has no samples")
    return counts[most]


def _gridded(values: NDArray[Any], grid: Grid | None) -> NDArray[Any]:
    """Tokens as `(sample, row, col)`, where that can be told."""
    if grid is not None:
        n_tokens = grid[0] * grid[1]
        is_one = values.shape == tuple(grid)
        if is_one or (values.ndim in (1, 2) and values.shape[-1] == n_tokens):
            return values.reshape(-1, *grid)
    return values[None] if values.ndim == 2 else values


def _checked(variable: str, values: NDArray[Any], where: str) -> NDArray[Any]:
    dims = n_dims(variable)
    if values.ndim != dims + 1:
        raise IbstatsError(
            f"`{variable}` in {where} has shape {values.shape}, but is (sample, ...) of "
            f"{SHAPES[dims]}; `grid` says the rows and columns of flat tokens"
        )
    check_values(variable, values, where)
    return values


def told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Say what samples hold, for people.

    >>> told({"image": (64, 64, 3), "tokens": (8, 8)})
    'image of 64 x 64, tokens of 8 x 8'
    """
    return ", ".join(f"{name} of {size(shape)}" for name, shape in shapes.items())

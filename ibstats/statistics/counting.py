"""The tokens of a condition, counted once: by image, by prompt, by position, over everything.

Every statistic of tokens is made from these counts. Memory is a few times `AT_ONCE` numbers, plus
one condition's tokens as they are stored and what its images hold, code by code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import StoreContractError
from ibstats.kernels import entropy
from ibstats.quantities import quantity

AT_ONCE = 1 << 22
"""Tokens or counts handled at a time."""

CACHED = 1 << 14
"""Counts in a table that is filled at random places."""

IMAGES_ALONE = 50
"""Up to so many images of a prompt each is left out in turn; above, one of so many blocks."""

Tokens = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]


class Counted:
    """The tokens of one condition, `(prompt, sample, position)`, and how often each code occurs.

    Codes run from 0 to `n_codes - 1`. Each table of counts is made once, when it is asked for.
    `there (prompt, sample)` says which images there are where prompts have unequal numbers; the
    tables of images, prompts, positions and of everything are of these alone, and the others, which
    deal as many images to each prompt, cannot be asked for then.

    >>> counted = Counted(np.array([[[0, 1], [0, 0]]]), 3)
    >>> counted.images.toarray(), counted.total
    (array([[1, 1, 0],
           [2, 0, 0]], dtype=int32), array([3, 1, 0]))
    """

    def __init__(
        self, tokens: Tokens, n_codes: int, there: NDArray[np.bool_] | None = None
    ) -> None:
        self.tokens = tokens
        self.n_codes = n_codes
        self.n_prompts, self.n_samples, self.n_positions = tokens.shape
        self.there = np.ones(tokens.shape[:2], bool) if there is None else there

    @cached_property
    def n_of_prompt(self) -> NDArray[np.int64]:
        """Number of images of each prompt, `(prompt,)`."""
        return np.asarray(self.there.sum(axis=1))

    @cached_property
    def rows(self) -> Tokens:
        """The tokens of the images that there are, `(image, position)`; images by prompt."""
        every = self.tokens.reshape(-1, self.n_positions)
        if self.there.all():
            return every
        return every[self.there.ravel()]

    @cached_property
    def images(self) -> Any:
        """How often each code occurs in each image, a sparse `(image, code)`; images by prompt."""
        parts = []
        step = max(1, AT_ONCE // self.n_positions)
        for start in range(0, len(self.rows), step):
            parts.append(_sparse(self.rows[start : start + step], self.n_codes))
        if len(parts) == 1:
            return parts[0]
        return scipy.sparse.vstack(parts, format="csr")

    @cached_property
    def total(self) -> Counts:
        """Counts over everything, `(code,)`."""
        return entropy.count_codes(self.rows, self.n_codes)

    def part(self, prompts: NDArray[np.int64], samples: NDArray[np.int64]) -> Counted:
        """Some prompts and some of each one's images, not counted again.

        `prompts` and `samples` are their numbers here; each prompt gives the same samples.
        """
        some = Counted(self.tokens[np.ix_(prompts, samples)], self.n_codes)
        rows = prompts[:, None] * self.n_samples + samples
        some.images = self.images[rows.ravel()]
        return some

    def dealt(self, images: NDArray[np.int64]) -> Any:
        """Counts of sets of images, a sparse `(set, code)`, from their numbers `(set, image)`."""
        ends = np.arange(0, images.size + 1, images.shape[1])
        ones = np.ones(images.size, np.int32)
        shape = (len(images), self.images.shape[0])
        deal = scipy.sparse.csr_array((ones, images.ravel(), ends), shape=shape)
        return deal @ self.images

    def occurrences(self, images: NDArray[np.int64]) -> Counts:
        """How many codes occur how often in sets of images, summed over the sets, `(times + 1,)`.

        `images (set, image)` are their numbers. Sets are counted a few at a time, in a table that
        stays in the processor's cache: a fourth of the time of a product of sparse matrices.
        """
        rows = self.rows
        most = images.shape[1] * self.n_positions
        found = np.zeros(most + 1, np.int64)
        step = max(1, CACHED // self.n_codes)
        for start in range(0, len(images), step):
            sets = images[start : start + step]
            counts = _dense(rows[sets].reshape(len(sets), most), self.n_codes)
            found += np.bincount(counts.ravel(), minlength=most + 1)
        return found

    @cached_property
    def prompt_of_image(self) -> NDArray[np.int64]:
        """Number of the prompt of each image, `(image,)`."""
        return np.repeat(np.arange(self.n_prompts), self.n_of_prompt)

    @cached_property
    def by_prompt(self) -> Any:
        """How often each code occurs in each prompt's images, a sparse `(prompt, code)`."""
        return self.by_group(self.prompt_of_image)

    @cached_property
    def showing(self) -> Any:
        """How many of each prompt's images show each code, a sparse `(prompt, code)`."""
        return _deal(self.prompt_of_image) @ self.images.astype(bool).astype(np.int32)

    def by_group(self, group: NDArray[np.int64]) -> Any:
        """Counts of groups of images, a sparse `(group, code)`, by the group `(image,)` of each."""
        return _deal(group) @ self.images

    def prompts(self) -> Iterator[Counts]:
        """Counts by prompt, `(some prompts, code)`, as many prompts at a time as memory allows.

        Prompts come in order, each once.
        """
        numbers = np.arange(self.n_prompts * self.n_samples).reshape(self.n_prompts, -1)
        step = max(1, AT_ONCE // max(self.n_codes, self.n_samples * self.n_positions))
        for start in range(0, self.n_prompts, step):
            yield self.dealt(numbers[start : start + step]).toarray().astype(np.int64)

    def blocks_of_images(self) -> Iterator[Counts]:
        """Counts of each image of a prompt, `(some prompts, image, code)`, of the codes it shows.

        Which code a column is differs between prompts, and those of fewer codes have zeros at the
        end. Above `IMAGES_ALONE` images, of that many blocks of them. Prompts come in order, each
        once, as many at a time as memory allows.
        """
        n_blocks = min(self.n_samples, IMAGES_ALONE)
        block = np.arange(self.n_samples) * n_blocks // self.n_samples
        widest = min(self.n_codes, self.n_samples * self.n_positions)
        step = max(1, AT_ONCE // max(self.n_codes, n_blocks * widest))
        for start in range(0, self.n_prompts, step):
            stop = min(start + step, self.n_prompts)
            images = self.images[start * self.n_samples : stop * self.n_samples]
            of_image = np.arange(stop - start)[:, None]
            n_shown = np.diff(images.indptr)
            prompt = np.repeat(np.repeat(of_image, self.n_samples), n_shown)
            table = np.repeat((of_image * n_blocks + block).ravel(), n_shown)
            column = _columns(prompt, images.indices, (stop - start, self.n_codes))
            width = int(column.max()) + 1
            counts = np.bincount(
                table * width + column, images.data, (stop - start) * n_blocks * width
            )
            yield counts.astype(np.int64).reshape(-1, n_blocks, width)

    def positions(self, weight: NDArray[np.float64] | None = None) -> Iterator[NDArray[Any]]:
        """Counts by position over all images, `(some positions, code)`.

        An image counts once, or as often as the `weight` of its prompt says, `(prompt,)`.
        Positions come in order, each once, as many at a time as memory allows.
        """
        each = None
        if weight is not None and not (weight == 1).all():
            each = weight[self.prompt_of_image]
        rows = np.ascontiguousarray(self.rows.T)
        step = max(1, AT_ONCE // max(self.n_codes, rows.shape[1]))
        for start in range(0, len(rows), step):
            yield _dense(rows[start : start + step], self.n_codes, each)

    def positions_of_prompts(self) -> Iterator[Counts]:
        """Counts of the codes at each position of each prompt, `(some prompts, position, sample)`.

        Short rows in which it is lost which code a count belongs to: see `entropy.group_counts`.
        """
        step = max(1, AT_ONCE // (self.n_samples * self.n_positions))
        for start in range(0, self.n_prompts, step):
            yield entropy.group_counts(np.moveaxis(self.tokens[start : start + step], 1, 2))


def conditions(
    tokens: xr.DataArray, n_codes: int, counts: NDArray[np.int64] | None = None
) -> Iterator[Counted]:
    """The tokens `(condition, prompt, sample, row, col)`, a condition after another.

    Each is read when its turn comes. `counts (condition, prompt)` says how many samples there are,
    by default all; what stands behind them is not looked at. Raises StoreContractError for no
    tokens, and for codes of `n_codes` or more.

    >>> codes = np.array([[[[[0, 1], [1, 3]]]]])
    >>> grids = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> [counted.total for counted in conditions(grids, 4)]
    [array([1, 2, 0, 1])]
    """
    ordered = tokens.transpose("condition", "prompt", "sample", "row", "col")
    for condition in range(ordered.sizes["condition"]):
        values = ordered.isel(condition=condition).values
        values = values.reshape(*values.shape[:2], -1)
        there = None
        if counts is not None:
            there = np.arange(values.shape[1]) < counts[condition][:, None]
        counted = Counted(values, n_codes, there)
        if values.size == 0 or counted.rows.max() >= n_codes:
            seen = "none"
            if values.size:
                seen = str(counted.rows.max())
            raise StoreContractError(
                f"`tokens` holds code {seen}, but codes run 0..{n_codes - 1}; were the "
                "special-token offsets removed before writing?"
            )
        yield counted


def labelled(
    tokens: xr.DataArray,
    rows: Sequence[Mapping[str, Any]],
    dims: tuple[str, ...],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """A row of named values a condition as variables `dims`, with the coordinates that fit them.

    Units and long names are those of the quantities' records.
    """
    shape = [tokens.sizes[dim] for dim in dims]
    coords = {name: c for name, c in tokens.coords.items() if set(c.dims) <= set(dims)}
    variables = {}
    for name in rows[0]:
        values = np.stack([row[name] for row in rows]).reshape(shape)
        variables[name] = (dims, values, _described(name))
    return xr.Dataset(variables, coords, attrs)


def _described(name: str) -> dict[str, str]:
    """Unit and long name of a quantity; nothing for a column that is none."""
    record = quantity(name)
    if record.long == name:
        return {}
    return {"units": record.unit, "long_name": record.long}


def _dense(rows: Tokens, n_codes: int, weight: NDArray[np.float64] | None = None) -> NDArray[Any]:
    """How often each code occurs in each row: `(row, n) -> (row, code)`; `weight (n,)`, else 1."""
    if len(rows) == 1:
        return np.bincount(rows[0], weight, minlength=n_codes)[None]
    offset = n_codes * np.arange(len(rows), dtype=np.int64)[:, None]
    if weight is not None:
        weight = np.broadcast_to(weight, rows.shape).ravel()
    counts = np.bincount((rows + offset).ravel(), weight, minlength=len(rows) * n_codes)
    return counts.reshape(len(rows), n_codes)


def _deal(group: NDArray[np.int64]) -> Any:
    """Which images are in which group, a sparse `(group, image)` of ones."""
    ones = np.ones(len(group), np.int32)
    shape = (int(group.max()) + 1, len(group))
    return scipy.sparse.csr_array((ones, (group, np.arange(len(group)))), shape=shape)


def _columns(
    prompt: NDArray[np.int64], code: NDArray[np.int32], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """The place of each code among those that its prompt shows; `shape` is `(prompt, code)`."""
    shown = np.zeros(shape, bool)
    shown[prompt, code] = True
    return (shown.cumsum(axis=1) - 1)[prompt, code]


def _sparse(rows: Tokens, n_codes: int) -> Any:
    """How often each code occurs in each row, a sparse `(row, code)` with codes ascending."""
    ordered = np.sort(rows, axis=1, kind="stable")  # radix sort: codes are 16-bit
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = np.flatnonzero(first)
    counts = np.diff(start, append=ordered.size).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
    codes = ordered.ravel()[start].astype(np.int32)
    return scipy.sparse.csr_array((counts, codes, ends), shape=(len(rows), n_codes))

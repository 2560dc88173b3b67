"""Mass of codes that were not seen, by the unit that counts: prompts for H(Z), images for H(Z|X).

Tokens of an image are alike and so are those of a prompt, so Good and Turing's 1 - f1 / N, of
tokens, promises too much. Left out in turn, a prompt has a share U of its tokens on codes that no
other prompt shows: the leave-one-out mean of the mass that the other prompts do not show. An
entropy with U above `MOST_UNSEEN` rests on a guess: its interval was found to cover .90 at U =
.03, .65 at .067.

Source: Good (1953), doi:10.1093/biomet/40.3-4.237, applied to prompts and images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.quantities import quantity
from ibstats.statistics import counting
from ibstats.statistics.counting import Counted, labelled

Array = NDArray[np.float64]

MOST_UNSEEN = 0.03
"""Mass of unseen codes above which an entropy is not to be relied on."""

NOTE = (
    f"rests on codes that were not seen (their mass is above {MOST_UNSEEN}): not to be relied on; "
    "read the collision entropies"
)
"""Why such a number is greyed out."""

LEANS_ON = {
    "codebook_entropy": ("unseen_by_prompt",),
    "perplexity": ("unseen_by_prompt",),
    "conditional_entropy": ("unseen_by_image",),
    "mutual_information": ("unseen_by_prompt", "unseen_by_image"),
}
"""By quantity, the unseen masses that must be small."""


def values_of(counted: Counted) -> dict[str, Array]:
    """`unseen_by_prompt` and `unseen_by_image` of one condition, `(prompt,)`: shares of its tokens.

    See `per_prompt` for what they are.
    """
    prompts = counted.by_prompt.sorted_indices()
    n_tokens = counted.n_samples * counted.n_positions
    owner = np.repeat(np.arange(counted.n_prompts), np.diff(prompts.indptr))

    def on(codes: NDArray[np.bool_]) -> Array:
        """Tokens of each prompt on some of the codes that it shows."""
        found = np.bincount(owner[codes], prompts.data[codes], counted.n_prompts)
        return found.astype(np.float64)

    shown_by_prompts = np.bincount(prompts.indices, minlength=counted.n_codes)
    by_prompt = on(shown_by_prompts[prompts.indices] == 1)
    by_image = on(counted.showing.sorted_indices().data == 1)
    return {"unseen_by_prompt": by_prompt / n_tokens, "unseen_by_image": by_image / n_tokens}


def maps_of(counted: Counted) -> dict[str, Array]:
    """`unseen_by_prompt` and `unseen_by_image` of one condition, `(position,)`: shares of tokens.

    At each position alone: codes that no other prompt, or no other image of the prompt, shows.
    """
    n_prompts, n_samples, n_positions = counted.tokens.shape
    by_image, by_prompt = np.empty(n_positions), np.empty(n_positions)
    prompt = np.arange(n_prompts)[:, None]
    for position in range(n_positions):
        codes = counted.tokens[:, :, position].astype(np.int64)
        pairs, counts = np.unique(prompt * counted.n_codes + codes, return_counts=True)
        code = pairs % counted.n_codes
        shown_by = np.bincount(code)
        by_image[position] = (counts == 1).sum()
        by_prompt[position] = counts[shown_by[code] == 1].sum()
    n_tokens = n_prompts * n_samples
    return {"unseen_by_prompt": by_prompt / n_tokens, "unseen_by_image": by_image / n_tokens}


def per_prompt(tokens: xr.DataArray, n_codes: int) -> xr.Dataset:
    """`unseen_by_prompt` and `unseen_by_image`, `(condition, prompt)`: shares of a prompt's tokens.

    On codes that no other prompt shows, and on codes that one of the prompt's images alone shows;
    1 where there is one prompt, or one image. Their means over prompts estimate the mass that n - 1
    prompts, and m - 1 images of a prompt, do not show. `tokens (condition, prompt, sample, row,
    col)`; raises StoreContractError for codes of `n_codes` or more.

    >>> codes = np.array([[0, 0], [0, 1], [0, 2], [2, 2]]).reshape(1, 2, 2, 2, 1)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> found = per_prompt(tokens, 3)
    >>> found["unseen_by_prompt"].values, found["unseen_by_image"].values
    (array([[0.25, 0.75]]), array([[0.25, 0.25]]))
    """
    rows: list[Mapping[str, Array]] = []
    for counted in counting.conditions(tokens, n_codes):
        rows.append(values_of(counted))
    return labelled(tokens, rows, ("condition", "prompt"), {})


def leaning(unseen: xr.Dataset) -> xr.DataArray:
    """Whether a quantity rests on codes that were not seen, `(quantity, condition)`.

    `unseen` as `per_prompt` has it, or of `(condition)`; the quantities are those of `LEANS_ON`.

    >>> few, many = ("condition", [0.01]), ("condition", [0.1])
    >>> unseen = xr.Dataset({"unseen_by_prompt": few, "unseen_by_image": many})
    >>> leaning(unseen).sel(quantity="conditional_entropy").values
    array([ True])
    """
    masses = unseen
    if "prompt" in unseen.dims:
        masses = unseen.mean("prompt")
    found = []
    for names in LEANS_ON.values():
        found.append((masses[list(names)].to_array("mass") > MOST_UNSEEN).any("mass"))
    stacked: xr.DataArray = xr.concat(found, "quantity", coords="minimal")
    return stacked.assign_coords(quantity=list(LEANS_ON))


def masked(maps: xr.Dataset) -> xr.Dataset:
    """Maps of positions without the entropies that rest on codes not seen there: NaN instead.

    `maps (condition, row, col)` hold the entropies of `LEANS_ON` and, at each position, the masses
    `unseen_by_prompt` and `unseen_by_image`, which stay as they are.

    >>> one = xr.Dataset({"conditional_entropy": 1.0, "unseen_by_image": 0.1})
    >>> bool(masked(one)["conditional_entropy"].isnull())
    True
    """
    found = maps
    for name, masses in LEANS_ON.items():
        if name in maps:
            seen = (maps[list(masses)].to_array("mass") <= MOST_UNSEEN).all("mass")
            found = found.assign({name: maps[name].where(seen)})
    return found


def warnings(unseen: xr.Dataset, where: str) -> list[str]:
    """A line for each mass that is too large to rely on an entropy somewhere; `where` begins it.

    `unseen` as `per_prompt` has it, or of `(condition)`.

    >>> few, many = ("condition", [0.01]), ("condition", [0.1])
    >>> unseen = xr.Dataset({"unseen_by_prompt": few, "unseen_by_image": many})
    >>> len(warnings(unseen.assign_coords(condition=["argmax"]), "trio-ar"))
    1
    """
    masses = unseen
    if "prompt" in unseen.dims:
        masses = unseen.mean("prompt")
    lines = []
    for name, unit in (("unseen_by_prompt", "prompts"), ("unseen_by_image", "images")):
        values = masses[name].values
        large = np.flatnonzero(values > MOST_UNSEEN)
        if not len(large):
            continue
        worst = large[np.argmax(values[large])]
        shorts = [quantity(of).short for of, leans_on in LEANS_ON.items() if name in leans_on]
        lines.append(
            f"{where}: the {quantity(name).long} is above {MOST_UNSEEN} in {len(large)} of "
            f"{len(values)} conditions (most in '{masses['condition'].values[worst]}', "
            f"{values[worst]:.2f}): do not rely on {', '.join(shorts)} there; use more {unit}, or "
            "read the collision entropies"
        )
    return lines

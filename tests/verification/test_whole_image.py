"""Intervals of what whole images tell of their text, against enumerated laws, and bounds of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr

from ibstats.statistics import contrasts
from ibstats.statistics.codebook import Codes
from ibstats.statistics.rescored import Rescored
from ibstats.statistics.uncertainty import Resampling
from schemas.rescored import EMPTY, STUDY, WORDINGS, RescoreRecord

pytestmark = pytest.mark.slow

Array = np.ndarray
N_GRIDS, N_WORDINGS, N_STUDIES = 32, 3, 400
HOW = Resampling(n_resamples=400)
DESIGNS = [(12, 4), (24, 10)]
"""Prompts and images of a study."""


def texts(n: tuple[int, ...], spread: float, around: Array, rng: np.random.Generator) -> Array:
    """Laws of grids, `(*n, grid)`: Dirichlet of weight `spread` around laws, and a little of them."""
    drawn = rng.standard_gamma(np.broadcast_to(spread * around, (*n, N_GRIDS)))
    return np.asarray(0.99 * drawn / drawn.sum(axis=-1, keepdims=True) + 0.01 * around)


def base() -> Array:
    """The law of all texts together."""
    law = 1 / np.arange(1, N_GRIDS + 1)
    return np.asarray(law / law.sum())


def images(law: Array, n: int, rng: np.random.Generator) -> Array:
    """Grids `(text, image)` drawn from laws `(text, grid)`."""
    below = law.cumsum(axis=-1)[:, None] < rng.random((len(law), n, 1))
    return np.minimum(below.sum(axis=-1), N_GRIDS - 1)


def bits(law: Array) -> Array:
    """Entropies of laws in bits."""
    return np.asarray(-(law * np.log2(law)).sum(axis=-1))


def scored(contrast: str, own: Array, among: Array) -> Rescored:
    """A rescoring of `own (prompt, image, path)` log-weights, and `(prompt, image, path, contrast)`."""
    names = [f"p{number}" for number in range(len(own))]
    n_paths = own.shape[-1] - 1
    record = RescoreRecord.model_construct(
        contrast=contrast, contrasts=names if contrast == STUDY else [], n_paths=n_paths
    )
    image = ("condition", "prompt", "sample", "path")
    variables = {
        "own_log_weight": (image, own[None]),
        "log_weight": ((*image, "contrast"), among[None]),
    }
    data = xr.Dataset(variables, coords={"condition": ["a"], "prompt": names})
    return Rescored("", record, data)


def of_fixed_order(law: Array, z: Array, among: Array, contrast: str) -> Rescored:
    """Images of texts `(prompt, grid)` under the texts `(prompt, contrast, grid)`, or shared ones."""
    own = np.log2(np.take_along_axis(law, z, axis=-1))
    among = np.broadcast_to(among, (len(law), *among.shape[-2:]))
    each = np.log2(np.take_along_axis(among[:, None], z[:, :, None, None], axis=-1))[..., 0]
    return scored(contrast, own[..., None], each[:, :, None])


def intervals(found: Rescored) -> xr.Dataset:
    """Intervals by quantity, of the most paths."""
    return contrasts.intervals(contrasts.information(found), HOW).isel(paths=-1, condition=0)


def covers(made: xr.Dataset, name: str, truth: float) -> bool:
    one = made.sel(quantity=name)
    return bool(one["low"] <= truth <= one["high"])


def shown(what: str, covered: dict[str, list[bool]]) -> Iterator[tuple[str, float]]:
    """Coverage by name, printed."""
    print(f"\n{what}: {', '.join(f'{name} {np.mean(of):.3f}' for name, of in covered.items())}")
    for name, of in covered.items():
        yield name, float(np.mean(of))


@pytest.mark.parametrize(("n_prompts", "n_images"), DESIGNS)
def test_information_of_the_prompts_of_a_run_is_covered(n_prompts: int, n_images: int) -> None:
    """Truth: I, H(Z) and H(Z|X) of n prompts drawn from a population, on average, and those of the study."""
    rng = np.random.default_rng(n_prompts)
    law = texts((4000, n_prompts), 8.0, base(), rng)
    of_prompt, of_all = bits(law).mean(), bits(law.mean(axis=1)).mean()
    truth = {
        "prompt_information": of_all - of_prompt,
        "grid_entropy": of_all,
        "grid_conditional": of_prompt,
    }
    covered: dict[str, list[bool]] = {name: [] for name in truth}
    of_study: list[bool] = []
    for _ in range(N_STUDIES):
        law = texts((n_prompts,), 8.0, base(), rng)
        made = intervals(of_fixed_order(law, images(law, n_images, rng), law, STUDY))
        for name, value in truth.items():
            covered[name].append(covers(made, name, value))
        own = bits(law.mean(axis=0)) - bits(law).mean()
        of_study.append(covers(made, "prompt_information", float(own)))
    for name, coverage in shown(f"{n_prompts} x {n_images}", covered | {"own I": of_study}):
        assert 0.92 <= coverage <= (1.0 if name == "own I" else 0.98), name


@pytest.mark.parametrize(("n_prompts", "n_images"), DESIGNS)
def test_information_of_the_wording_and_alignment_are_covered(
    n_prompts: int, n_images: int
) -> None:
    """Wordings spread around their meaning, meanings around one law; each image takes a wording."""
    rng = np.random.default_rng(n_prompts)

    def wordings(n: int) -> Array:
        meanings = texts((n,), 8.0, base(), rng)
        return texts((n, N_WORDINGS), 20.0, meanings[:, None], rng)

    law = wordings(20_000)
    told = bits(law.mean(axis=1)).mean() - bits(law).mean()
    aligned = (law * np.log2(law / base())).sum(axis=-1).mean()
    covered: dict[str, list[bool]] = {"wording_information": [], "alignment": []}
    n_each = -(-n_images // N_WORDINGS)
    for _ in range(N_STUDIES):
        law = wordings(n_prompts)
        z = images(law.reshape(-1, N_GRIDS), n_each, rng).reshape(n_prompts, -1)
        worded = np.repeat(np.log2(law), n_each, axis=1)
        own = np.take_along_axis(worded, z[..., None], axis=-1)
        each = np.log2(np.take_along_axis(law[:, None], z[:, :, None, None], axis=-1))[..., 0]
        made = intervals(scored(WORDINGS, own, each[:, :, None]))
        covered["wording_information"].append(covers(made, "wording_information", told))
        nothing = np.log2(base())[z][..., None, None]
        made = intervals(scored(EMPTY, own, nothing))
        covered["alignment"].append(covers(made, "alignment", aligned))
    for name, coverage in shown(f"{n_prompts} x {n_images}", covered):
        assert 0.92 <= coverage <= 0.98, name


@pytest.mark.parametrize("n_others", [24, 200])
@pytest.mark.parametrize(("n_prompts", "n_images"), DESIGNS)
def test_bounds_from_other_prompts_hold_the_information_of_the_population(
    n_prompts: int, n_images: int, n_others: int
) -> None:
    """All images stand among the same other prompts, which are drawn anew in every study."""
    rng = np.random.default_rng(n_others)
    law = texts((100_000,), 8.0, base(), rng)
    truth = bits(base()) - bits(law).mean()
    lows, highs, held = [], [], []
    made_of = []
    for _ in range(N_STUDIES):
        law, others = texts((n_prompts,), 8.0, base(), rng), texts((n_others,), 8.0, base(), rng)
        made = intervals(of_fixed_order(law, images(law, n_images, rng), others, str(n_others)))
        low, high = (made.sel(quantity=f"prompt_information_{side}") for side in ("lower", "upper"))
        held.append(bool(low["low"] <= truth <= high["high"]))
        lows.append(float(low["estimate"]))
        highs.append(float(high["estimate"]))
        made_of.append([(float(one["low"]), float(one["high"])) for one in (low, high)])
    ends = np.array(made_of)
    own = [
        float(np.mean((ends[:, side, 0] <= mean) & (mean <= ends[:, side, 1])))
        for side, mean in enumerate((np.mean(lows), np.mean(highs)))
    ]
    print(
        f"\n{n_prompts} x {n_images}, {n_others} others: I {truth:.3f}, bounds {np.mean(lows):.3f}, "
        f"{np.mean(highs):.3f}; intervals of both hold I in {np.mean(held):.3f}, and their own means "
        f"in {own[0]:.3f}, {own[1]:.3f}"
    )
    slack = 3 / np.sqrt(N_STUDIES)
    assert np.mean(lows) - slack * np.std(lows) <= truth <= np.mean(highs) + slack * np.std(highs)
    assert np.mean(held) >= 0.95
    assert min(own) >= 0.90


@pytest.mark.parametrize("n_paths", [4, 16])
@pytest.mark.parametrize(("n_prompts", "n_images"), DESIGNS)
def test_bounds_from_paths_hold_the_information_of_the_prompts(
    n_prompts: int, n_images: int, n_paths: int
) -> None:
    """Grids with 8 paths each, proposed evenly; the path that made a grid stands beside the others."""
    rng = np.random.default_rng(n_paths)
    n_grids, n_ways = N_GRIDS // 8, 8
    around = base().reshape(n_grids, n_ways)[:, rng.permutation(n_ways)].ravel()

    def of_grids(law: Array) -> Array:
        return law.reshape(*law.shape[:-1], n_grids, n_ways).sum(axis=-1)

    law = of_grids(texts((4000, n_prompts), 8.0, around, rng))
    truth = float((bits(law.mean(axis=1)) - bits(law).mean(axis=1)).mean())
    held = []
    for _ in range(N_STUDIES):
        law = texts((n_prompts,), 8.0, around, rng)
        both = images(law, n_images, rng)
        grid = both // n_ways
        proposed = rng.integers(0, n_ways, (*grid.shape, n_paths))
        way = np.concatenate([both[..., None] % n_ways, proposed], axis=-1)
        place = grid[..., None] * n_ways + way
        each = np.log2(np.moveaxis(law[:, place], 0, -1)) + np.log2(n_ways)
        own = np.take_along_axis(each, np.arange(n_prompts)[:, None, None, None], axis=-1)[..., 0]
        made = intervals(scored(STUDY, own, each))
        low, high = (made.sel(quantity=f"prompt_information_{side}") for side in ("lower", "upper"))
        held.append(bool(low["low"] <= truth <= high["high"]))
    print(f"\n{n_prompts} x {n_images}, {n_paths} paths: I {truth:.3f} held in {np.mean(held):.3f}")
    assert np.mean(held) >= 0.95


@pytest.mark.parametrize(("n_prompts", "n_images"), [(12, 4), (24, 10), (200, 1)])
@pytest.mark.parametrize("share", [0.65, 0.95])
def test_the_share_of_codes_recovered_is_covered(
    share: float, n_prompts: int, n_images: int
) -> None:
    """16 positions an image; prompts, and images within them, differ by beta laws."""
    rng = np.random.default_rng(n_prompts)
    covered = []
    for _ in range(1000):
        of_prompt = rng.beta(20 * share, 20 * (1 - share), (n_prompts, 1))
        of_image = rng.beta(20 * of_prompt, 20 * (1 - of_prompt), (n_prompts, n_images))
        recovered = rng.random((n_prompts, n_images, 4, 4)) < of_image[..., None, None]
        codes = Codes(np.zeros(recovered.shape, np.uint16), 2, recovered=recovered)
        found = codes.recovery
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= share <= found.high)
    print(f"\n{share}, {n_prompts} x {n_images}: {np.mean(covered):.3f}")
    assert 0.92 <= np.mean(covered) <= 0.98

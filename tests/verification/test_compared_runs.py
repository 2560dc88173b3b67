"""Runs compared with each other: a line is called different, or equivalent, by error no more often than said."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.statistics.comparing import DIFFERENT, EQUIVALENT, compared
from ibstats.statistics.uncertainty import Resampling

HOW = Resampling(n_resamples=499)
N_STUDIES, N_PROMPTS, N_LINES, MARGIN = 400, 24, 4, 0.5
MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / N_STUDIES)
"""Share of studies that an error rate of 5 % gives at most, but once in a thousand times."""


def studies(mean: float, margins: dict[str, float], *, skewed: bool = False) -> list[xr.Dataset]:
    """Studies of lines that share prompts, all with that true difference."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(N_STUDIES):
        x = rng.normal(size=(N_LINES, N_PROMPTS)) + rng.normal(size=N_PROMPTS)
        if skewed:
            x = np.exp(x / 2) - np.exp(0.25)  # lognormal of mean 0
        y = xr.DataArray(
            x + mean,
            {"condition": np.arange(N_LINES)},
            ("condition", "prompt"),
            name="ssim_dissimilarity",
        )
        found.append(compared(y, HOW, margins))
    return found


def share(found: list[xr.Dataset], verdict: str) -> float:
    """Share of studies in which some line has that verdict."""
    return float(np.mean([(one["verdict"] == verdict).any() for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize("skewed", [False, True])
def test_a_line_is_seldom_called_different_by_error(*, skewed: bool) -> None:
    """Also where differences are as skewed as those of a run that hardly varies and one that does."""
    found = share(studies(0.0, {}, skewed=skewed), DIFFERENT)
    print(f"different by error, {'skewed' if skewed else 'normal'}: {found:.3f}")
    assert found <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("skewed", [False, True])
def test_no_line_at_the_margin_is_called_equivalent_more_often_than_in_5_of_100(
    *, skewed: bool
) -> None:
    """The margin lies on the side of the long tail, which few prompts show too little of."""
    found = share(studies(MARGIN, {"ssim_dissimilarity": MARGIN}, skewed=skewed), EQUIVALENT)
    print(f"equivalent by error, {'skewed' if skewed else 'normal'}: {found:.3f}")
    assert found <= MOST

"""Diversity of a prompt's images, over all pairs and between wordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.analysis.diversity import diversity_groups
from ibstats.measure import Machine, distances
from ibstats.selection import select
from ibstats.statistics.diversity import between_wordings, mean_pairwise
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.analysis import Config

DIMS = ("condition", "prompt", "sample", "sample_other")


def images(m: int, n_prompts: int = 400) -> tuple[xr.DataArray, xr.DataArray]:
    """Squared distances of normals whose mean depends on the wording, of five wordings in turn."""
    rng = np.random.default_rng(m)
    wording = np.broadcast_to(np.arange(m) % 5, (2, n_prompts, m)).copy()
    wording[0] = 0
    shift = rng.normal(size=(n_prompts, 5))
    x = rng.normal(size=(2, n_prompts, m))
    x[1] += np.take_along_axis(shift, wording[1], axis=1)
    distance = (x[..., :, None] - x[..., None, :]) ** 2
    return xr.DataArray(distance, dims=DIMS), xr.DataArray(wording, dims=DIMS[:3])


def test_pairs_of_one_wording_are_left_out_where_wordings_vary() -> None:
    distance, wording = images(10, 3)
    found = between_wordings(distance, wording)
    first, second = np.triu_indices(10, 1)
    for prompt in range(3):
        index = wording.values[1, prompt]
        other = index[first] != index[second]
        expected = distance.values[1, prompt][first[other], second[other]].mean()
        assert_allclose(found[1, prompt], expected)
    assert_allclose(found[0], mean_pairwise(distance)[0])


def test_the_change_by_paraphrases_is_also_told_between_wordings(run: Path) -> None:
    settings = Config(metrics=("pixel_cosine",), resampling=Resampling(n_resamples=200))
    chosen = select(open_store(run), "toy-mim", "factorial")
    paraphrased = chosen.dataset["prompt_type"] == "paraphrase"
    several = xr.DataArray([0, 1, 2, 0, 1], dims="sample")
    wording = xr.where(paraphrased, several, 0)
    wording = wording.broadcast_like(chosen.dataset["text_index"])
    vars(chosen)["dataset"] = chosen.dataset.assign(text_index=wording)
    groups, _ = diversity_groups(chosen, settings, Machine())
    found = groups["wording_effects"]
    assert found["effect"].values.tolist() == ["paraphrase"]
    table = distances(chosen, Machine().metric("pixel_cosine"))["distance"]
    between = between_wordings(table, wording)
    change = between.sel(condition="stochastic-paraphrase-full")
    change = change - between.sel(condition=str(chosen.design.baseline))
    assert_allclose(found["estimate"].values.ravel(), change.mean())
    assert "of the 5 images" in str(found["note"].values[0])
    assert "20% of these pairs share one of the 3 wordings" in str(found["note"].values[0])


def test_the_effect_of_the_wording_does_not_depend_on_the_number_of_images() -> None:
    """True distance 4 between wordings, 2 within: pooled it falls from 4 with the images."""
    effects = {}
    for m in (5, 10, 50):
        distance, wording = images(m)
        for name, values in (
            ("between", between_wordings(distance, wording)),
            ("pooled", mean_pairwise(distance)),
        ):
            effects[name, m] = float((values[1] - values[0]).mean())
    between = [effects["between", m] for m in (5, 10, 50)]
    assert max(between) - min(between) < 0.3
    assert effects["pooled", 50] < effects["pooled", 5] - 0.2

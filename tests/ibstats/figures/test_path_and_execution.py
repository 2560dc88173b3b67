"""Figures of path and execution, and contact sheets: of the baseline that the design names, or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ibstats.errors import MissingWeights
from ibstats.measure import Machine
from ibstats.report.figures import contact, draw_path_and_execution, path_and_execution
from ibstats.selection import Selection, select
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import Store, open_store
from schemas.analysis import Config

HOW = Resampling(n_resamples=50, method="percentile")


@pytest.fixture
def store(run_copy: Path) -> Store:
    return open_store(run_copy)


@dataclass(frozen=True)
class Bare(Selection):
    """A selection that lacks some variables."""

    lacks: tuple[str, ...] = ()

    def has(self, variable: str) -> bool:
        return variable not in self.lacks and super().has(variable)


class Crossing(Bare):
    """A selection that passes for one of crossed noise."""

    @property
    def crossing(self) -> tuple[int, int]:
        return 2, 2


def names(selections: list[Selection], **settings: Any) -> Mapping[str, Any]:
    config = Config(resampling=HOW, **settings)
    return dict(path_and_execution.figures(selections, config, Machine()))


def test_a_run_without_crossed_noise_has_no_budget(store: Store, tmp_path: Path) -> None:
    selections = [select(store, model, "factorial") for model in store.models()]
    config = Config(metrics=("pixel_cosine",), resampling=HOW)
    files = draw_path_and_execution(selections, config, Machine(), tmp_path, ("svg",))
    assert [file.name for file in files] == [
        "ledger-steps.svg",
        "ledger-order.svg",
        "ledger-surprisal.svg",
    ]


@pytest.mark.parametrize(
    ("lacks", "left"),
    [
        (("token_surprisal",), {"order"}),
        (("token_step",), {"steps", "surprisal"}),
        (("token_entropy", "token_step"), set()),
        (("text_index",), {"steps", "order"}),
    ],
)
def test_a_figure_without_its_variables_is_left_out(
    store: Store, lacks: tuple[str, ...], left: set[str]
) -> None:
    bare: list[Selection] = [Bare(store, "toy-mim", "factorial", lacks=lacks)]
    assert set(names(bare, metrics=("pixel_cosine",))) == left


def test_the_preferred_distance_stands_where_none_is_asked_for(store: Store) -> None:
    found = names([select(store, "toy-mim", "factorial")])
    shown = found["surprisal"].axes[0].get_ylabel().replace("\n", " ")
    assert "structural dissimilarity" in shown or "scene-network" in shown


def test_every_distance_asked_for_has_a_figure_that_names_it(store: Store) -> None:
    found = names([select(store, "toy-mim", "factorial")], metrics=("pixel_cosine", "ssim"))
    assert {"surprisal-pixel_cosine_distance", "surprisal-ssim_dissimilarity"} <= set(found)


def test_a_distance_asked_for_that_cannot_be_had_is_an_error(store: Store) -> None:
    machine = Machine(weights={"lpips_alex": "nowhere.pth"})
    config = Config(metrics=("lpips_alex",), resampling=HOW)
    selections = [select(store, "toy-mim", "factorial")]
    with pytest.raises(MissingWeights):
        list(path_and_execution.figures(selections, config, machine))


def test_parts_below_zero_are_shown_with_their_intervals(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = Crossing(store, "toy-mim", "factorial")

    def crossed(*ignored: Any, **also: Any) -> list[Selection]:
        return [selection]

    def components(distance: xr.DataArray, *ignored: Any) -> xr.DataArray:
        values = np.linspace(-0.3, 0.1, distance.sizes["prompt"])
        one = xr.DataArray(values, dims="prompt", coords={"prompt": distance["prompt"].values})
        parts = one.expand_dims(condition=distance["condition"].values)
        return parts.expand_dims(component=["path", "execution", "interaction"])

    monkeypatch.setattr(path_and_execution, "crossed", crossed)
    monkeypatch.setattr(path_and_execution, "crossed_components", components)
    found = names([selection], metrics=("pixel_cosine",))
    panel = found["budget"].axes[0]
    points = [float(one[0].get_xdata()[0]) for one in panel.containers]
    assert points[:3] == pytest.approx([-0.1] * 3)
    assert "pixel cosine distance" in found["budget"].get_supxlabel()


def test_contact_sheets_leave_out_models_without_images(store: Store, tmp_path: Path) -> None:
    there = select(store, "toy-ar", "factorial")
    bare = Bare(store, "toy-mim", "factorial", lacks=("image",))
    files = contact.contact_sheets([bare, there], tmp_path, prompts=(0, 99), n_samples=2)
    assert [file.name for file in files] == ["contact-toy-ar.png"]


def test_a_sheet_of_strategies_needs_a_baseline(store: Store, tmp_path: Path) -> None:
    selection = select(store, "toy-ar", "factorial")
    files = contact.strategy_sheets([selection], tmp_path, prompts=(0,), formats=("svg",))
    text = files[0].read_text(encoding="utf-8")
    assert [file.name for file in files] == ["factorial-toy-ar.svg"]
    for column in ("stochastic/original/full", "argmax/original/full"):
        assert f"<!-- {column} -->" in text


def test_sheets_are_those_that_suit_the_experiment(store: Store, tmp_path: Path) -> None:
    files = contact.sheets(store, Config(models=("toy-ar",)), tmp_path)
    assert [file.name for file in files] == ["contact-toy-ar.png"]

"""Path draws x execution draws: which samples share which noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generate.errors import StudyError
from generate.run import blocks
from generate.run.blocks import run
from generate.run.loading import load_recorded
from generate.run.preparing import prepare
from generate.study.planning import plan, recorded_plan
from generate.study.study_file import load_study
from tests.generate.conftest import edited
from tests.generate.test_batching import counting
from tests.generate.test_run import dataset

PATHS, EXECUTIONS = 3, 4


@pytest.fixture
def crossed(study_file: Path) -> Path:
    experiment = {"kind": "crossed_noise", "paths": PATHS, "executions": EXECUTIONS}
    return edited(
        study_file,
        experiments={"factorial": {"keep_ratio": 1.0, "paraphrases": 3}, "crossed": experiment},
        calibration=None,
    )


def test_every_path_draw_meets_every_execution_draw(crossed: Path, tmp_path: Path) -> None:
    laid_out = plan(*load_study(str(edited(crossed, experiments={"factorial": {"kind": "crossed_noise",
        "paths": PATHS, "executions": EXECUTIONS}}))))  # fmt: skip
    store = prepare(laid_out, tmp_path / "run")
    assert run(laid_out, store).failed == 0
    assert list(recorded_plan(store.run, store.prompts).blocks()) == list(laid_out.blocks())
    for model in laid_out.models:
        ds = dataset(store, model)
        assert ds.sizes["sample"] == PATHS * EXECUTIONS
        assert list(ds.condition.values) == ["stochastic-original-full"]
        path, execution = (
            ds[f"{role}_key"].values[0].reshape(-1, PATHS, EXECUTIONS)
            for role in ("path", "execution")
        )
        assert (path == path[:, :, :1]).all()
        assert (execution == execution[:, :1]).all()
        assert len(np.unique(path)) == len(path) * PATHS
        assert len(np.unique(execution)) == len(path) * EXECUTIONS
    tokens = dataset(store, "toy-autoregressive").tokens.values.reshape(-1, PATHS, EXECUTIONS, 4)
    assert (tokens == tokens[:, :1]).all()  # no path noise: the execution draw decides alone


@pytest.mark.parametrize("model", ["toy-autoregressive", "toy-masked", "toy-diffusion"])
def test_what_follows_from_the_same_noise_is_sampled_once_and_stored_as_if_each_were(
    crossed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """A fixed order has no path noise, and argmax leaves no draw."""
    both = {"kind": "crossed_noise", "paths": PATHS, "executions": EXECUTIONS,
            "sampling": ["stochastic", "argmax"]}  # fmt: skip
    laid_out = plan(*load_study(str(edited(crossed, experiments={"crossed": both}))))
    store, sizes = prepare(laid_out, tmp_path / "run"), list[int]()
    loaded = load_recorded(laid_out, store.run, model, "cpu")
    monkeypatch.setattr(type(loaded), "traverse", counting(type(loaded), sizes))
    free = EXECUTIONS if loaded.identity.has_fixed_order else PATHS * EXECUTIONS
    argmax = 1 if loaded.identity.has_fixed_order else PATHS
    ours = [block for block in laid_out.blocks() if block.model == model]
    for block in ours:
        sizes.clear()
        made = blocks.generate_block(laid_out, store, loaded, block)
        each = argmax if laid_out.experiments["crossed"][block.condition].argmax_window else free
        assert sum(sizes) == each * (block.stop - block.start)
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "rows_to_sample", everyone)
            expected = blocks.generate_block(laid_out, store, loaded, block)
        for name, values in expected.items():
            np.testing.assert_allclose(made[name], values, rtol=1e-6, err_msg=name)
    assert len(ours) > 2


def everyone(
    model: object, probe: object, texts: np.ndarray, *keys: object
) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(texts)), np.arange(len(texts))


def test_experiments_have_their_own_numbers_of_samples(crossed: Path) -> None:
    laid_out = plan(*load_study(str(crossed)))
    assert laid_out.n_samples("factorial") == 6
    assert laid_out.n_samples("crossed") == PATHS * EXECUTIONS
    first = laid_out.noise_draw("crossed", "path")
    assert list(first[:5]) == [0, 0, 0, 0, 1]
    assert list(laid_out.noise_draw("factorial", "path")) == list(range(6))


def test_a_misspelt_key_of_an_experiment_names_its_own_keys(study_file: Path) -> None:
    for kind, wrong, allowed in (
        ("crossed_noise", "path", "paths"),
        ("factorial", "keep_rati", "keep_ratio"),
    ):
        broken = edited(study_file, experiments={"mine": {"kind": kind, wrong: 3}})
        message = rf"unknown key 'experiments.mine.{wrong}' \(did you mean '{allowed}'\?\); allowed here: kind, "
        with pytest.raises(StudyError, match=message):
            load_study(str(broken))

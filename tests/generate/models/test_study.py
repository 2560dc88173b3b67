"""Every published model, on its tiny checkpoint, through `ibgenerate run` and `ibstats`."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

import ibstats
from generate.cli import app
from tests.generate.conftest import prompt_lines
from tests.generate.models.test_contract import CHECKPOINTS as ALL
from tests.generate.models.test_contract import OF_CLASSES

CHECKPOINTS = {name: make for name, make in ALL.items() if name not in OF_CLASSES}
"""Models that draw classes have studies in files of their own: test_var.py, test_maskgit.py."""


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    models = []
    for name, make in CHECKPOINTS.items():
        (folder / name).mkdir()
        models.append({"model": name, "options": make(folder / name)})
    for tag, n in {"study": 2, "calibration": 2}.items():
        (folder / f"{tag}.jsonl").write_text(prompt_lines(tag, n))
    document = {
        "name": "public",
        "samples": 2,
        "models": models,
        "prompts": {"source": "study.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": 2, "samples": 1},
        "experiments": {"factorial": {"kind": "factorial", "paraphrases": 2, "keep_ratio": 0.6}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    done = CliRunner().invoke(
        app, ["run", str(folder / "study.yaml"), "--out", str(folder / "run"), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_every_model_fills_the_factorial_with_allowed_codes(run_directory: Path) -> None:
    """Where a model has strata, those of its stratum, of which each keeps as many."""
    tree = xr.open_datatree(run_directory / "data.zarr", engine="zarr", consolidated=False)
    store = ibstats.open_store(run_directory)
    for name in CHECKPOINTS:
        ds = tree[f"{name}/factorial"].to_dataset().load()
        assert ds.complete.all()
        assert (ds.text_tokens > 0).all()
        assert not ds.text_cut.any()
        identity = store.identity(name)
        strata = np.zeros(identity.grid, dtype=int)
        if identity.strata:
            strata = np.reshape(identity.strata, identity.grid)
        keep = ds.codebook_keep.values[:, None]
        if "stratum_keep" in ds:
            keep = ds.stratum_keep.values
        for condition in range(ds.sizes["condition"]):
            assert keep[condition][strata, ds.tokens.values[condition]].all()
        assert keep.sum(2).min() == round(0.6 * ds.sizes["code"])
        assert np.isfinite(ds.token_surprisal).all()


def test_ibstats_analyses_the_run(run_directory: Path) -> None:
    store = ibstats.open_store(run_directory)
    assert store.models() == list(CHECKPOINTS)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # two prompts are too few for honest intervals, and it says so
        tree = ibstats.analyse(store, ibstats.Config(metrics=("pixel_cosine",), n_shuffles=5))
    for name in CHECKPOINTS:
        measured = (
            tree[f"{name}/information"].to_dataset()["estimate"].sel(quantity="codebook_entropy")
        )
        assert 0 <= float(measured.min()) <= float(measured.max()) <= store.identity(name).capacity
        assert tree[f"{name}/diversity"].to_dataset()["estimate"].notnull().all()
    of_bits = [name for name in CHECKPOINTS if store.identity(name).digit_levels]
    assert {"show-o", "mmada", "infinity"} <= set(of_bits)
    assert [name for name in CHECKPOINTS if "digits" in tree[name].children] == of_bits

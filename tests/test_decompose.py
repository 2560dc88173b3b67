"""Toys sampled by `generate`, decomposed by `ibstats`, against their enumerated law."""

from __future__ import annotations

import csv
import functools
import io
import json
from itertools import product
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr
import yaml
from rich.console import Console
from typer.testing import CliRunner

from generate.models import model_class
from generate.models.toy import Toy
from generate.models.toy_law import Law, enumerate_law
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.study_file import load_study
from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.measure import distances, metric
from ibstats.report import files, tables
from ibstats.report.render import terminal
from ibstats.results.kept import obtain
from ibstats.results.lookup import Numbers
from ibstats.selection import select
from ibstats.statistics import path_and_execution as decomposition
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import Store, open_store
from schemas.analysis import Config

N_PROMPTS, N_SAMPLES = 6, 50
OPTIONS = {
    "toy-ar": {},
    "toy-scales": {},
    "toy-masked": {"path_temperature": 0.5},
    "toy-diffusion": {"positions": 3},
}
HOW = Resampling(n_resamples=200)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six prompts, 60 samples: the cells with the full codebook and original wording are what is looked at."""
    folder = tmp_path_factory.mktemp("ledger")
    for name in ("study", "calibration"):
        prompts = [
            {
                "id": f"{name}{i}",
                "text": f"{name} {i}",
                "paraphrases": {
                    size: [f"{size} {name} {i} {j}" for j in "ab"]
                    for size in ("short", "medium", "long")
                },
            }
            for i in range(N_PROMPTS)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    document = {
        "name": "ledger",
        "samples": N_SAMPLES,
        "models": [{"model": name, "options": options} for name, options in OPTIONS.items()],
        "prompts": {"source": "study.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": N_PROMPTS},
        "experiments": {
            "factorial": {"keep_ratio": 0.67},
            "crossed": {
                "kind": "crossed_noise",
                "paths": 5,
                "executions": 4,
                "sampling": ["stochastic", "argmax"],
                "prompts": 4,
            },
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    laid_out = plan(*load_study(str(folder / "study.yaml")))
    run(laid_out, prepare(laid_out, folder / "run"))
    return open_store(folder / "run")


@functools.cache
def laws(name: str) -> list[Law]:
    adapter = model_class(name)
    options = adapter.options(OPTIONS[name])
    model = adapter.load(adapter.identify(name, options), options, "cpu")
    assert isinstance(model, Toy)
    return [enumerate_law(model, f"study {i}") for i in range(N_PROMPTS)]


def free_cell(store: Store, name: str) -> xr.DataArray:
    bits = decomposition.ledger(store.dataset(name), store.identity(name))
    return bits.sel(condition="stochastic-original-full")


def close(measured: xr.DataArray, expected: list[float]) -> bool:
    """Mean over 360 samples, spread at most that of a few bits."""
    return abs(float(measured.mean()) - np.mean(expected)) < 4 * 2.0 / np.sqrt(
        N_PROMPTS * N_SAMPLES
    )


def test_masked_ledger_measures_the_enumerated_entropies(store: Store) -> None:
    found, exact = free_cell(store, "toy-masked"), laws("toy-masked")
    for quantity in ("path_causal", "execution_causal", "execution_marginal"):
        assert close(found.sel(quantity=quantity), [getattr(law, quantity) for law in exact])
    assert close(found.sel(quantity="joint"), [law.both for law in exact])


def test_bounds_on_the_path_and_the_residual_hold(store: Store) -> None:
    found, exact = free_cell(store, "toy-masked").mean("prompt"), laws("toy-masked")
    path, residual = (
        np.mean([law.path for law in exact]),
        np.mean([law.path_given_tokens for law in exact]),
    )
    assert float(found.sel(quantity="path_upper_fitted")) > path - 0.2
    assert float(found.sel(quantity="path_upper_schedule")) >= path
    assert float(found.sel(quantity="residual_upper")) >= residual
    assert float(found.sel(quantity="directed_upper")) >= 0


@pytest.mark.parametrize("name", ["toy-ar", "toy-scales"])
def test_a_fixed_path_is_zero_and_both_estimates_of_the_tokens_agree(
    store: Store, name: str
) -> None:
    found, exact = free_cell(store, name), [law.tokens for law in laws(name)]
    assert (found.sel(quantity="path_causal") == 0).all()
    for quantity in ("tokens", "tokens_rao_blackwell", "joint"):
        assert close(found.sel(quantity=quantity), exact)
    spread = found.std("prompt")
    assert spread.sel(quantity="tokens_rao_blackwell") <= spread.sel(quantity="tokens") + 0.5


def test_diffusion_ledger_has_both_definitions_of_the_path(store: Store) -> None:
    found, exact = free_cell(store, "toy-diffusion"), laws("toy-diffusion")
    assert close(found.sel(quantity="path_causal"), [law.path for law in exact])
    assert close(found.sel(quantity="joint"), [law.both for law in exact])
    assert close(found.sel(quantity="trajectory_execution"), [law.final_step for law in exact])
    assert (found.sel(quantity="residual_upper") == found.sel(quantity="path_causal")).all()


def test_argmax_leaves_no_execution(store: Store) -> None:
    for name in OPTIONS:
        bits = decomposition.ledger(store.dataset(name), store.identity(name)).sel(
            condition="argmax-original-full"
        )
        assert np.abs(bits.sel(quantity="execution_causal")).max() < 1e-3


def test_shares_of_the_joint_entropy_add_to_one(store: Store) -> None:
    bits = decomposition.ledger(store.dataset("toy-masked"), store.identity("toy-masked"))
    found = decomposition.ledger_intervals(bits, HOW)
    assert np.allclose(found["share_estimate"].sum("part"), 1.0)
    assert (found["share_low"] <= found["share_high"]).all()


def test_only_execution_draws_matter_where_the_path_is_fixed(store: Store) -> None:
    tokens = store.dataset("toy-ar", "crossed")["tokens"]
    flat = tokens.values.reshape(*tokens.shape[:3], -1)
    distance = xr.DataArray(
        (flat[..., :, None, :] != flat[..., None, :, :]).sum(axis=-1).astype(float),
        dims=("condition", "prompt", "sample", "sample_other"),
        coords={name: tokens[name].values for name in ("condition", "prompt")},
    )
    variance = decomposition.crossed_components(distance, 5, 4)
    assert (variance.sel(component=["path", "interaction"]) == 0).all()
    assert variance.sizes["prompt"] == 4
    assert (variance.sel(condition="argmax-original-full") == 0).all()
    shares = decomposition.sobol_shares(variance, HOW)["estimate"].sel(
        condition="stochastic-original-full"
    )
    assert float(shares.sel(share="execution")) == 1.0
    assert float(shares.sel(share="path_total")) == 0.0


def output(*arguments: str) -> str:
    """What a command prints, on one line."""
    result = CliRunner().invoke(app, ["decompose", *arguments, "--resamples", "100"])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_the_command_prints_each_models_ledger_with_a_sentence(store: Store) -> None:
    printed = output(str(store.path))
    for model in OPTIONS:
        assert f"{model}: bits of path and execution" in printed
    assert "toy-ar (autoregressive): the order is fixed: the path takes 0 of" in printed
    assert "toy-masked (masked): the path takes" in printed
    rows = list(
        csv.DictReader(store.results.export.joinpath("ledger.csv").read_text().splitlines())
    )
    assert {row["condition"] for row in rows} == set(store.run.experiments["factorial"].conditions)
    for row in rows:
        if row["units"] == "bit" and row["low"]:
            assert float(row["low"]) <= float(row["estimate"]) + 1e-9
    assert "transformed t and t over 6 prompts" in printed.replace("\n", " ")
    assert "100 resamples, seed 0" in printed


def test_the_command_prints_shares_of_crossed_noise_and_of_wording(store: Store) -> None:
    assert "toy-masked: shares of pixel cosine distance" in output(
        str(store.path), "--crossed", "--model", "toy-masked"
    )
    assert "toy-ar: wording in pixel cosine distance" in output(
        str(store.path), "--wording", "--model", "toy-ar"
    )
    both = output(str(store.path), "--crossed", "--wording", "--model", "toy-ar")
    assert "toy-ar: shares of pixel cosine distance" in both
    assert "toy-ar: wording in pixel cosine distance" in both


def test_a_report_and_its_exports_hold_the_ledger_and_the_shares(
    store: Store, tmp_path: Path
) -> None:
    config = Config(
        parts=("ledger", "shares"),
        metrics=("pixel_cosine",),
        resampling=Resampling(n_resamples=100),
    )
    document = obtain(store, config)
    jsonschema.validate(json.loads(document.model_dump_json()), rendered_schema())
    assert document.families == {
        "toy-ar": "autoregressive",
        "toy-scales": "scales",
        "toy-masked": "masked",
        "toy-diffusion": "diffusion",
    }
    bits = {(r.model, r.quantity, r.term): r for r in document.rows if r.section == "ledger"}
    expected = free_cell(store, "toy-masked").sel(quantity="joint").mean()
    assert bits["toy-masked", "joint", "stochastic/original/full"].estimate == pytest.approx(
        float(expected)
    )
    shares = {(r.model, r.term, r.attribution): r for r in document.rows if r.section == "sobol"}
    assert {r.quantity for r in shares.values()} == {"pixel_cosine_distance"}
    for model in ("toy-ar", "toy-scales"):
        assert bits[model, "path_causal", "stochastic/original/full"].estimate == 0
        assert shares[model, "stochastic/original/full", "path_total"].estimate == 0
        assert shares[model, "argmax/original/full", "path"].estimate is None
    assert shares["toy-diffusion", "argmax/original/full", "path"].estimate == pytest.approx(1.0)
    left = {(r.model, r.quantity, r.part): r for r in document.rows if r.section == "pair_distance"}
    for part, share in (("path_shared", 1), ("execution_shared", 0), ("argmax", 0)):
        assert left["toy-ar", "pixel_cosine_distance", part].estimate == share
    for model, part in product(("toy-masked", "toy-diffusion"), ("path", "execution")):
        other = {"path": "execution", "execution": "path"}[part]
        total = shares[model, "stochastic/original/full", f"{other}_total"]
        row = left[model, "pixel_cosine_distance", f"{part}_shared"]
        assert row.estimate == pytest.approx(total.estimate, rel=1e-10)
        assert (row.low, row.high) == pytest.approx((total.low, total.high), rel=1e-6)
    console = Console(width=114, record=True, file=io.StringIO())
    terminal.show(tables.factorial_parts(Numbers(document), ("ledger",)), console)
    printed = " ".join(console.export_text().split())
    assert "toy-ar (autoregressive): the order is fixed: the path takes 0 of" in printed
    assert "all of the diversity comes from execution; under argmax nothing is left" in printed
    for kind, name in (("csv", "ledger.csv"), ("csv", "sobol.csv"), ("latex", "ledger.tex")):
        made = files.export(store, config, tmp_path, kind)
        assert tmp_path / name in made
    assert "toy-masked" in (tmp_path / "ledger.tex").read_text()


def rendered_schema() -> object:
    return json.loads((Path(__file__).parents[1] / "schemas/results.schema.json").read_text())


def test_metrics_without_an_embedding_have_no_components(
    store: Store,
) -> None:
    with pytest.raises(
        IbstatsError, match="ssim_dissimilarity is not the distance of an embedding"
    ):
        app(["decompose", str(store.path), "--wording", "--metric", "ssim"], standalone_mode=False)


def test_a_budget_of_the_wording_needs_two_wordings(store: Store) -> None:
    text = store.dataset("toy-ar", "crossed")["text_index"]
    with pytest.raises(IbstatsError, match="two or more paraphrases"):
        decomposition.paraphrase_budget(xr.DataArray(), text, HOW)


def test_a_budget_of_the_wording_needs_two_images_of_one_wording(store: Store) -> None:
    text = store.dataset("toy-ar", "factorial")["text_index"].isel(sample=slice(0, 5))
    distance = xr.DataArray(
        np.zeros((*text.shape, 5)),
        dims=("condition", "prompt", "sample", "sample_other"),
        coords={name: text[name].values for name in ("condition", "prompt")},
    )
    with pytest.raises(
        IbstatsError, match="prompt 'study0' has one image a paraphrase, so nothing varies"
    ):
        decomposition.paraphrase_budget(distance, text, HOW)


def test_the_shares_are_those_of_the_measured_distances(store: Store) -> None:
    settings = Config(
        metrics=("pixel_cosine",), models=("toy-masked",), parts=("shares",), resampling=HOW
    )
    numbers = Numbers(obtain(store, settings))
    measured = distances(select(store, "toy-masked", "crossed"), metric("pixel_cosine"))["distance"]
    variance = decomposition.crossed_components(measured, 5, 4)
    assert variance.sizes["condition"] == 2  # argmax is crossed too, and leaves no execution
    expected = decomposition.sobol_shares(variance, HOW).sel(condition="stochastic-original-full")
    for part in ("path", "execution", "interaction"):
        row = numbers.one("sobol", part=part, condition="stochastic-original-full")
        assert row is not None
        assert row.estimate == pytest.approx(float(expected["estimate"].sel(share=part)))


def test_figures_of_path_and_execution_are_drawn_with_all_others(
    store: Store, tmp_path: Path
) -> None:
    settings = Config(
        metrics=("pixel_cosine",), models=("toy-masked",), parts=("ledger",), resampling=HOW
    )
    drawn = files.draw_all(store, settings, tmp_path, ("png",))
    made = {file.name for file in drawn}
    assert {f"ledger-{name}.png" for name in ("budget", "steps", "order", "surprisal")} <= made
    assert "contact-toy-masked.png" in made
    assert all(file.stat().st_size > 1000 for file in drawn)

"""From a study of ablations to tables and figures, as a user runs them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner

import ibstats
from generate.cli import app as ibgenerate
from ibstats import cli
from ibstats.checks import ablations
from ibstats.cli import console
from ibstats.report import files
from ibstats.results.kept import obtain_tree
from ibstats.selection import select
from ibstats.statistics.uncertainty import Resampling
from ibstats.statistics.windows import window_tokens
from schemas.analysis import Config
from schemas.store import RunRecord, sealed
from tests.conftest import EXPERIMENTS as EXPERIMENTS_OF_STUDY
from tests.conftest import ablation_study
from tests.tex import complaints

EXPERIMENTS = {
    "ratio": "subset_ratio", "window": "argmax_window", "length": "paraphrase_length", "method": "subset_method",
    "enhancement": "enhancement",
}  # fmt: skip
OPTIONS = ("--metric", "pixel_cosine", "--resamples", "200", "--model", "toy-masked")


@pytest.fixture(scope="module")
def run(ablation_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(ablation_run, tmp_path_factory.mktemp("analysed") / "run"))


def quick(experiment: str) -> Config:
    """Settings of an analysis of all models, which tests share: it is kept beside the run."""
    how = Resampling(n_resamples=100)
    return Config(metrics=("pixel_cosine",), experiment=experiment, resampling=how)


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["ibstats", *map(str, arguments)])
    monkeypatch.setattr(console, "out", Console(width=120))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_every_ablation_is_printed_exported_and_drawn_the_same_each_time(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, first, error = call(capsys, monkeypatch, "ablations", run, "--format", "png", *OPTIONS)
    assert status == 0, error
    for part in ("ratio, toy-masked", "early - none", "mixed - long", "drop-random - full",
                 "proposed-0.50 - paraphrase", "Inflection point", "tokens argmax", "H(Z|X) bit"):  # fmt: skip
        assert part in first
    assert call(capsys, monkeypatch, "ablations", run, "--format", "pdf", *OPTIONS)[1] == first
    folder = run / "results/ablations"
    schema = json.loads(
        (Path(ibstats.__file__).parents[1] / "schemas/results.schema.json").read_text()
    )
    for name in EXPERIMENTS:
        document = json.loads((folder / f"{name}.json").read_text())
        jsonschema.validate(document, schema)
        assert {row["experiment"] for row in document["rows"]} == {name}
        with (folder / "tables" / name / "contrast.csv").open() as stream:
            table = list(csv.DictReader(stream))
        kept = [row["estimate"] for row in document["rows"] if row["section"] == "contrast"]
        assert [float(row["estimate"]) for row in table] == kept
        for kind in ("png", "pdf"):
            assert (folder / "figures" / f"{name}.{kind}").stat().st_size > 5000
        assert latex_tables(folder / "latex" / name) >= {"arms-pixel_cosine_distance", "codebook"}
    assert (folder / "figures" / "enhancement-toy-masked.pdf").is_file()
    arms = (folder / "latex/window/arms-pixel_cosine_distance.tex").read_text()
    row = next(row for row in json.loads((folder / "window.json").read_text())["rows"]
               if (row["section"], row["term"]) == ("contrast", "early - none"))  # fmt: skip
    estimate, low, high = (f"{row[key]:.2f}" for key in ("estimate", "low", "high"))
    assert (
        f"${estimate}$ $[{low}, {high}]$" in arms
    )  # as many decimals as so wide an interval bears
    assert r"\label{tab:window-arms-pixel_cosine_distance}" in arms


def latex_tables(folder: Path) -> set[str]:
    """Names of the tables of a folder, each with as many cells in every line as it has columns.

    A table that is too wide or too tall for a page is several floats of one file.
    """
    for file in folder.glob("*.tex"):
        text = file.read_text()
        assert text.count("{") == text.count("}")
        for table in re.split(r"(?=\\begin\{table\})", text)[1:]:
            specification = re.search(r"\\begin\{tabular\}\{(.*)\}\n", table)
            assert specification is not None
            columns = re.findall(r"[lrS](?:\[[^]]*\])?", specification[1])
            lines = [line for line in table.splitlines() if line.endswith(r"\\")]
            assert {line.count(" & ") + 1 for line in lines} == {len(columns)}, file
            caption = table.partition(r"\caption")[2].partition(r"\label")[0]
            assert not re.search(r"(?<![\\a-z{:])_|\$.*(?<!\\)%", caption)
    return {file.stem for file in folder.glob("*.tex")}


@pytest.mark.parametrize("two_columns", [False, True], ids=["one column", "two columns"])
def test_tex_sets_every_table_of_every_ablation_inside_the_page(
    run: Path, tex: str, tmp_path: Path, two_columns: bool
) -> None:
    """Of all models together, as they stand in a paper."""
    store = ibstats.open_store(run)
    made = []
    for name in EXPERIMENTS:
        made += files.export(store, quick(name), tmp_path / name, "latex")
    assert len(made) >= 5 * len(EXPERIMENTS)
    assert complaints(tex, made, tmp_path / "made", two_columns=two_columns) == []


def test_export_and_figures_of_an_ablation_are_those_of_the_ablations_command(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--experiment", "method", *OPTIONS)
    folder = run / "results/ablations"
    assert call(capsys, monkeypatch, "ablations", run, "--format", "svg", *asked)[0] == 0
    assert (
        call(capsys, monkeypatch, "export", run, "--format", "latex", "--out", tmp_path, *asked)[0]
        == 0
    )
    assert (
        call(capsys, monkeypatch, "figures", run, "--format", "svg", "--out", tmp_path, *asked)[0]
        == 0
    )
    for file in [*(folder / "latex/method").glob("*.tex"), folder / "figures/method.svg"]:
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()
    wide = ("--format", "svg", "--columns", 2, "--out", tmp_path / "wide")
    assert call(capsys, monkeypatch, "figures", run, *wide, *asked)[0] == 0
    assert 'width="504pt"' in (tmp_path / "wide/method.svg").read_text()
    status, _, error = call(capsys, monkeypatch, "ablations", run, "--format", "gif", *asked)
    assert (status, "unknown figure format 'gif'; known: png, pdf, svg" in error) == (1, True)


def test_the_offer_stands_in_the_results_and_says_that_quality_was_not_measured(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, printed, _ = call(capsys, monkeypatch, "ablations", run, "--experiment", "ratio", *OPTIONS)
    document = json.loads((run / "results/ablations/ratio.json").read_text())
    (row,) = [row for row in document["rows"] if row["section"] == "offer"]
    assert row["verdict"] in ("quality not measured", "no inflection point")
    assert "what is neither is inconclusive" in row["note"]
    assert "For the main study (factorial):" in printed
    assert "offer" in latex_tables(run / "results/ablations/latex/ratio")


@pytest.mark.parametrize("command", ["report", "effects", "figures", "export --format csv"])
def test_a_run_without_a_factorial_names_what_it_holds_and_the_command_for_it(
    tmp_path_factory: pytest.TempPathFactory,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("only")
    study = ablation_study(
        folder, models=["toy-ar"], experiments={"ratio": EXPERIMENTS_OF_STUDY["ratio"]}
    )
    made = CliRunner().invoke(
        ibgenerate, ["run", str(study), "--out", str(folder / "run"), "--device", "cpu"]
    )
    assert made.exit_code == 0, made.output
    name, *options = command.split()
    status, _, error = call(capsys, monkeypatch, name, folder / "run", *options)
    assert status == 1
    assert (
        "holds no experiment 'factorial', only ratio (subset_ratio); `ibstats ablations"
        in error.replace("\n", " ")
    )


def test_an_ablation_is_sent_to_its_own_command_and_an_unknown_one_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, error = call(capsys, monkeypatch, "report", run, "--experiment", "window")
    assert (status, "'window' is an ablation (argmax_window)" in error) == (1, True)
    status, _, error = call(capsys, monkeypatch, "ablations", run, "--experiment", "windw")
    assert (status, "unknown ablation 'windw'; known: ratio, window" in error) == (1, True)
    status, _, error = call(capsys, monkeypatch, "report", run, "--experiment", "main")
    assert (
        status,
        "no experiment 'main'" in error,
        "--experiment factorial analyses that" in error,
    ) == (1, True, True)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_contrasts_are_differences_of_arms_and_equal_arms_differ_by_nothing(
    run: Path, name: str
) -> None:
    store = ibstats.open_store(run)
    assert ablations(store)[name] == EXPERIMENTS[name]
    for model, group in obtain_tree(store, quick(name)).children.items():
        arms = group["diversity"].to_dataset().isel(quantity=0)
        design = select(store, model, name).design
        contrasts = group["contrasts"].to_dataset().isel(quantity=0)
        reference = float(arms["estimate"].sel(condition=design.baseline))
        labels = [condition.short for condition in design.conditions]
        for effect in contrasts["effect"].values:
            arm = labels.index(str(effect).split(" - ")[0])
            change = float(arms["estimate"][arm]) - reference
            assert float(contrasts["estimate"].sel(effect=effect)) == pytest.approx(
                change, abs=1e-12
            )
        entropies = group["information"]["estimate"].sel(quantity="codebook_entropy", drop=True)
        capacity = group["codebook_use"]["estimate"].sel(quantity="capacity", drop=True)
        assert (entropies <= capacity + 1e-12).all(), model


def test_the_tokens_of_the_thirds_add_up_and_follow_the_schedule(run: Path) -> None:
    store = ibstats.open_store(run)
    for model in store.models():
        dataset = store.dataset(model, "window")
        tokens = window_tokens(dataset, store.identity(model))
        assert tokens.sel(condition="1-none") == 0
        assert tokens.sel(condition="5-all") == 4
        if model == "toy-ar":  # positions 0 to 3: 3 k / 4 is 0, 0, 1, 2
            assert [float(tokens.sel(condition=c)) for c in ("2-early", "3-middle", "4-late")] == [
                2,
                1,
                1,
            ]
        if model == "toy-masked":  # cosine schedule of 4 positions in 3 steps
            steps = xr.DataArray(dataset["token_step"]).sel(condition="1-none").values[0, 0]
            expected = [(steps == step).sum() for step in range(3)]
            assert [
                float(tokens.sel(condition=c)) for c in ("2-early", "3-middle", "4-late")
            ] == expected


def test_a_run_without_ablations_says_which_kinds_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ablation_study(
        tmp_path, models=["toy-ar"], experiments={"factorial": {"paraphrases": 2}}
    )
    made = CliRunner().invoke(
        ibgenerate, ["run", str(study), "--out", str(tmp_path / "run"), "--device", "cpu"]
    )
    assert made.exit_code == 0, made.output
    status, _, error = call(capsys, monkeypatch, "ablations", tmp_path / "run", *OPTIONS)
    assert status == 1
    assert (
        "holds no ablation, only factorial; add an experiment of kind subset_ratio, argmax_window"
        in error.replace("\n", " ")
    )


def test_one_ablation_can_be_asked_for_by_name(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, printed, _ = call(capsys, monkeypatch, "ablations", run, "--experiment", "window", *OPTIONS)
    assert "window, toy-masked" in printed
    assert "ratio, toy-masked" not in printed


NEWER = (
    ["n_paraphrases"],
    ["subset_draw"],
    ["subset_counts"],
    ["subset_ties"],
    ["subset_overlap"],
    ["subset_tie_share"],
    ["subset_unseen"],
)
"""Coordinates that stores of the first days were made without."""


def test_stores_without_the_newer_coordinates_still_open(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("results")))
    for (name,) in NEWER:
        for folder in copy.glob(f"data.zarr/*/*/{name}"):
            shutil.rmtree(folder)
    record = RunRecord.model_validate_json((copy / "run.json").read_bytes())
    made = [stored for stored in record.template if stored.key.split("/")[2:3] not in NEWER]
    older = record.model_copy(update={"template": made, "sha256": ""})
    (copy / "run.json").write_bytes(sealed(older))
    store = ibstats.open_store(copy)
    config = Config(
        metrics=("pixel_cosine",), parts=("diversity",), models=("toy-ar",), experiment="method"
    )
    estimate = ibstats.analyse(store, config)["toy-ar/diversity"]["estimate"]
    assert np.isfinite(estimate).all()


def test_the_claims_of_the_paper_stand_beside_the_results_and_no_stand_in_reproduces_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "claims.csv"
    status, printed, error = call(capsys, monkeypatch, "repro", run, *OPTIONS, "--out", table)
    assert status == 0, error
    assert "0 reproduced, 0 not reproduced" in printed
    with table.open() as stream:
        rows = {(row["where"], row["claim"]): row for row in csv.DictReader(stream)}
    early = rows["4.4.2, Fig. 5a", "early argmax lowers diversity"]
    assert early["verdict"] == "not comparable"
    assert (
        "toy-masked (masked) stands in for amused; pixel_cosine_distance stands in for lpips"
        in early["reason"]
    )
    config = Config(
        metrics=("pixel_cosine",), models=("toy-masked",), parts=("diversity",), experiment="window"
    )
    contrasts = ibstats.analyse(ibstats.open_store(run), config)["toy-masked/contrasts"]
    assert early["ours"].startswith(
        f"{float(contrasts['estimate'].sel(effect='early - none')[0]):.3f}"
    )

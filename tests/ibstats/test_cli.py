"""The command line: what a user sees, and one line for each known error."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import typer
import xarray as xr
from rich.console import Console

from ibstats import cli
from ibstats.cli import console
from ibstats.report import files
from ibstats.results.kept import read_results
from ibstats.store import open_store
from schemas.analysis import Config, Resampling


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Run the command line in this process."""
    monkeypatch.setattr("sys.argv", ["ibstats", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


METRICS = ("--metric", "pixel_cosine", "--metric", "ssim")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "out", Console(width=120, markup=False, emoji=False))
    return lambda *arguments: call(capsys, monkeypatch, *arguments)


def test_report_prints_every_part_and_repeats_itself_exactly(ask, run: Path) -> None:
    status, first, _ = ask("report", str(run), *METRICS, "--full")
    assert status == 0
    for part in ("Diversity", "H(Z) bit", "utilisation", "Effects on", "synergy gap", "degenerate"):
        assert part in first
    assert ask("report", str(run), *METRICS, "--full")[1] == first


def test_ctrl_c_ends_the_view_well_even_before_it_serves(
    ask, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(address: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", interrupted)
    status, said, warned = ask("view", str(run), *METRICS)
    assert (status, warned) == (0, "")
    assert said.startswith("page: http://127.0.0.1:")


def test_report_answers_in_words_in_markdown_and_in_json(ask, run: Path) -> None:
    import json

    said = ask("report", str(run), *METRICS)[1]
    assert len(said.splitlines()) <= 40
    assert "next: ibstats view" in said
    assert "| model |" in ask("report", str(run), *METRICS, "--markdown")[1]
    found = json.loads(ask("report", str(run), *METRICS, "--json")[1])
    assert found[0]["heading"] in said
    status, _, told = ask("report", str(run), "--full", "--json")
    assert status == 1
    assert "--full, --markdown and --json exclude each other" in told


def test_report_leaves_valid_files(ask, run: Path) -> None:
    import jsonschema

    from schemas.results import ResultRow, Results

    assert ask("report", str(run), *METRICS)[0] == 0
    document = read_results(run)
    jsonschema.validate(
        json.loads((run / "results/results.json").read_text()), Results.model_json_schema()
    )
    assert {row.section for row in document.rows} >= {
        "diversity",
        "effect",
        "probe",
        "waterfall",
        "information",
    }
    table = (run / "results/tables/diversity.csv").read_text().splitlines()
    assert len(table) == 1 + 3 * 2 * 8
    assert document.snapshot in table[1]
    assert table[0].split(",") == [*ResultRow.model_fields, "snapshot"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "RUN/none"), "no such run"),
        (
            ("diversity", "RUN", "--metric", "ssimm"),
            "unknown metric 'ssimm'; known: pixel_cosine, ssim",
        ),
        (("entropy", "RUN", "--estimator", "magic"), "must be one of 'plugin', 'miller_madow'"),
        (("entropy", "RUN", "--model", "gpt"), "unknown model 'gpt'; known: toy-ar"),
        (
            ("entropy", "RUN", "--experiment", "ablation"),
            "holds no experiment 'ablation', only factorial; --experiment factorial",
        ),
        (("report", "RUN", "--interval", "wald"), "'method' is 'wald', but must be one of"),
        (("report", "RUN", "--margin", "ssim_dissimilarity"), "NAME=VALUE"),
        (("report", "RUN", "--margin", "ssi=.1"), "unknown distance or score in margins 'ssi'"),
        (("entropy", "RUN", "--level", "95"), "'level' is 95.0, but must be below 1"),
        (("entropy", "RUN", "--resamples", "0"), "'n_resamples' is 0, but must be 1 or more"),
        (("entropy", "RUN", "--seed", "-1"), "'seed' is -1, but must be 0 or more"),
        (
            ("power", "RUN", "--metric", "pixel_cosine"),
            "(--difference 0.05) or a margin within which to show equivalence",
        ),
        (
            ("export", "RUN", "--format", "csv", "--out", "RUN/run.json", "--metric", "ssim"),
            "a file lies where a folder is",
        ),
    ],
)
def test_a_known_error_is_one_line_and_status_1(
    ask, run: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, printed, error = ask(*(a.replace("RUN", str(run)) for a in arguments))
    assert status == 1
    assert printed == ""
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("metrics: ssim", "'metrics' is 'ssim', but must be a list of names: [NAME, ...]"),
        ("metrics: 3", "'metrics' is 3, but must be a list of names"),
        ("margins: 0.02", "'margins' is 0.02, but must be a mapping of names to numbers"),
        ("margins: {ssim_dissimilarity: small}", "but must be a mapping of names to numbers"),
        ("resampling: 5", "'resampling' is 5, but must be a mapping"),
        ("resampling: {level: high}", "'level' is 'high', but must be a number"),
        ("resampling: {n_resamples: 10.5}", "'n_resamples' is 10.5, but must be a whole number"),
        ("resampling: {method: [bca]}", "'method' is ['bca'], but must be one of 'auto'"),
        ("images_per_prompt: '3'", "'images_per_prompt' is '3', but must be a whole number"),
        ("allow_partial: maybe", "'allow_partial' is 'maybe', but must be true or false"),
        ("n_shuffles: 0", "'n_shuffles' is 0, but must be 1 or more"),
        ("\xff", "is not valid YAML"),
    ],
)
def test_settings_of_a_wrong_type_are_one_line(
    ask, run: Path, tmp_path: Path, settings: str, message: str
) -> None:
    (tmp_path / "analysis.yaml").write_bytes(settings.encode("latin-1"))
    status, printed, error = ask("entropy", str(run), "--config", str(tmp_path / "analysis.yaml"))
    assert (status, printed) == (1, "")
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_describe_and_verify_a_sound_run(ask, run: Path) -> None:
    assert "6/6 prompts" in ask("describe", str(run))[1]
    status, printed, _ = ask("verify", str(run))
    assert status == 0
    assert "0 with problems" in printed


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:99"])
def test_a_device_that_is_not_there_is_named_before_any_work(ask, run: Path, name: str) -> None:
    status, said, told = ask("diversity", str(run), "--metric", "ssim", "--device", name)
    assert (status, said) == (1, "")
    assert f"device '{name}' is not available here; use --device with one of: cpu" in told


def test_names_with_brackets_are_shown_whole(ask, run: Path, tmp_path: Path) -> None:
    """`[/]` closes a style that nobody opened, `:x:` would be a picture, were names read as markup."""
    named = tmp_path / "a [draft] x[" / "] :x: y"
    shutil.copytree(run, named)
    status, said, _ = ask("report", str(named), "--metric", "pixel_cosine")
    assert status == 0
    assert f"results.json, tables, figures, report.html: {named}/results" in said
    status, said, _ = ask("report", str(named), "--metric", "pixel_cosine", "--full")
    assert f"results: {named}/results/results.json" in said
    status, _, told = ask("report", str(named / "no[/]where"))
    assert status == 1
    assert f"{named}/no[/]where" in told


def test_an_error_of_ours_says_that_it_is_one(ask, run: Path, monkeypatch) -> None:
    monkeypatch.setattr("ibstats.store.open_store", int)
    status, _, told = ask("describe", str(run))
    assert status == 1
    assert "ValueError: invalid literal" in told
    assert "error of ibstats itself" in told


OWN_METRICS = {
    "raises": "        raise RuntimeError('a slip')",
    "calls": "        return np.zeros(3) + np.zeros(4)",
    "no Python": "        return (",
}


@pytest.mark.parametrize("body", OWN_METRICS.values(), ids=OWN_METRICS)
def test_an_error_in_a_users_file_is_not_called_ours(ask, run: Path, tmp_path: Path, body) -> None:
    file = tmp_path / "mine.py"
    head = "import numpy as np\nfrom ibstats.measure import EmbeddedDistance\n"
    names = "    name = long_name = short_name = 'mine'\n    def settings(self): return {}\n"
    embed = f"    def embed(self, images):\n{body}\n"
    file.write_text(f"{head}class Mine(EmbeddedDistance):\n{names}{embed}")
    status, _, told = ask("diversity", str(run), "--metric", f"{file}:Mine")
    assert status == 1
    assert str(file) in told.splitlines()[-1]
    assert "error of ibstats itself" not in told


OFFERED = {
    "diversity": {"--metric", "--device", "--cluster"},
    "entropy": {"--estimator", "--images-per-prompt"},
    "effects": {"--metric", "--device", "--cluster"},
    "strategy": {"--metric", "--device", "--cluster", "--margin"},
    "quality": {
        "--metric",
        "--device",
        "--cluster",
        "--score",
        "--reference",
        "--network",
        "--clip",
    },
    "decompose": {"--metric", "--device", "--cluster"},
    "power": {"--metric", "--device", "--cluster"},
}
"""Of the options that not every command has use for, those of each command."""

SOMEWHERE = set().union(*OFFERED.values())


@pytest.mark.parametrize("command", OFFERED)
def test_a_command_offers_only_what_it_computes(command: str) -> None:
    parameters = typer.main.get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    offered = {name for parameter in parameters for name in parameter.opts}
    assert offered & SOMEWHERE == OFFERED[command]
    assert {"--model", "--experiment", "--allow-partial", "--config", "--results"} <= offered


def test_figures_are_drawn_again_where_drawing_was_broken_off(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is better than some: the next report takes what stands there for all of them."""

    def broken(*of: object) -> None:
        raise KeyboardInterrupt

    few = {"metrics": ("pixel_cosine",), "models": ("toy-mim",)}
    settings = [Config(resampling=Resampling(n_resamples=n), **few) for n in (99, 199)]
    figures = run_copy / "results/figures"
    files.report(open_store(run_copy), settings[0])
    whole = {path.name for path in figures.iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr(files.drawing, "draw_path_and_execution", broken)
        with pytest.raises(KeyboardInterrupt):
            files.report(open_store(run_copy), settings[1])
    assert not figures.exists()
    files.report(open_store(run_copy), settings[1])
    assert {path.name for path in figures.iterdir()} == whole


def test_report_offers_every_setting_of_an_analysis() -> None:
    parameters = typer.main.get_command(cli.app).commands["report"].params  # type: ignore[attr-defined]
    offered = {name for parameter in parameters for name in parameter.opts}
    wanted = set()
    for model in (Config, Resampling):
        for field in model.model_fields.values():
            if isinstance(field.json_schema_extra, dict):
                wanted.add(f"--{str(field.json_schema_extra['option']).replace('_', '-')}")
    assert wanted <= offered
    assert offered >= SOMEWHERE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("entropy", "RUN", "--metric", "ssim"), "No such option: --metric"),
        (("diversity", "RUN", "--clip", "x"), "No such option: --clip"),
        (("repro", "RUN", "--margin", "ssim=1"), "No such option: --margin"),
    ],
)
def test_an_option_that_means_nothing_here_is_refused(
    ask, run: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, _, told = ask(*(a.replace("RUN", str(run)) for a in arguments))
    assert status == 2
    assert message in told


@pytest.mark.parametrize(
    ("command", "option", "name", "message"),
    [
        ("decompose", "--metric", "foo", "ask for shares with --crossed or --wording"),
        ("decompose --wording", "--metric", "foo", "unknown metric 'foo'"),
        ("repro", "--metric", "foo", "unknown metric 'foo'"),
        ("figures", "--metric", "foo", "unknown metric 'foo'"),
        ("export --format csv", "--metric", "foo", "unknown metric 'foo'"),
        ("power --difference 1", "--metric", "foo", "unknown metric 'foo'"),
        ("decompose", "--model", "foo", "unknown model 'foo'"),
        ("repro", "--model", "foo", "unknown model 'foo'"),
        ("figures", "--model", "foo", "unknown model 'foo'"),
        ("quality", "--score", "foo", "unknown score 'foo'"),
    ],
)
def test_an_unknown_name_is_refused_by_every_command(
    ask, run: Path, command: str, option: str, name: str, message: str
) -> None:
    first, *rest = command.split()
    status, printed, told = ask(first, str(run), *rest, option, name)
    assert (status, printed) == (1, "")
    assert message in told
    assert len(told.strip().splitlines()) == 1


def test_names_in_a_settings_file_are_checked_where_no_option_takes_them(
    ask, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "analysis.yaml").write_text("metrics: [foo]")
    status, printed, told = ask("entropy", str(run), "--config", str(tmp_path / "analysis.yaml"))
    assert (status, printed) == (1, "")
    assert "unknown metric 'foo'" in told


def diversity_written(folder: Path) -> list[float]:
    """Estimates of diversity in exported files, in order of size; LaTeX holds them rounded, so not."""
    found: list[float] = []
    for file in folder.iterdir():
        if file.name == "diversity.csv":
            with file.open(newline="") as stream:
                found += [float(row["estimate"]) for row in csv.DictReader(stream)]
        elif file.suffix == ".json":
            rows = json.loads(file.read_text())["rows"]
            found += [row["estimate"] for row in rows if row["section"] == "diversity"]
        elif file.suffix == ".nc":
            with xr.open_datatree(file, engine="h5netcdf") as tree:
                for model in tree.children:
                    found += tree[f"{model}/diversity"]["estimate"].values.ravel().tolist()
    return sorted(found)


def test_every_export_format_is_written_and_holds_the_same_numbers(
    ask, run: Path, tmp_path: Path
) -> None:
    """With packages of the base installation: test_project says which those are."""
    for kind in files.KINDS:
        arguments = ["--metric", "pixel_cosine", "--format", kind, "--out", str(tmp_path / kind)]
        status, said, told = ask("export", str(run), *arguments)
        assert status == 0, told
        assert all(Path(line).is_file() for line in said.splitlines())
    expected = diversity_written(tmp_path / "json")
    assert len(expected) == 3 * 8
    assert diversity_written(tmp_path / "csv") == expected
    assert diversity_written(tmp_path / "netcdf") == expected
    assert "\\begin{" in (tmp_path / "latex/diversity.tex").read_text()


RENDERERS = """
from ibstats.report.render import Renderer

class Names(Renderer):
    ending = "names"
    def render(self, table):
        return table.name

class Nothing(Renderer):
    def render(self, table):
        pass

class Other:
    pass
"""


def test_tables_are_written_by_a_renderer_of_the_users(ask, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_tables.py"
    file.write_text(RENDERERS)
    export = ["export", str(run), "--metric", "pixel_cosine", "--out", str(tmp_path / "made")]
    status, said, told = ask(*export, "--format", f"{file}:Names")
    assert status == 0, told
    written = {Path(line).stem: Path(line).read_text() for line in said.splitlines()}
    assert set(written) == set(written.values()) >= {"diversity", "probes"}
    for name, message in {
        "Nothing": "gave NoneType for table",
        "Other": "is no Renderer; derive it from ibstats.report.render.Renderer",
        "Absent": "holds no 'Absent'",
    }.items():
        status, _, told = ask(*export, "--format", f"{file}:{name}")
        assert status == 1
        assert message in " ".join(told.split())

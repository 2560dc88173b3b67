"""From the trained trio to a statistic with an interval, as a user runs it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[1]
STUDY = """
name: small
samples: 4
models: [trio-ar, trio-diffusion]
prompts: {source: trio, n: 5}
calibration: {source: trio, n: 8, samples: 2}
experiments:
  factorial: {kind: factorial, paraphrases: 2}
  crossed: {kind: crossed_noise, paths: 2, executions: 2}
batch_size: 20
"""


def call(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "study.yaml").write_text(STUDY)
    call("generate.cli", "run", folder / "study.yaml", "--out", folder / "run", "--device", "cpu")
    return folder / "run", call("ibstats.cli", "report", folder / "run", "--full")


def rows(run: Path, **wanted: str) -> list[dict[str, object]]:
    found = json.loads((run / "results/results.json").read_text())["rows"]
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def test_every_diversity_has_its_interval_n_and_seed(reported: tuple[Path, str]) -> None:
    cells = rows(reported[0], section="diversity")
    assert len({(row["model"], row["quantity"], row["term"]) for row in cells}) == len(cells)
    assert {row["quantity"] for row in cells} >= {
        "pixel_cosine_distance", "ssim_dissimilarity", "reference_distance"
    }  # fmt: skip
    for row in cells:
        assert (row["n_prompts"], row["n_images"]) == (5, 4)
        assert row["low"] <= row["estimate"] <= row["high"]  # type: ignore[operator]
        assert row["seed"] is not None


def test_the_trio_is_scored_by_its_own_network_under_its_own_name(
    reported: tuple[Path, str],
) -> None:
    cells = rows(reported[0], section="quality", term="stochastic/original/full")
    assert {row["quantity"] for row in cells} >= {
        "reference_accuracy",
        "reference_frechet",
        "reference_kernel",
    }
    for row in cells:
        if row["quantity"] == "reference_accuracy":
            assert 0.7 < row["estimate"] <= 1.0  # type: ignore[operator]
    assert "clip_score, clip_iqa left out: CLIP needs config.json" in reported[1].replace("\n", " ")


def test_autoregressive_argmax_is_exactly_zero_and_degenerate_and_paraphrases_revive_it(
    reported: tuple[Path, str],
) -> None:
    for codebook in ("subset", "full"):
        for row in rows(
            reported[0], section="diversity", model="trio-ar", term=f"argmax/original/{codebook}"
        ):
            assert (row["estimate"], row["low"], row["high"], row["degenerate"]) == (0, 0, 0, True)
        for row in rows(
            reported[0], section="diversity", model="trio-ar", term=f"argmax/paraphrase/{codebook}"
        ):
            assert row["estimate"] > 0  # type: ignore[operator]
            assert not row["degenerate"]


def test_random_reveal_keeps_diversity_under_argmax(reported: tuple[Path, str]) -> None:
    for row in rows(
        reported[0], section="diversity", model="trio-diffusion", term="argmax/original/full"
    ):
        assert row["estimate"] > 0  # type: ignore[operator]


def test_the_answer_fits_a_terminal_and_says_what_each_probe_does(
    reported: tuple[Path, str],
) -> None:
    said = call("ibstats.cli", "report", reported[0])
    lines = said.splitlines()
    assert len(lines) <= 40
    assert max(len(line.rstrip()) for line in lines if str(reported[0]) not in line) <= 80
    assert "trio-ar (autoregressive)" in said
    assert "to zero" in said
    assert "nan" not in said.lower()
    left = {}
    for row in rows(reported[0], section="pair_distance", quantity="reference_distance"):
        left[row["model"], row["part"]] = row["estimate"]
    assert [left["trio-ar", part] for part in ("path_shared", "execution_shared")] == [1, 0]
    assert left["trio-ar", "redundancy"] == 0
    assert {part for _, part in left} >= {"neither", "argmax"}
    embedded = {row["quantity"] for row in rows(reported[0], section="sobol")}
    by_pairs = {row["quantity"] for row in rows(reported[0], section="pair_distance")}
    assert by_pairs - embedded == {"ssim_dissimilarity"}


def test_the_report_prints_effects_entropy_and_both_synergy_gaps(
    reported: tuple[Path, str],
) -> None:
    for word in (
        "trio-ar",
        "trio-diffusion",
        "H(Z)",
        "utilisation",
        "sampling × prompt_type",
        "synergy gap",
    ):
        assert word in reported[1]
    effects = rows(
        reported[0], section="effect", model="trio-diffusion", quantity="ssim_dissimilarity"
    )
    assert len({row["term"] for row in effects}) == 7
    gaps = rows(reported[0], section="waterfall", term="gap")
    assert {row["attribution"] for row in gaps} >= {"marginal", "simple"}


def test_the_ledger_of_the_trio_holds_what_is_known_of_each_family(
    reported: tuple[Path, str],
) -> None:
    def bits(model: str, quantity: str) -> dict[str, float]:
        (row,) = rows(
            reported[0],
            section="ledger",
            model=model,
            quantity=quantity,
            term="stochastic/original/full",
        )
        return row  # type: ignore[return-value]

    assert "Path and execution: bits per image" in reported[1]
    assert "trio-ar (autoregressive): the order is fixed: the path takes 0 of" in " ".join(
        reported[1].split()
    )
    assert bits("trio-ar", "path_causal")["estimate"] == 0
    for share in ("path", "interaction", "path_total"):
        (row,) = rows(
            reported[0],
            section="sobol",
            model="trio-ar",
            quantity="reference_distance",
            attribution=share,
        )
        assert row["estimate"] == 0
    surprisal, entropy = (bits("trio-ar", name) for name in ("tokens", "tokens_rao_blackwell"))
    joint = sum((row["high"] - row["low"]) ** 2 for row in (surprisal, entropy)) ** 0.5 / 2
    assert abs(surprisal["estimate"] - entropy["estimate"]) <= joint
    path = bits(
        "trio-diffusion", "path_causal"
    )  # every position is revealed at one of 12 steps: all paths alike
    assert path["estimate"] == pytest.approx(64 * math.log2(12), abs=1e-3)
    assert path["degenerate"]


def test_results_are_valid_against_the_published_schema_and_tables_hold_the_same_numbers(
    reported: tuple[Path, str],
) -> None:
    document = json.loads((reported[0] / "results/results.json").read_text())
    jsonschema.validate(document, json.loads((ROOT / "schemas/results.schema.json").read_text()))
    with (reported[0] / "results/tables/diversity.csv").open() as stream:
        table = list(csv.DictReader(stream))
    estimates = [row["estimate"] for row in document["rows"] if row["section"] == "diversity"]
    assert [float(row["estimate"]) for row in table] == estimates


def test_figures_and_contact_sheets_are_there(reported: tuple[Path, str]) -> None:
    names = " ".join(path.name for path in (reported[0] / "results/figures").rglob("*.png"))
    assert "waterfall" in names
    assert "contact" in names


def test_lpips_is_there_under_its_own_name_or_a_line_says_how_to_get_it(
    reported: tuple[Path, str],
) -> None:
    measured = rows(reported[0], section="diversity", quantity="lpips_alex_distance")
    assert measured or "LPIPS" in reported[1].upper()


def test_a_second_pass_does_no_work_and_prints_the_same(reported: tuple[Path, str]) -> None:
    run, first = reported
    again = call("generate.cli", "run", run.parent / "study.yaml", "--out", run, "--device", "cpu")
    assert ", 0 of them now" in again
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert call("ibstats.cli", "report", run, "--full") == first
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before

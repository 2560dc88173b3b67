"""The three classes by their names, through the commands, and each against what it promises."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ibstats_example.model import Stripes
from ibstats_example.tables import Typst

import ibstats
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from ibstats.report import files
from ibstats.report.table import Column, Count, Table, Text

METRIC = "ibstats_example.metric:EdgeDistance"
MODEL = "ibstats_example.model:Stripes"
TABLES = "ibstats_example.tables:Typst"

SETTINGS = ibstats.Config(metrics=(METRIC,))
STUDY = f"""
name: plugin
samples: 3
models: [{{model: "{MODEL}", label: stripes}}]
prompts: {{source: trio, n: 5}}
calibration: {{source: trio, n: 4, samples: 2}}
experiments:
  factorial: {{kind: factorial, paraphrases: 2}}
"""


def ask(folder: Path, program: str, *arguments: str) -> str:
    """What a program printed."""
    script = Path(sys.executable).parent / program
    command = [str(script), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the model, in `run`."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "study.yaml").write_text(STUDY)
    ask(folder, "ibgenerate", "run", "study.yaml", "--out", "run")
    return folder


def test_the_model_keeps_what_a_study_relies_on(tmp_path: Path) -> None:
    assert MODEL in ask(tmp_path, "ibgenerate", "check", MODEL)


def test_agreement_makes_rows_of_one_colour() -> None:
    keys = np.arange(100, dtype=np.uint64)
    alike = {}
    for agreement in (0.0, 6.0):
        options = Stripes.options({"agreement": agreement})
        model = Stripes.load(Stripes.identify("stripes", options), options, "cpu")
        conditioning = model.encode(["a red cat"] * len(keys))
        grids = model.traverse(conditioning, Probe(), PhiloxNoise(keys, keys)).tokens.view(-1, 4, 4)
        alike[agreement] = float((grids[..., 1:] == grids[..., :-1]).double().mean())
    assert alike[0.0] < 0.5 < alike[6.0]


def test_the_metric_is_in_the_report_of_the_models_run(sampled: Path) -> None:
    shown = ask(sampled, "ibstats", "diversity", "run", "--metric", METRIC)
    assert "edges" in shown
    run = ibstats.open(sampled / "run")
    table = run.summary("diversity", metrics=(METRIC,))
    images = run.select().dataset["image"]
    for row in table.itertuples():
        chosen = images.values[list(images["condition"].values).index(row.condition)]
        assert row.estimate == pytest.approx(mean_distance(chosen), rel=1e-9, abs=1e-12)


def test_the_renderer_writes_every_table_of_the_run(sampled: Path) -> None:
    options = ["--metric", METRIC, "--out", "tables"]
    shown = ask(sampled, "ibstats", "export", "run", "--format", TABLES, *options)
    assert "tables/diversity.typ" in shown
    files.export(ibstats.open_store(sampled / "run"), SETTINGS, sampled / "tables", "markdown")
    tables = list((sampled / "tables").glob("*.md"))
    assert len(tables) > 3
    for file in tables:
        written = file.with_suffix(".typ").read_text()
        numbers = re.findall(r"\d+\.\d+", file.read_text())
        assert sorted(re.findall(r"\d+\.\d+", written)) == sorted(numbers)
        assert written.startswith("#figure(")


def test_words_are_no_markup() -> None:
    table = Table("t", "Of #1", (Column("a_b"), Column("n", Count)), ((Text("[*x*]"), Count(2)),))
    assert Typst().render(table) == (
        "#figure(\n  table(\n    columns: 2,\n    align: (left, right,),\n"
        "    table.header([a\\_b], [n]),\n    [\\[\\*x\\*\\]], [2],\n"
        "  ),\n  caption: [Of \\#1.],\n)\n"
    )


def steps(image: np.ndarray) -> list[float]:
    """The mean steps down and across, of each channel."""
    height, width, n_channels = image.shape
    found = []
    for dy, dx in ((1, 0), (0, 1)):
        for channel in range(n_channels):
            sizes = []
            for y, x in itertools.product(range(height - dy), range(width - dx)):
                here, there = image[y, x, channel], image[y + dy, x + dx, channel]
                sizes.append(abs(float(here) - float(there)) / 255)
            found.append(sum(sizes) / len(sizes))
    return found


def mean_distance(images: np.ndarray) -> float:
    """The mean over all pairs of each prompt's images."""
    distances = []
    for of_prompt in images:
        for one, other in itertools.combinations(map(steps, of_prompt), 2):
            distances.append(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
    return float(np.mean(distances))

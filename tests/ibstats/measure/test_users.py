"""Metrics of a user's own: by module, by file, on workers, in an analysis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import ibstats
from ibstats.analysis import provenance
from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.measure import Distance, EmbeddedDistance, Machine, distances, metric, on_cluster
from ibstats.measure.base import Pairs
from ibstats.measure.users import own_class
from ibstats.quantities import quantity
from ibstats.selection import select
from schemas.analysis import Resampling
from schemas.io.cluster import Cluster, connected
from tests.ibstats.measure.pixels import noise

ROOT = Path(__file__).parents[3]

FILE = """
from __future__ import annotations

from dataclasses import dataclass

from ibstats.measure import EmbeddedDistance


@dataclass
class Rule:
    power: int = 2


class MeanColour(EmbeddedDistance):
    name = "NAME"
    long_name = "squared distance of mean colours"
    short_name = "mean colour"

    def settings(self):
        return {"version": 1, "power": Rule().power}

    def embed(self, images):
        return images.mean(axis=(1, 2)) / 255


class Elsewhere:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of metrics, which no folder of modules holds; its metric has a name that no other test uses."""
    made = tmp_path / "my_metrics.py"
    name = f"mean_colour_{abs(hash(tmp_path)):x}_distance"
    made.write_text(FILE.replace("NAME", name), encoding="utf-8")
    return made


def test_a_class_of_a_file_is_a_metric_with_a_quantity(file: Path) -> None:
    own = metric(f"{file}:MeanColour")
    images = noise(2, 3, 8, 8)
    means = images.mean(axis=(2, 3)) / 255
    expected = ((means[:, :, None] - means[:, None, :]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(own.measure(images).distance, expected, atol=1e-12)
    known = quantity(own.name)
    assert (known.long, known.short) == ("squared distance of mean colours", "mean colour")
    assert known.user == f"{file}:MeanColour"
    assert metric(f"{file}:MeanColour").name == own.name


def test_a_metric_of_a_file_is_measured_on_workers_that_do_not_know_it(
    run_copy: Path, file: Path, tmp_path: Path
) -> None:
    own = f"{file}:MeanColour"
    here = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    alone = distances(here, metric(own))
    there = select(ibstats.open_store(run_copy, tmp_path / "other-results"), "toy-mim", "factorial")
    local = Cluster("local", 1, options={"dashboard_address": ":0"})
    content = file.read_text()
    with connected(local) as client:
        machine = Machine(each=on_cluster(lambda: client, local))
        chosen = machine.metric(own)
        file.unlink()
        xr.testing.assert_identical(distances(there, chosen, each=machine.each), alone)
    file.write_text(content)


def test_the_metric_of_the_documentation_is_reported_like_ours(
    run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/bring-your-own-metric.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "my_metrics.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    name = "my_metrics.py:MeanColour"
    arguments = ["report", str(run_copy), "--metric", name, "--model", "toy-mim"]
    arguments += ["--margin", "mean_colour_distance=0.1", "--resamples", "200"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "mean colour" in done.stdout
    store = ibstats.open_store(run_copy)
    settings = ibstats.Config(metrics=(name,))
    assert provenance(store, settings)["own_metrics"] == {name: {"version": 1}}


def test_a_class_of_a_module_is_a_metric() -> None:
    own = own_class("ibstats.measure.pixel:PixelCosine", object)
    assert own.__name__ == "PixelCosine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FILE:Nothing", "holds no 'Nothing'; name a class as .*my_metrics.py:Class"),
        ("FILE:Elsewhere", "is no Distance; derive it from ibstats.measure.Distance"),
        ("nowhere.py:Mine", "no file 'nowhere.py' to take a class from"),
        ("no_such_module:Mine", "no module 'no_such_module' .*path/to/file.py:Class"),
        ("pixel_cosin", "unknown metric 'pixel_cosin'; known: pixel_cosine, ssim"),
    ],
)
def test_what_is_no_metric_is_one_clear_line(file: Path, name: str, message: str) -> None:
    with pytest.raises(IbstatsError, match=message):
        metric(name.replace("FILE", str(file)))


def test_a_file_that_needs_a_module_names_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_package\n")
    with pytest.raises(IbstatsError, match="needs the module 'no_such_package'"):
        metric(f"{file}:Mine")


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE.replace("NAME", "ssim_dissimilarity"))
    with pytest.raises(IbstatsError, match="needs a name of its own: quantity 'ssim_dissim"):
        metric(f"{file}:MeanColour")


class Brightness(Distance):
    """Difference of mean brightness, of a class that a script or notebook defines."""

    name = "brightness_distance"

    def settings(self) -> dict[str, int]:
        return {"version": 1}

    def measure(self, images: np.ndarray) -> Pairs:
        means = images.mean(axis=(2, 3, 4)) / 255
        return Pairs.plain(abs(means[:, :, None] - means[:, None, :]))


def test_a_class_itself_is_a_metric_of_an_analysis(run_copy: Path) -> None:
    run = ibstats.open(run_copy)
    asked = {"models": ("toy-mim",), "resampling": Resampling(n_resamples=99)}
    found = run.summary("diversity", metrics=(Brightness,), **asked)
    named = run.summary("diversity", metrics=(f"{__name__}:Brightness",), **asked)
    assert set(found["quantity"]) == {"brightness_distance"}
    assert found.equals(named)
    images = run.select("toy-mim").dataset["image"].values
    distance = Brightness().measure(images[0]).distance
    pairs = distance[:, *np.triu_indices(distance.shape[-1], 1)]
    assert found["estimate"].iloc[0] == pytest.approx(pairs.mean(), abs=1e-12)


def test_an_object_in_the_place_of_a_class_is_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"analysis setting 'metrics\.0' is .*must be a list of names"
    ):
        ibstats.Config(metrics=(Brightness(),))


class Contrast(EmbeddedDistance):
    name = "contrast_distance"
    long_name = "squared distance of contrasts"

    def settings(self) -> dict[str, object]:
        return {"version": 1}

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.ptp(images, axis=(1, 2)) / 255


class Shades(Contrast):
    name = "shades_distance"
    long_name = "1 - cos of contrasts"
    space = "cosine"


@pytest.mark.parametrize("own", [Contrast, Shades])
def test_features_of_length_zero_leave_numbers_out_and_say_so(
    tmp_path: Path, own: type[Contrast]
) -> None:
    """A condition of flat images: equal, and of a direction that no cosine can tell."""
    images = np.stack([np.full((4, 3, 8, 8, 3), 128, dtype=np.uint8), noise(4, 3, 8, 8)])
    ibstats.from_arrays(
        tmp_path / "run",
        images=images,
        prompts=[f"prompt {number}" for number in range(4)],
        conditions=["flat", "noise"],
    )
    name = f"{__name__}:{own.__name__}"
    answer = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--full", "--metric", name])
    assert answer.exit_code == 0, answer.output
    results = json.loads((tmp_path / "run/results/results.json").read_text())
    rows = {(row["section"], row["condition"]): row["estimate"] for row in results["rows"]}
    assert rows["diversity", "flat"] == 0.0  # equal images are no distance apart
    assert "effective_number" not in {section for section, _ in rows}
    assert "in flat some images of every prompt have features of length 0" in " ".join(
        answer.output.split()
    )

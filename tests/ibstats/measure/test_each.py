"""The image pass on a Dask cluster against the same in one process."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, get_worker
from typer.testing import CliRunner

import ibstats
from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.measure import Each, Embedding, Pairs, distances, embeddings, on_cluster
from ibstats.measure.base import Features, Images
from ibstats.measure.lpips import LpipsSqueeze, untrained
from ibstats.measure.pixel import PixelCosine
from ibstats.measure.scene_network import SceneDistance
from ibstats.selection import Selection, select
from schemas.io.cluster import Cluster, ClusterError, connected
from tests.faults.processes import in_terminal

LOCAL = Cluster("local", 2, options={"dashboard_address": ":0"})


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connected(LOCAL) as client:
        yield client


@pytest.fixture
def spread(client: Client) -> Each:
    return on_cluster(lambda: client, LOCAL)


def masked(store: ibstats.Store) -> Selection:
    return select(store, "toy-mim", "factorial")


def test_a_cluster_measures_what_one_process_measures(
    run_copy: Path, spread: Each, tmp_path: Path
) -> None:
    store = ibstats.open_store(run_copy)
    there = ibstats.open_store(run_copy, tmp_path / "other-results")
    for chosen in (PixelCosine(), SceneDistance()):
        xr.testing.assert_identical(
            distances(masked(store), chosen),
            distances(masked(there), chosen, each=spread),
        )
    means = Means()
    alone = embeddings(masked(store), means)
    xr.testing.assert_identical(alone, embeddings(masked(there), means, each=spread))
    files = {path.name for path in (run_copy / "results").rglob("*.npy")}
    assert files == {path.name for path in (tmp_path / "other-results").rglob("*.npy")} != set()


class Means(Embedding):
    """Mean colour as the features."""

    name = "means"

    def asked(self) -> dict[str, Any]:
        return {"mean": "colour"}

    def settings(self) -> dict[str, Any]:
        return self.asked()

    def embed(self, images: Images) -> Features:
        return images.mean(axis=(1, 2)).astype(np.float32)


def test_numbers_come_with_their_values_from_both_workers(spread: Each) -> None:
    found = dict(spread(_who, range(20), "who"))
    assert [number for number, _ in sorted(found.values())] == list(range(20))
    assert len({worker for _, worker in found.values()}) == 2
    assert list(spread(_who, [], "who")) == []


def _who(number: int) -> tuple[int, str]:
    return number, str(get_worker().name)


def test_nothing_to_do_connects_to_nothing() -> None:
    def connect() -> Client:
        raise AssertionError

    assert list(on_cluster(connect, LOCAL)(_who, [], "who")) == []


def test_an_error_of_a_prompt_is_raised_here(run_copy: Path, spread: Each) -> None:
    with pytest.raises(
        IbstatsError, match=r"pixel_cosine_distance of toy-ar, prompt p00\d is NaN in condition"
    ):
        distances(
            select(ibstats.open_store(run_copy), "toy-ar", "factorial"), Broken(), each=spread
        )


class Broken(PixelCosine):
    """All its distances are NaN."""

    def measure(self, images: Images) -> Pairs:
        made = super().measure(images)
        return made._replace(distance=made.distance * np.nan)


class Deadly(PixelCosine):
    """Kills the worker that measures first."""

    def __init__(self, trace: Path) -> None:
        super().__init__()
        self.trace = trace

    def measure(self, images: Images) -> Pairs:
        try:
            self.trace.touch(exist_ok=False)
        except FileExistsError:
            return super().measure(images)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_costs_its_prompts_a_second_try(run_copy: Path, tmp_path: Path) -> None:
    store = ibstats.open_store(run_copy)
    with connected(LOCAL) as client:
        each = on_cluster(lambda: client, LOCAL)
        found = distances(masked(store), Deadly(tmp_path / "killed"), each=each)
    assert (tmp_path / "killed").exists()
    expected = distances(masked(ibstats.open_store(run_copy, tmp_path / "alone")), PixelCosine())
    np.testing.assert_array_equal(found["distance"], expected["distance"])


def test_a_pass_whose_workers_are_all_gone_ends(run_copy: Path) -> None:
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty, Client(empty) as client:
        each = on_cluster(lambda: client, Cluster(empty.scheduler_address, wait=0.3))
        with pytest.raises(
            ClusterError, match=r"all workers are gone, and none has come back for 0\.3 s; what was"
        ):
            distances(masked(ibstats.open_store(run_copy)), PixelCosine(), each=each)


def test_a_network_travels_without_the_weights_it_has_loaded(tmp_path: Path) -> None:
    loaded = SceneDistance()
    small = len(pickle.dumps(loaded))
    assert loaded.network.loaded
    assert len(pickle.dumps(loaded)) == small < 1000
    given = LpipsSqueeze(network=untrained("squeeze"))
    assert pickle.loads(pickle.dumps(given)).settings() == given.settings()


def test_images_travel_as_a_reference_to_their_store(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_copy.parent)
    images = ibstats.open_store(run_copy.name).images("toy-mim")
    content = pickle.dumps(images)
    assert len(content) < images.nbytes / 2
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(
        pickle.loads(content), ibstats.open_store(run_copy).images("toy-mim")
    )


def test_command_line_measures_on_a_cluster(run_copy: Path, tmp_path: Path) -> None:
    settings = tmp_path / "cluster.yaml"
    settings.write_text("dashboard_address: ':0'\n", encoding="utf-8")
    asked = ["diversity", str(run_copy), "--metric", "pixel_cosine", "--model", "toy-ar"]
    spread: list[Any] = [*asked, "--workers", "2", "--cluster-options", str(settings)]
    there = CliRunner().invoke(app, [*spread, "--results", str(tmp_path / "there")])
    here = CliRunner().invoke(app, [*asked, "--results", str(tmp_path / "here")])
    assert "dashboard: http" in there.stderr
    assert there.stdout == here.stdout
    again = CliRunner().invoke(app, [*spread, "--results", str(tmp_path / "there")])
    assert (again.stdout, again.exit_code) == (here.stdout, 0)
    assert "dashboard" not in again.stderr, "nothing was left to measure"


@pytest.mark.parametrize("spread", [False, True], ids=["one process", "local cluster"])
def test_control_c_keeps_what_was_measured(run_copy: Path, tmp_path: Path, spread: bool) -> None:
    """As a terminal does it: the signal reaches every process of the command, workers too."""
    settings = tmp_path / "cluster.yaml"
    settings.write_text("dashboard_address: ':0'\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ibstats",
        "diversity",
        str(run_copy),
        "--metric",
        "tests.ibstats.measure.test_each:Slow",
        "--model",
        "toy-ar",
    ]
    command += ["--workers", "2", "--cluster-options", str(settings)] if spread else []
    process = in_terminal(command)
    tables = run_copy / "results" / "distances" / "toy-ar" / "factorial"
    while process.poll() is None and not any(map(n_measured, tables.glob(".*.rows"))):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "interrupted; what was measured is kept: run the same command to go on." in told
    assert "Traceback" not in told
    (rows,) = tables.glob(".*.rows")
    assert 0 < n_measured(rows) < 6


def n_measured(rows: Path) -> int:
    """Prompts whose row is whole: each has a line, written last."""
    return len(rows.read_text(encoding="ascii").splitlines())


class Slow(PixelCosine):
    """Takes its time."""

    name = "slow_distance"

    def measure(self, images: Images) -> Pairs:
        time.sleep(2)
        return super().measure(images)

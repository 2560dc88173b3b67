"""A study on Dask workers: the same store, whoever makes it, and one line for every cluster that cannot."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client

from generate.run import dispatch
from generate.store.audit import summary, verify
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.io import cluster as clusters
from schemas.io.cluster import Cluster, ClusterError, connected
from tests.generate.conftest import edited

QUIET: dict[str, Any] = {"dashboard_address": ":0"}
LOCAL = Cluster("local", 2, options=QUIET)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connected(LOCAL) as client:
        yield client


def test_two_workers_make_the_store_of_one_process(
    client: Client, toy_plan: Plan, store: SampleStore, tmp_path: Path
) -> None:
    shown: dict[str, tuple[int, int]] = {}
    workers: set[tuple[str, int]] = set()
    made = dispatch.prepare(
        client,
        toy_plan,
        tmp_path / "cluster",
        LOCAL,
        progress=lambda what, done, total: shown.__setitem__(what, (done, total)),
    )
    n_calibration = len(toy_plan.calibration_prompts) * toy_plan.study.calibration.samples
    assert shown == {
        f"{model} calibration": (n_calibration, n_calibration) for model in toy_plan.models
    }
    shown.clear()
    done = dispatch.run(
        client,
        toy_plan,
        made,
        LOCAL,
        progress=lambda what, done, total: shown.__setitem__(what, (done, total)),
        watch=lambda states: workers.update((state.name, state.images > 0) for state in states),
    )
    assert (done.made, done.done, done.failed, done.elsewhere) == (48, 48, 0, 0)
    assert done.digest == summary(toy_plan, store).digest
    assert verify(toy_plan, made) == []
    assert shown == dict.fromkeys(toy_plan.models, (240, 240))
    assert {("0", True), ("1", True)} <= workers
    assert dispatch.run(client, toy_plan, made, LOCAL).made == 0


def test_workers_keep_the_memory_that_tensors_leave_for_the_next_ones(client: Client) -> None:
    assert set(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == {None}


def test_a_block_that_fails_or_kills_its_worker_is_recorded_and_the_rest_goes_on(
    study_file: Path, tmp_path: Path
) -> None:
    model = {"model": "tests.generate.dangerous:Poisonous", "label": "poisonous"}
    experiments = {"noise": {"kind": "crossed_noise", "paths": 2, "executions": 2}}
    study = edited(
        study_file, models=[model], block_prompts=1, experiments=experiments, calibration=None
    )
    poisonous = plan(*load_study(str(study)))
    one = Cluster("local", 1, options=QUIET)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), connected(one) as client:
        store = dispatch.prepare(client, poisonous, tmp_path / "run", one)
        done = dispatch.run(client, poisonous, store, one)
    assert (done.total, done.failed, done.elsewhere) == (5, 2, 0)
    errors = [
        json.loads(file.read_text())["error"] for file in store.root.glob("failed/*/*/*.json")
    ]
    assert sorted(errors) == [
        "ClusterError: making it killed its worker, 1 times",
        "RuntimeError: poison",
    ]
    assert verify(poisonous, store) == []


def test_workers_without_a_gpu_are_not_waited_for(client: Client, toy_plan: Plan) -> None:
    address = client.scheduler.address
    with (
        pytest.raises(
            ClusterError,
            match=rf"none of the 2 workers at '{address}' offers a GPU: .* --resources GPU=1",
        ),
        connected(Cluster(address, device="cuda")),
    ):
        pass


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"),
        connected(Cluster("tcp://127.0.0.1:9", wait=0.5)),
    ):
        pass
    with pytest.raises(ClusterError, match=r"answers at 'slrum'.*or one of local, cuda, slurm"), connected(
        Cluster("slrum", wait=0.5)
    ):  # fmt: skip
        pass


def test_a_cluster_without_workers_is_not_waited_for() -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(ClusterError, match=r"has had no worker for 0\.3 s: start some"),
        connected(Cluster(empty.scheduler_address, wait=0.3)),
    ):
        pass


def test_a_run_whose_workers_are_all_gone_ends(toy_plan: Plan, store: SampleStore) -> None:
    from distributed import LocalCluster

    (store.root / "ledger/toy-masked/factorial/c0000-b000000.json").unlink()
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty, Client(empty) as client:
        here = Cluster(empty.scheduler_address, wait=0.3)
        with pytest.raises(
            ClusterError, match=r"all workers are gone, and none has come back for 0\.3 s; what was"
        ):
            dispatch.run(client, toy_plan, store, here)


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [("cuda", "dask_cuda", "cuda"), ("slurm", "dask_jobqueue", "slurm"),
     ("kubernetes", "dask_kubernetes", "kubernetes"),
     ("local", "distributed", "cluster")],
)  # fmt: skip
def test_a_package_that_a_cluster_needs_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, name, None)
    message = rf"--cluster {kind} needs the package {package.replace('_', '-')}.* pip install 'ibstats\[{extra}\]'"
    with pytest.raises(ClusterError, match=message), connected(Cluster(kind)):
        pass


@pytest.mark.parametrize("taken", [False, True], ids=["its port is free", "its port is taken"])
def test_nothing_of_a_local_cluster_listens_to_other_machines(*, taken: bool) -> None:
    with socket.socket() as other:
        if taken:
            with contextlib.suppress(OSError):  # by somebody else
                other.bind(("127.0.0.1", 8787))
                other.listen()
        before = listening()
        with connected(Cluster("local", 1)):
            opened = listening() - before
            assert opened
            assert {host for host, _ in opened} == {"127.0.0.1"}


def listening() -> set[tuple[str, int]]:
    """Addresses that this process and its children listen at."""
    here = psutil.Process()
    found = set()
    for process in (here, *here.children(recursive=True)):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((connection.laddr.ip, connection.laddr.port))
    return found


def test_each_local_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5a")
    given: dict[str, Any] = {}
    monkeypatch.setattr("distributed.SpecCluster", lambda **options: given.update(options))
    clusters.start(Cluster("local", device="cuda"))
    seen = [worker["options"] for worker in given["workers"].values()]
    assert [(w["env"], w["resources"], w["nthreads"]) for w in seen] == [
        ({"CUDA_VISIBLE_DEVICES": name}, {"GPU": 1}, 1) for name in ("3", "GPU-5a")
    ]
    with pytest.raises(
        ClusterError, match="3 workers were asked for, but this machine shows 2 GPUs"
    ):
        clusters.start(Cluster("local", 3, "cuda"))


@pytest.mark.parametrize(
    ("kind", "module", "name", "expected"),
    [
        ("cuda", "dask_cuda", "LocalCUDACluster", {"n_workers": 2, "threads_per_worker": 1,
          "resources": {"GPU": 1}, "host": "127.0.0.1",
          "dashboard_address": "127.0.0.1:8787", "worker_dashboard_address": "127.0.0.1:0"}),
        ("kubernetes", "dask_kubernetes.operator", "KubeCluster",
         {"name": "ibstats", "n_workers": 2, "resources": {"limits": {"nvidia.com/gpu": "1"}}, "image": "x",
          "worker_command": ["dask", "worker", "--nthreads", "1", "--resources", "GPU=1"]}),
    ],
)  # fmt: skip
def test_what_clusters_that_are_not_here_would_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, kind: str, module: str, name: str, expected: dict[str, Any]
) -> None:
    """The classes themselves need GPUs and a control plane; this holds only what they are given."""
    fake = types.ModuleType(module)
    monkeypatch.setattr(fake, name, lambda **options: options, raising=False)
    monkeypatch.setitem(
        sys.modules, module.partition(".")[0], types.ModuleType(module.partition(".")[0])
    )
    monkeypatch.setitem(sys.modules, module, fake)
    options = {"image": "x"} if kind == "kubernetes" else {}
    assert clusters.start(Cluster(kind, 2, "cuda", options)) == expected


SBATCH = """#!/bin/sh
# Stands in for a SLURM controller: runs the job's script here, at once.
here="$(dirname "$0")"
cp "$1" "$here/job"
nohup sh "$here/job" > "$here/log" 2>&1 &
echo "Submitted batch job $!"
"""


def test_slurm_jobs_are_submitted_and_their_workers_make_the_study(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask-jobqueue writes and submits a real job script; only the controller behind `sbatch` is not one."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "scancel": "#!/bin/sh\nkill $1 2>/dev/null || true\n",
    }.items():
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    small = plan(*load_study(str(edited(study_file, models=["toy-masked"], block_prompts=5))))
    options = {"memory": "1GB", "interface": "lo", "scheduler_options": {"dashboard_address": ":0"}}
    slurm = Cluster("slurm", 1, options=options, wait=60)
    with connected(slurm) as client:
        store = dispatch.prepare(client, small, tmp_path / "run", slurm)
        assert dispatch.run(client, small, store, slurm).done == 8
    assert "#SBATCH -J dask-worker" in (bin_ / "job").read_text()


def test_a_slurm_cluster_without_settings_says_which() -> None:
    message = r"needs its memory stated: write `memory: 16GB` .* --cluster-options"
    with pytest.raises(ClusterError, match=message), connected(Cluster("slurm")):
        pass


def test_a_machine_that_cannot_submit_to_slurm_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm = Cluster("slurm", 1, options={"memory": "1GB"})
    with pytest.raises(ClusterError, match=r"`sbatch`, which is not on the PATH"):
        clusters.start(slurm)


def test_a_gpu_job_asks_slurm_and_dask_for_it() -> None:
    options = {
        "memory": "1GB",
        "interface": "lo",
        "n_workers": 0,
        "scheduler_options": {"dashboard_address": ":0"},
    }
    with clusters.start(Cluster("slurm", 1, "cuda", options)) as cluster:
        script = cluster.job_script()
    assert "#SBATCH --gres=gpu:1" in script
    assert "--resources GPU=1" in script
    assert "--nthreads 1" in script

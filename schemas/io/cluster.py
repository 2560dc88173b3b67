"""Dask clusters: start one or connect to one, and make sure that it can do the work.

That is known before anything waits for it, and every refusal is one line.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import shutil
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.io.refused import FolderError

if TYPE_CHECKING:
    from distributed import Client

KINDS = ("local", "cuda", "slurm", "kubernetes")
QUIET = logging.CRITICAL
QUEUES = ("slurm", "kubernetes")
"""Kinds whose workers may stand in a queue for hours."""


class ClusterError(RuntimeError):
    """A Dask cluster cannot be started, reached or used; the message is one line.

    What was finished until then is kept.
    """


WORKER_MEMORY = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
"""Dask has workers give freed memory back at once, page by page.

That doubles the time of a network on a CPU.
"""
ONE_GPU = {"GPU": 1}
"""What a worker offers that has a GPU of its own, and what a task asks for that needs one."""
PATIENCE = 60.0
"""Seconds without any worker after which a run ends, where workers are not queued."""
DASHBOARD = "127.0.0.1:8787"
"""Where the dashboard of a cluster that is started here listens: it asks nobody who he is.

Another machine sees it through a tunnel (`ssh -L`), or where `dashboard_address` of the options
says so.
"""
UNSEEN = "127.0.0.1:0"
"""Where the pages of a worker of this machine listen, which the dashboard links to."""
ANSWER_SECONDS = 20
"""Seconds in which a scheduler must answer."""


@dataclass(frozen=True)
class Cluster:
    """The cluster that was asked for: what to start or reach, and how long to wait.

    >>> Cluster("local", workers=2).resources is None
    True
    """

    kind: str
    """One of `KINDS`, or the address of a running scheduler."""
    workers: int | None = None
    """Worker processes.

    None means one a GPU or, without GPUs, one a CPU core; where they are queued, one job.
    """
    device: str = "cpu"
    """cpu or cuda; on cuda each worker has a GPU of its own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the cluster's Dask class is given besides."""
    wait: float | None = None
    """Seconds without any worker after which a run ends.

    None means `PATIENCE`, and no end where workers are queued.
    """

    @property
    def patience(self) -> float:
        """Seconds without any worker after which a run ends; infinite where workers are queued.

        >>> Cluster("local").patience, Cluster("slurm").patience, Cluster("slurm", wait=5).patience
        (60.0, inf, 5)
        """
        if self.wait is not None:
            return self.wait
        if self.kind in QUEUES:
            return math.inf
        return PATIENCE

    @property
    def resources(self) -> dict[str, float] | None:
        """What a task needs of its worker: a GPU, or None for nothing in particular."""
        if self.device == "cuda":
            return dict(ONE_GPU)
        return None


@contextmanager
def connected(cluster: Cluster) -> Iterator[Client]:
    """Lend a client of a cluster that has a worker able to do the work.

    What was started for it is stopped at the end. Raises ClusterError where a cluster cannot be
    started or reached, and where no worker comes in time.
    """
    try:
        from distributed import Client
        from distributed.comm import resolve_address
    except ModuleNotFoundError:
        raise _missing(cluster.kind, "distributed", "cluster") from None
    # What matters of its log reaches the user as our errors.
    logging.getLogger("distributed").setLevel(QUIET)
    started = None
    if cluster.kind in KINDS:
        started = start(cluster)
    try:
        try:
            if started is None:
                # Before a client: one that fails here may hang a later start.
                resolve_address(cluster.kind)
            timeout = min(cluster.patience, ANSWER_SECONDS)
            client = Client(started or cluster.kind, timeout=timeout)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at '{cluster.kind}' ({type(error).__name__}): give the "
                "address that `dask scheduler` shows (tcp://HOST:8786), or one of "
                f"{', '.join(KINDS)}."
            ) from None
        with client:
            client.register_plugin(_names_pinned())
            with loss_told():
                _wait_for_workers(client, cluster)
            yield client
    finally:
        if started is not None:
            started.close(timeout=30)


def _names_pinned() -> Any:
    """A plugin that has a worker know our packages as ours before it is given any work.

    A `generate.py` or a `schemas.py` where the worker was started would take their place else. The
    class is made here so that it travels by value: to import it, the worker would need the very
    names that it pins.
    """
    from distributed import WorkerPlugin

    class OwnNames(WorkerPlugin):  # type: ignore[misc]
        name = "ibstats-own-names"

        def setup(self, worker: Any) -> None:
            importlib.import_module("ibstats.own").pin("schemas", "generate")

    return OwnNames()


@contextmanager
def loss_told() -> Iterator[None]:
    """Turn what Dask raises when the workers are gone into a ClusterError.

    The workers are gone with the scheduler, or when all that a task tried have died. Errors of a
    disk or a bucket pass.
    """
    from distributed import KilledWorker

    try:
        yield
    except (CancelledError, KilledWorker, OSError) as error:
        if isinstance(error, FolderError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk: errors of a connection carry no number
        reason, *_ = [*str(error).splitlines(), type(error).__name__]
        raise ClusterError(
            f"the cluster was lost ({reason}); what was finished is kept: run the same command to "
            "go on."
        ) from None


def start(cluster: Cluster) -> Any:
    """Start a cluster of one of `KINDS`, and give it as its Dask class makes it.

    Whoever starts it closes it; `connected` does both. Raises ClusterError where its package is not
    installed, its settings lack something, or it does not start.
    """
    import dask

    starters = {"local": _local, "cuda": _cuda, "slurm": _slurm, "kubernetes": _kubernetes}
    try:
        with warnings.catch_warnings(), _deaf_children(), dask.config.set(WORKER_MEMORY):
            # The dashboard takes another port then.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            return starters[cluster.kind](cluster)
    except ModuleNotFoundError as error:
        raise _missing(cluster.kind, str(error.name).replace("_", "-"), cluster.kind) from None
    except ClusterError:
        raise
    except Exception as error:  # whatever a queue or a control plane finds wrong
        reason = " ".join(str(error).split())
        raise ClusterError(
            f"the {cluster.kind} cluster did not start ({type(error).__name__}: {reason}): correct "
            "its settings, in --cluster-options FILE or Dask's own configuration."
        ) from error


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C, which a terminal sends to all.

    The client stops them.
    """
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def _missing(kind: str, package: str, extra: str) -> ClusterError:
    return ClusterError(
        f"--cluster {kind} needs the package {package}, which is not installed: "
        f"pip install 'ibstats[{extra}]'."
    )


def _local(cluster: Cluster) -> Any:
    """Worker processes on this machine, one thread each, each with a GPU if GPUs are asked for."""
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = []
    if cluster.device == "cuda":
        gpus = visible_gpus()
    n_workers = cluster.workers or len(gpus) or os.cpu_count() or 1
    if gpus and n_workers > len(gpus):
        raise ClusterError(
            f"{n_workers} workers were asked for, but this machine shows {len(gpus)} GPUs and each "
            f"worker needs one of its own: give --workers {len(gpus)} or fewer."
        )
    here = {"host": "127.0.0.1", "protocol": "tcp://"}
    settings: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": 0,
        "death_timeout": 30,
        "silence_logs": QUIET,
        "worker_dashboard_address": UNSEEN,
        **here,
    }
    settings |= cluster.options
    dashboard = settings.pop("dashboard_address", None) or _free_dashboard()
    settings["dashboard_address"] = settings.pop("worker_dashboard_address")
    workers = {}
    for number in range(n_workers):
        options = dict(settings)
        if gpus:
            options["env"] = {"CUDA_VISIBLE_DEVICES": gpus[number]}
            options["resources"] = dict(ONE_GPU)
        workers[number] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0, "dashboard_address": dashboard}}
    return SpecCluster(scheduler=scheduler, workers=workers, name="ibstats")


def _free_dashboard() -> str:
    """Where the dashboard can listen: `DASHBOARD`, or at any port where that one is taken.

    Dask would find another port too, but leave a socket open that it could not bind.
    """
    host, port = DASHBOARD.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return UNSEEN
    return DASHBOARD


def visible_gpus() -> list[str]:
    """Give the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES spells them.

    Loads torch. The list is empty on a machine without GPUs.
    """
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _cuda(cluster: Cluster) -> Any:
    from dask_cuda import LocalCUDACluster

    defaults = {
        "n_workers": cluster.workers,
        "threads_per_worker": 1,
        "resources": dict(ONE_GPU),
        "host": "127.0.0.1",
        "dashboard_address": DASHBOARD,
        "worker_dashboard_address": UNSEEN,
    }
    return LocalCUDACluster(**defaults | dict(cluster.options))


def _slurm(cluster: Cluster) -> Any:
    """One job a worker.

    Queue, memory and walltime stand in the options or in Dask's `jobqueue.yaml`.
    """
    import dask
    from dask_jobqueue import SLURMCluster

    if "memory" not in cluster.options and dask.config.get("jobqueue.slurm.memory", None) is None:
        raise ClusterError(
            "a slurm job needs its memory stated: write `memory: 16GB` (and queue, walltime, "
            "account ...) into the file of --cluster-options, or into Dask's jobqueue.yaml."
        )
    defaults: dict[str, Any] = {
        "n_workers": cluster.workers or 1,
        "cores": 1,
        "processes": 1,
        "scheduler_options": {"dashboard_address": DASHBOARD},
    }
    if cluster.resources:
        defaults |= {
            "job_extra_directives": ["--gres=gpu:1"],
            "worker_extra_args": ["--resources", "GPU=1"],
        }
    settings = defaults | dict(cluster.options)
    if settings["n_workers"] and shutil.which("sbatch") is None:
        raise ClusterError(
            "slurm jobs are submitted by `sbatch`, which is not on the PATH of this machine: call "
            "this on a login node, or use --cluster local here."
        )
    return SLURMCluster(**settings)


def _kubernetes(cluster: Cluster) -> Any:
    """One pod a worker, through the Dask operator.

    The Kubernetes cluster is the one that kubectl points at.
    """
    from dask_kubernetes.operator import KubeCluster

    defaults: dict[str, Any] = {"name": "ibstats", "n_workers": cluster.workers or 1}
    if cluster.resources:
        command = ["dask", "worker", "--nthreads", "1", "--resources", "GPU=1"]
        defaults |= {"resources": {"limits": {"nvidia.com/gpu": "1"}}, "worker_command": command}
    return KubeCluster(**defaults | dict(cluster.options))


def able_workers(client: Client, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Give what the scheduler knows of its workers, by address.

    On cuda only of those that offer a GPU.
    """
    workers: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1).get("workers", {})
    if cluster.resources is None:
        return workers
    return {address: worker for address, worker in workers.items() if _has_gpu(worker)}


def _has_gpu(worker: Mapping[str, Any]) -> bool:
    """Whether a worker offers a GPU."""
    return bool(worker.get("resources", {}).get("GPU", 0) >= ONE_GPU["GPU"])


class Workforce:
    """The workers of a cluster that are able to do the work, from now on.

    Ask it regularly: it notices when there has been no worker for too long.
    """

    def __init__(self, client: Client, cluster: Cluster) -> None:
        self.client, self.cluster = client, cluster
        self._last_seen = time.monotonic()

    def able(self) -> dict[str, dict[str, Any]]:
        """Give those that there are now, as `able_workers` does.

        Raises ClusterError when there has been none for longer than the cluster's patience.
        """
        workers = able_workers(self.client, self.cluster)
        if workers:
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > self.cluster.patience:
            raise ClusterError(
                "all workers are gone, and none has come back for "
                f"{self.cluster.patience:g} s; what was finished is kept: start workers, and run "
                "the same command to go on."
            )
        return workers


def _wait_for_workers(client: Client, cluster: Cluster) -> None:
    """Return when one worker can do the work; say in one line why none can."""
    start = time.monotonic()
    while not able_workers(client, cluster):
        others = client.scheduler_info(n_workers=-1).get("workers", {})
        if others and cluster.kind not in KINDS:
            raise ClusterError(
                f"none of the {len(others)} workers at '{cluster.kind}' offers a GPU: start one "
                "for each GPU with `dask worker ADDRESS --nthreads 1 --resources GPU=1`, or give "
                "--device cpu."
            )
        if time.monotonic() - start > cluster.patience:
            raise ClusterError(
                f"the cluster '{cluster.kind}' has had no worker for {cluster.patience:g} s: start "
                "some (`dask worker ADDRESS --nthreads 1`), or wait longer with --wait SECONDS."
            )
        time.sleep(0.1)

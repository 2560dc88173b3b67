"""Work on many prompts or images, one by one: in this process, or spread over the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from schemas.io.cluster import Cluster, Workforce, loss_told

if TYPE_CHECKING:
    from distributed import Client, Future

Each = Callable[[Callable[[int], Any], Sequence[int], str], Iterator[tuple[int, Any]]]
"""`each(function, numbers, label)` gives each number with the function's value, in any order, told of by the label."""

AHEAD = 2
"""Tasks in flight per worker, so that none waits for the client."""


def here(
    function: Callable[[int], Any], numbers: Sequence[int], label: str
) -> Iterator[tuple[int, Any]]:
    """Each number in this process, in order."""
    for number in numbers:
        yield number, function(number)


def on_cluster(connect: Callable[[], Client], cluster: Cluster) -> Each:
    """Each number on a worker of the cluster, in any order; `connect` is called when there is something to do.

    The function is pickled once and unpickled once a worker process, so that what it loads stays loaded. Its errors are
    raised here as they are; ClusterError when the cluster is lost.
    """

    def each(
        function: Callable[[int], Any], numbers: Sequence[int], label: str
    ) -> Iterator[tuple[int, Any]]:
        """A number and its result, as workers finish them."""
        if not numbers:
            return
        from distributed import wait

        client, content = connect(), pickle.dumps(function)
        key, workforce = hashlib.sha256(content).hexdigest(), Workforce(client, cluster)
        todo = iter(numbers)
        flying: dict[Future, int] = {}
        try:
            while True:
                with loss_told():
                    most = AHEAD * max(1, len(workforce.able()))
                    for number in islice(todo, max(0, most - len(flying))):
                        future = client.submit(
                            _apply, key, content, number, resources=cluster.resources, pure=False
                        )
                        flying[future] = number
                    if not flying:
                        return
                    try:
                        ended = wait(list(flying), timeout=1.0, return_when="FIRST_COMPLETED").done
                    except TimeoutError:
                        continue
                    done = [(flying.pop(future), future.result()) for future in ended]
                yield from done
        finally:
            if flying and client.status == "running":
                client.cancel(list(flying), force=True)

    return each


class Portable:
    """An object that travels to a worker without what it has loaded, which the worker loads for itself."""

    def __getstate__(self) -> dict[str, Any]:
        kept = vars(self).items()
        return {
            k: v for k, v in kept if not isinstance(getattr(type(self), k, None), cached_property)
        }


_functions: dict[str, Callable[[int], Any]] = {}


def _apply(key: str, content: bytes, number: int) -> Any:
    """What a worker does: one function at a time is kept in the process."""
    function = _functions.get(key)
    if function is None:
        _functions.clear()
        function = _functions[key] = pickle.loads(content)
    return function(number)

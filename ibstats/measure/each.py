"""Work on many prompts or images, one by one: in this process, or spread over the workers of a Dask
cluster.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ibstats.measure.users import modules_of_files
from schemas.io.cluster import Cluster, Workforce, loss_told

if TYPE_CHECKING:
    from distributed import Client, Future

Each = Callable[[Callable[[int], Any], Sequence[int], str], Iterator[tuple[int, Any]]]
"""`each(function, numbers, label)` gives each number with the function's value, in any order, told
of by the label.
"""

AHEAD = 2
"""Tasks in flight per worker, so that none waits for the client."""

PAUSE = 1.0
"""Seconds after which the client looks at the workers again."""


def here(
    function: Callable[[int], Any], numbers: Sequence[int], label: str
) -> Iterator[tuple[int, Any]]:
    """Give each number with the function's value, in order, worked out in this process; the label
    goes unused.

    >>> list(here(abs, [-1, 2], "absolute values"))
    [(-1, 1), (2, 2)]
    """
    for number in numbers:
        yield number, function(number)


def on_cluster(connect: Callable[[], Client], cluster: Cluster) -> Each:
    """Give an `Each` that works on the workers of a cluster, in any order.

    `connect` is called when there is something to do. The function is pickled once and unpickled
    once a worker process, so that what it loads stays loaded; classes from a user's file travel
    with it. Its errors are raised here as they are; ClusterError when the cluster is lost.
    """

    def each(
        function: Callable[[int], Any], numbers: Sequence[int], label: str
    ) -> Iterator[tuple[int, Any]]:
        """A number and its result, as workers finish them."""
        if numbers:
            yield from _spread(connect(), cluster, _pickled(function), numbers)

    return each


def _spread(
    client: Client, cluster: Cluster, content: bytes, numbers: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    from distributed import wait

    key = hashlib.sha256(content).hexdigest()
    workforce = Workforce(client, cluster)
    todo = iter(numbers)
    flying: dict[Future, int] = {}
    try:
        while True:
            done = []
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
                    ended = wait(list(flying), timeout=PAUSE, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                for future in ended:
                    done.append((flying.pop(future), future.result()))
            yield from done
    finally:
        if flying and client.status == "running":
            client.cancel(list(flying), force=True)


def _pickled(function: Callable[[int], Any]) -> bytes:
    """The function for the workers: by reference to its module, but by value if that is a file they
    do not know.
    """
    modules = modules_of_files()
    if not modules:
        return pickle.dumps(function)
    import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    content: bytes = cloudpickle.dumps(function)
    return content


_functions: dict[str, Callable[[int], Any]] = {}


def _apply(key: str, content: bytes, number: int) -> Any:
    """What a worker does: one function at a time is kept in the process."""
    function = _functions.get(key)
    if function is None:
        _functions.clear()
        function = _functions[key] = pickle.loads(content)
    return function(number)

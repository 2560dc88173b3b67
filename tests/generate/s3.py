"""A real S3 server on this machine, for the tests of stores under a URL."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SECRET = "secret-of-the-bucket"


@contextmanager
def server(seen: list[str] | None = None) -> Iterator[str]:
    """Address of a server with an empty bucket called `bucket`; `seen` gets the method of each request.

    It answers one request after another: S3 promises that of conditional puts at once one succeeds, but moto looks
    and writes in two steps, between which its threads may change.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    answer, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ: Any, start_response: Any) -> Any:
        with one_at_a_time:
            if seen is not None:
                seen.append(environ["REQUEST_METHOD"])
            return answer(environ, start_response)

    moto = make_server("127.0.0.1", 0, application, threaded=True)
    serving = threading.Thread(target=moto.serve_forever, daemon=True)
    serving.start()
    address = f"http://127.0.0.1:{moto.server_port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    try:
        yield address
    finally:
        moto.shutdown()
        serving.join()


def credentials(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process and its children speak to a server."""
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for name, value in (settings | {"AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)

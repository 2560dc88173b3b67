"""A real S3 server on this machine, for the tests of stores under a URL."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SECRET = "secret-of-the-bucket"


@contextmanager
def server() -> Iterator[str]:
    """Address of a server with an empty bucket called `bucket`."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    try:
        yield address
    finally:
        moto.stop()


def credentials(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process and its children speak to a server."""
    settings = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in (settings | {"AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)

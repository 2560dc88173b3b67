"""A real S3 server on this machine, for the tests of stores under a URL."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SECRET = "secret-of-the-bucket"


@contextmanager
def server(
    seen: list[str] | None = None, on_the_way: Callable[[str, bytes], bytes] | None = None
) -> Iterator[str]:
    """Address of a server with an empty bucket called `bucket`; `seen` gets the method of each request.

    As S3 does and moto does not, it refuses what differs from the checksum that comes with it; `on_the_way` may change
    the content that is put at a path. It answers one request after another: S3 promises that of conditional puts at
    once one succeeds, but moto looks and writes in two steps, between which its threads may change.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    answer, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ: Any, start_response: Any) -> Any:
        with one_at_a_time:
            if seen is not None:
                seen.append(environ["REQUEST_METHOD"])
            if environ["REQUEST_METHOD"] == "PUT" and not _received(environ, on_the_way):
                start_response("400 Bad Request", [("Content-Type", "application/xml")])
                return [b"<Error><Code>BadDigest</Code><Message>sha256 differs</Message></Error>"]
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


def _received(environ: Any, on_the_way: Callable[[str, bytes], bytes] | None) -> bool:
    """Whether the content of a put is that of its checksum, if it has one."""
    content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if on_the_way is not None:
        content = on_the_way(environ["PATH_INFO"], content)
    environ["wsgi.input"] = io.BytesIO(content)
    environ["CONTENT_LENGTH"] = str(len(content))
    told = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
    return told is None or base64.b64decode(told) == hashlib.sha256(content).digest()


def credentials(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process and its children speak to a server."""
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for name, value in (settings | {"AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)

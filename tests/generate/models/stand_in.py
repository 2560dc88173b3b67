"""A stand-in of the hub on this machine: lists files with published sizes, and serves the small ones."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.generate.models.published import File

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


class StandIn:
    """Repositories by name, and what was asked of them.

    `sent` are the files whose content was sent, as 'owner/name/path'.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, File]], contents: Path) -> None:
        self.repositories = repositories
        self.contents = contents
        self.sent: list[str] = []
        self.address = ""

    def body(self, repository: str, name: str) -> bytes:
        """The content of a file: what lies in the folder of contents, else its JSON, else spaces."""
        file = self.repositories[repository][name]
        on_disk = self.contents / repository / name
        if on_disk.is_file():
            return on_disk.read_bytes()
        return file.written() if file.content is not None else b"{}".ljust(file.n_bytes)


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/"):
            self._describe(path.removeprefix("api/models/"), with_body)
            return
        repository, _, rest = path.partition("/resolve/")
        _, _, name = rest.partition("/")
        if name not in self.hub.repositories.get(repository, {}):
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            return
        about = {"ETag": f'"{hashlib.sha256(name.encode()).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if not with_body:
            n_bytes = self.hub.repositories[repository][name].n_bytes
            self._send(200, b"", about | {"Content-Length": str(n_bytes)}, with_body)
            return
        self.hub.sent.append(f"{repository}/{name}")
        self._send(200, self.hub.body(repository, name), about, with_body)

    def _describe(self, path: str, with_body: bool) -> None:
        repository = "/".join(path.split("/")[:2])
        if repository not in self.hub.repositories:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
            return
        there = self.hub.repositories[repository]
        answer: object = {"id": repository, "sha": COMMIT, "siblings": [], "private": False}
        if "/tree/" in path:
            answer = []
            for name, file in there.items():
                blob = hashlib.sha1(name.encode()).hexdigest()
                one = {"type": "file", "path": name, "size": file.n_bytes, "oid": blob}
                answer.append(one)
        self._send(200, json.dumps(answer).encode(), {}, with_body)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool) -> None:
        self.send_response(status)
        about = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in about.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@contextmanager
def served(hub: StandIn) -> Iterator[StandIn]:
    """The stand-in, answering at its address."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def point_to(hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub of this process ask a stand-in, and keep what it fetches in a folder."""
    from huggingface_hub import constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

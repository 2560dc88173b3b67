"""The page of a run over HTTP, to this machine alone, with every prompt and images in full size."""

from __future__ import annotations

import re
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import urlsplit

from typing_extensions import override

from ibstats.errors import IbstatsError
from ibstats.report.page import making

HOST = "127.0.0.1"
"""The only address that is listened on."""
NAMES = (HOST, "localhost")
"""Names by which a browser may ask for it: another one is a foreign page that leads here."""

PIECE = re.compile(r"/pieces/(\d+)-(\d+)-(\d+)(?:-(\d+)\.webp|\.trace)")
IMAGE = re.compile(r"/images/(\d+)-(\d+)-(\d+)-(\d+)-(\d+)\.png")
"""Gallery, model, prompt, condition and sample, each by its place."""

TYPES = {"webp": "image/webp", "png": "image/png", "trace": "application/octet-stream"}


class Server(ThreadingHTTPServer):
    """Serves one page; what a path names is made when it is asked for, one at a time."""

    daemon_threads = True

    def __init__(self, content: making.Content, port: int) -> None:
        self.content = content
        self.lock = Lock()
        super().__init__((HOST, port), Handler)

    @cached_property
    def html(self) -> bytes:
        """The page itself, as UTF-8.

        Made once, when it is first asked for.
        """
        return making.served_page(self.content).encode()

    def found(self, path: str) -> tuple[str, bytes] | None:
        """Kind and content of what a path names; None where there is nothing."""
        with self.lock:
            if path in ("/", "/index.html"):
                return "text/html; charset=utf-8", self.html
            made = self._made(path)
        if made is None:
            return None
        return TYPES[path.rpartition(".")[2]], made

    def _made(self, path: str) -> bytes | None:
        matched = PIECE.fullmatch(path) or IMAGE.fullmatch(path)
        if matched is None:
            return None
        places = [int(place) for place in matched.groups() if place is not None]
        try:
            gallery = self.content.galleries[places[0]]
            shown = gallery.models[places[1]]
            prompt = gallery.prompts[places[2]]
            if path.endswith(".trace"):
                return shown.trace(prompt)
            if path.endswith(".webp"):
                return shown.strip(prompt, places[3])
            return shown.image(prompt, places[3], places[4])
        except (IndexError, KeyError):
            return None


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of a page's files, to a browser of this machine."""

    server: Server

    def do_GET(self) -> None:
        """Send what the path names.

        404 for anything else, 403 to a foreign host name.
        """
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Send what would be said of it.

        The headers of GET, without content.
        """
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "this page is for this machine alone")
            return
        found = self.server.found(urlsplit(self.path).path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of every request."""


def server(content: making.Content, port: int = 0) -> Server:
    """A server of the page of a run on this machine; `port` 0 takes any free one.

    Raises IbstatsError where the port is taken.
    """
    try:
        return Server(content, port)
    except OSError as error:
        raise IbstatsError(
            f"port {port} of {HOST} cannot be had ({error.strerror}); --port 0 takes a free one"
        ) from None


def address(server: Server) -> str:
    """The URL at which a server answers."""
    return f"http://{HOST}:{server.server_address[1]}/"

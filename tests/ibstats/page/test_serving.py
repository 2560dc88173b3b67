"""The page over HTTP, to this machine alone, and the commands that make and serve it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from typer.testing import CliRunner

from ibstats import open_store
from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.report import serving
from ibstats.report.page import making
from tests.ibstats.page.conftest import PLAIN

ASKED = ["--metric", "pixel_cosine", "--resamples", "100"]


@pytest.fixture(scope="module")
def server(small: Path) -> Iterator[serving.Server]:
    """The page of a small run, served."""
    with serving.server(making.content(open_store(small), PLAIN)) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asked(
    server: serving.Server, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, str | None, bytes]:
    """Status, kind and content of an answer."""
    port = server.server_address[1]
    line = HTTPConnection(serving.HOST, port, timeout=60)
    line.request(method, path, headers={"Host": host or f"{serving.HOST}:{port}"})
    answer = line.getresponse()
    found = answer.status, answer.getheader("Content-Type"), answer.read()
    line.close()
    return found


def test_it_listens_on_this_machine_alone(server: serving.Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert serving.address(server).startswith("http://127.0.0.1:")


def test_the_page_finds_its_pieces_and_whole_images(server: serving.Server, small: Path) -> None:
    status, kind, content = asked(server, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'"full":true' in content
    assert b"0-0-2-7.webp" in content
    wanted = open_store(small).images("toy-mim").isel(condition=7, prompt=2).values
    status, kind, content = asked(server, "/pieces/0-0-2-7.webp")
    assert (status, kind) == (200, "image/webp")
    strip = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert_array_equal(strip, np.concatenate(list(wanted), axis=1))
    status, kind, content = asked(server, "/images/0-0-2-7-1.png")
    assert (status, kind) == (200, "image/png")
    assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), wanted[1])
    assert asked(server, "/pieces/0-0-2.trace")[:2] == (200, "application/octet-stream")
    assert asked(server, "/", method="HEAD") == (200, "text/html; charset=utf-8", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/run.json",
        "/pieces/../run.json",
        "/pieces/0-0-9-0.webp",
        "/pieces/0-5-0-0.webp",
        "/images/0-0-0-0-9.png",
        "/images/0-0-0-8-0.png",
        "/pieces/0-0-0-0.trace",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_found(server: serving.Server, path: str) -> None:
    assert asked(server, path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80"])
def test_a_foreign_name_for_this_machine_is_refused(server: serving.Server, host: str) -> None:
    assert asked(server, "/", host)[0] == 403


def test_a_taken_port_is_told_in_one_line(server: serving.Server) -> None:
    with pytest.raises(IbstatsError, match=r"port \d+ of 127.0.0.1 cannot be had .* --port 0"):
        serving.server(server.content, server.server_address[1])


def test_a_page_is_written_where_it_is_wanted(small: Path, tmp_path: Path) -> None:
    run, file = str(small), tmp_path / "a" / "page.html"
    done = CliRunner().invoke(app, ["page", run, "--out", str(file), *ASKED])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == f"page: {file}"
    done = CliRunner().invoke(app, ["page", run, "--bundle", str(tmp_path / "b"), *ASKED])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b/index.html").is_file()
    done = CliRunner().invoke(app, ["page", run, "--bundle", str(tmp_path / "c"), "--all"])
    assert isinstance(done.exception, IbstatsError)
    assert "leave out --out and --all" in str(done.exception)

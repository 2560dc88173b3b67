from __future__ import annotations

import socket
from pathlib import Path

import pytest

from benchmarks import tiny


@pytest.fixture(autouse=True)
def network_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def amused_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.amused(tmp_path_factory.mktemp("amused"))


@pytest.fixture(scope="session")
def vq_diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.vq_diffusion(tmp_path_factory.mktemp("vq_diffusion"))


@pytest.fixture(scope="session")
def janus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.janus(tmp_path_factory.mktemp("janus"))

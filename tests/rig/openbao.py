"""Fixtures: a real OpenBao shared by a whole run, and ones of a test's own that may be broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.bao_client import Bao
from tests.rig.bao_server import DevServer, Server
from tests.rig.tls import Authority

MakeServer = Callable[..., Server]


@pytest.fixture(scope="session")
def bao_dev_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One for each worker; use `bao`."""
    server = DevServer(tmp_path_factory.mktemp("bao"))
    yield server
    server.close()


@pytest.fixture
def bao(bao_dev_server: DevServer) -> Bao:
    """Root on the shared server. Mount, never write to a mount that is already there."""
    return bao_dev_server.bao


@pytest.fixture
def bao_server(tmp_path: Path) -> Iterator[MakeServer]:
    """`bao_server(tls=True, unix=True)`: a server of this test's own, with data that outlives it.

    Files of TLS are `server.ca_file` and what `authority` issues; the socket is `server.socket`.
    """
    servers: list[Server] = []

    def make(*, tls: bool = False, unix: bool = False, **settings: Any) -> Server:
        folder = tmp_path / f"bao{len(servers)}"
        folder.mkdir()
        authority = Authority(folder) if tls else None
        server = Server(
            folder,
            pair=authority.issue("bao.example") if authority else None,
            ca_file=authority.ca_file if authority else None,
            socket=folder / "bao.sock" if unix else None,
            settings=settings,
        )
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority for client certificates."""
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder, "rig clients")

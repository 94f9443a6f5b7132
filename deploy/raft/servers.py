"""Three OpenBao servers and HAProxy on this machine, from the files beside this one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import requests

from tests.rig.bao_client import Bao, BaoError
from tests.rig.bao_server import STARTED, binary, environment
from tests.rig.processes import Daemon, wait_until
from tests.rig.raft import ACTIVE, STANDBY

HERE = Path(__file__).parent
NAMES = ("one", "two", "three")
HOST = "127.0.0.1"
WITHIN = 60.0
FIT = (ACTIVE, STANDBY)

T = TypeVar("T")


class Server:
    """One of the three, in a folder of its own; `start` leaves it sealed."""

    def __init__(self, name: str, folder: Path, ports: dict[str, int]) -> None:
        self.name, self.folder, self.port = name, folder, ports[name]
        self.address = f"http://{HOST}:{self.port}"
        self.daemon: Daemon | None = None
        (folder / "data").mkdir(parents=True)
        filled = Template((HERE / "server.hcl").read_text()).substitute(
            name=name,
            host=HOST,
            port=self.port,
            cluster_port=ports[f"{name} to others"],
            data=folder / "data",
            **{each: f"http://{HOST}:{ports[each]}" for each in NAMES},
        )
        (folder / "server.hcl").write_text(filled)

    def start(self) -> None:
        command = [str(binary()), "server", f"-config={self.folder / 'server.hcl'}"]
        self.daemon = Daemon(command, environment(self.folder))
        self.daemon.wait_for_line(STARTED, within=WITHIN)
        (self.folder / "pid").write_text(f"{self.daemon.pid}\n")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.daemon is not None:
            self.daemon.end(number)
            self.daemon = None

    def health(self) -> int:
        """The status of `sys/health`; 0 if nobody answers."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/v1/sys/health", timeout=5).status_code
        return 0

    def unseal(self, key: str) -> None:
        hand = Bao(self.address, "")
        try:
            hand.request("PUT", "sys/unseal", {"key": key})
        finally:
            hand.close()


class Raft:
    """Initialised, joined, unsealed, with one address for all. `bao` is root's hand on a leader.

    `ports`: `balancer`, and two for each server: `one`, and `one to others`.
    """

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder, self.address = folder, f"http://{HOST}:{ports['balancer']}"
        self._starter = ThreadPoolExecutor(1)  # a server dies with the thread that started it
        self.servers = [Server(name, folder / name, ports) for name in NAMES]
        self._balancer = self._start(lambda: self._balance(ports))
        for server in self.servers:
            self._start(server.start)
        answer = self._initialise()
        self._key = answer["keys"][0]
        self.bao = Bao(self.address, answer["root_token"])
        wait_until(self.unsealed, within=WITHIN, every=0.2)
        autopilot = "sys/storage/raft/autopilot/configuration"
        wait_until(self._is_balanced, within=WITHIN, every=0.2)
        self.bao.address = self.leader.address  # what was just made is not everywhere at once
        self.bao.request("POST", autopilot, {"server_stabilization_time": "1s"})
        wait_until(self.votes, within=WITHIN, every=0.2)

    @property
    def leader(self) -> Server:
        """Who leads; waited for, if there is none just now."""
        wait_until(self._leading, within=WITHIN, every=0.1)
        return self._leading()[0]

    def _leading(self) -> list[Server]:
        return [server for server in self.servers if server.health() == ACTIVE]

    def unsealed(self) -> bool:
        """Unseal whoever is up, has joined and is sealed; whether all three serve now."""
        for server in self.servers:
            if server.daemon and server.health() not in FIT:
                with suppress(BaoError, requests.RequestException):
                    server.unseal(self._key)
        return sorted(server.health() for server in self.servers) == [ACTIVE, STANDBY, STANDBY]

    def votes(self) -> bool:
        """All three have a vote: one of them may be lost."""
        answer = self.bao.request("GET", "sys/storage/raft/configuration")
        return [each["voter"] for each in answer["data"]["config"]["servers"]] == [True] * 3

    def restart(self, server: Server) -> None:
        """One that has ended comes back, and is whole again."""
        self._start(server.start)
        wait_until(self.unsealed, within=WITHIN, every=0.2)

    def close(self) -> None:
        self.bao.close()
        self._balancer.end(signal.SIGTERM)
        for server in self.servers:
            server.end(signal.SIGKILL)
        self._starter.shutdown()

    def _start(self, start: Callable[[], T]) -> T:
        return self._starter.submit(start).result()

    def _is_balanced(self) -> bool:
        """The way through HAProxy is open."""
        if not self._balancer.is_running:
            raise RuntimeError("HAProxy has ended:\n" + "\n".join(self._balancer.lines))
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/v1/sys/health", timeout=5).status_code in FIT
        return False

    def _balance(self, ports: dict[str, int]) -> Daemon:
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise FileNotFoundError("haproxy is not installed")
        at = {f"{name}_at": f"{HOST}:{ports[name]}" for name in NAMES}
        text = Template((HERE / "haproxy.cfg").read_text())
        file = self.folder / "haproxy.cfg"
        file.write_text(text.substitute(host=HOST, port=ports["balancer"], **at))
        return Daemon([program, "-db", "-f", str(file)], environment(self.folder))

    def _initialise(self) -> dict[str, Any]:
        """A key of one share, for a trial; for real five of which three are needed, or a KMS."""
        first = Bao(self.servers[0].address, "")
        try:
            shares = {"secret_shares": 1, "secret_threshold": 1}
            answer = first.request("PUT", "sys/init", shares)
            self.servers[0].unseal(answer["keys"][0])
        finally:
            first.close()
        return answer

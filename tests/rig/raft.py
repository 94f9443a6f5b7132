"""Three real OpenBao servers that are one cluster."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rig.bao_client import Bao, BaoError
from tests.rig.bao_server import STARTED, binary, environment
from tests.rig.processes import Daemon, free_port, wait_until
from tests.rig.valve import Valve

ACTIVE, STANDBY, SEALED = 200, 429, 503
"""What `sys/health` answers."""

ELECTED_WITHIN = 30.0

BRISK = {
    "performance_multiplier": "1",
    "autopilot_update_interval": "500ms",
    "autopilot_reconcile_interval": "500ms",
}
"""A leader is missed after a second or two, and a newcomer is soon trusted with a vote."""


class Node:
    """One server of a cluster: killed, frozen, and started again with its data.

    `hears` shut: what the others tell it does not come through, so it falls behind.
    """

    def __init__(self, folder: Path, name: str, starter: Executor) -> None:
        self.name, self.folder, self.port = name, folder, free_port()
        self._starter = starter
        self.hears = Valve(free_port())
        self.address = f"http://127.0.0.1:{self.port}"
        self.daemon: Daemon | None = None
        self.is_frozen = False
        (folder / "data").mkdir(parents=True)
        (folder / "server.json").write_text(json.dumps(self._configuration()))

    def start(self) -> None:
        """Up, and sealed."""
        command = [str(binary()), "server", f"-config={self.folder / 'server.json'}"]
        self.daemon = self._starter.submit(Daemon, command, environment(self.folder)).result()
        self.daemon.wait_for_line(STARTED)

    def end(self, number: signal.Signals) -> None:
        """Gone at SIGKILL; SIGTERM lets it hand over first."""
        if self.daemon is not None:
            self.thaw()
            self.daemon.end(number)
            self.daemon = None

    def freeze(self) -> None:
        """Connections are accepted, and nobody answers."""
        assert self.daemon is not None
        self.daemon.send(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        if self.daemon is not None and self.is_frozen:
            self.daemon.send(signal.SIGCONT)
        self.is_frozen = False

    def health(self) -> int:
        """The status of `sys/health`; 0 if nobody answers."""
        if self.daemon is None or self.is_frozen:
            return 0
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/v1/sys/health", timeout=2).status_code
        return 0

    def send(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        """A request to just this one."""
        hand = Bao(self.address, token)
        try:
            return hand.request("PUT", path, body)
        finally:
            hand.close()

    def _configuration(self) -> dict[str, Any]:
        raft = {"path": str(self.folder / "data"), "node_id": self.name, **BRISK}
        here = "127.0.0.1"
        tcp = {"address": f"{here}:{self.port}", "tls_disable": True}
        tcp |= {"cluster_address": f"{here}:{self.hears.behind}"}
        return {
            "api_addr": self.address,
            "cluster_addr": f"http://{here}:{self.hears.port}",
            "storage": {"raft": raft},
            "listener": [{"tcp": tcp}],
        }


class Cluster:
    """Initialised, unsealed, joined. `bao` is root's hand on whoever leads (see `settle`)."""

    def __init__(self, folder: Path) -> None:
        self._starter = ThreadPoolExecutor(1)  # servers die with the thread that started them
        names = ("one", "two", "three")
        self.nodes = [Node(folder / name, name, self._starter) for name in names]
        first, *others = self.nodes
        first.start()
        answer = first.send("sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key = answer["keys"][0]
        self.bao = Bao(first.address, answer["root_token"])
        self._unseal(first)
        wait_until(lambda: first.health() == ACTIVE, within=ELECTED_WITHIN)
        autopilot = "sys/storage/raft/autopilot/configuration"
        self.bao.request("POST", autopilot, {"server_stabilization_time": "500ms"})
        for node in others:
            node.start()
            node.send("sys/storage/raft/join", {"leader_api_addr": first.address})
            self._unseal(node)
        wait_until(self._all_vote, within=ELECTED_WITHIN, every=0.1)

    @property
    def leader(self) -> Node:
        """AssertionError if there is none just now."""
        active = [node for node in self.nodes if node.health() == ACTIVE]
        assert active, "nobody leads"
        return active[0]

    @property
    def standbys(self) -> list[Node]:
        return [node for node in self.nodes if node.health() == STANDBY]

    def serves(self, path: str) -> bool:
        """Everybody who is up reads it: a mount that was just made is everywhere."""
        token = {"X-Vault-Token": self.bao.token}
        up = [node for node in self.nodes if node.health() in (ACTIVE, STANDBY)]
        urls = [f"{node.address}/v1/{path}" for node in up]
        return all(requests.get(url, headers=token, timeout=5).ok for url in urls)

    def settle(self) -> Node:
        """Wait until one leads of those who are up; `bao` speaks to it from now on."""
        wait_until(self._has_leader, within=ELECTED_WITHIN, every=0.1)
        self.bao.address = self.leader.address
        return self.leader

    def repair(self) -> Node:
        """Everybody is up, awake, unsealed and in step; the leader."""
        for node in self.nodes:
            node.thaw()
            node.hears.open()
            if node.daemon is None:
                node.start()
        wait_until(self._all_unsealed, within=ELECTED_WITHIN, every=0.1)
        wait_until(lambda: len(self.standbys) == 2, within=ELECTED_WITHIN, every=0.1)
        return self.settle()

    def seal(self) -> None:
        """All of them: nobody serves anything."""
        wait_until(self._all_sealed, within=ELECTED_WITHIN, every=0.1)

    def lose(self, node: Node, how: str) -> None:
        """`killed` or `frozen`; the others are left to find out."""
        if how == "killed":
            node.end(signal.SIGKILL)
        else:
            node.freeze()

    def close(self) -> None:
        self.bao.close()
        for node in self.nodes:
            node.end(signal.SIGKILL)
            node.hears.close()
        self._starter.shutdown()

    def _unseal(self, node: Node) -> None:
        node.send("sys/unseal", {"key": self._key})

    def _all_unsealed(self) -> bool:
        for node in self.nodes:
            if node.health() == SEALED:
                with suppress(BaoError, requests.RequestException):
                    self._unseal(node)
        return all(node.health() in (ACTIVE, STANDBY) for node in self.nodes)

    def _all_sealed(self) -> bool:
        for node in self.nodes:
            if node.health() in (ACTIVE, STANDBY):
                with suppress(BaoError, requests.RequestException):  # one that just steps down
                    node.send("sys/seal", {}, self.bao.token)
        return all(node.health() == SEALED for node in self.nodes)

    def _all_vote(self) -> bool:
        answer = self.bao.request("GET", "sys/storage/raft/configuration")
        return [each["voter"] for each in answer["data"]["config"]["servers"]] == [True] * 3

    def _has_leader(self) -> bool:
        """A server that leads, and answers what only a leader can."""
        for node in self.nodes:
            if node.health() == ACTIVE:
                with suppress(BaoError, requests.RequestException):
                    node.send("sys/capabilities-self", {"paths": ["sys"]}, self.bao.token)
                    return True
        return False


@pytest.fixture(scope="module")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for a module; use `cluster`."""
    made = Cluster(tmp_path_factory.mktemp("raft"))
    yield made
    made.close()


@pytest.fixture
def cluster(raft: Cluster) -> Iterator[Cluster]:
    """Whole at the start of each test, whatever the one before did to it."""
    raft.repair()
    yield raft
    raft.repair()

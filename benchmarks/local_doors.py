"""The local doors beside `bao proxy`: one agent, one proxy, one server, the same secrets.

h2load asks each over 16 kept connections on a UNIX socket. Ours looks up who is calling, has a
rule, and writes a chained audit record before each answer. All take turns in one run.
"""

from __future__ import annotations

import re
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.ground import Ground
from benchmarks.measures import Figure
from benchmarks.peers import BaoAgent, Leasehold
from benchmarks.watch import Running
from tests.rig.bao_client import Bao
from tests.rig.bao_server import ROOT_TOKEN
from tests.rig.postgres import Postgres, mount_database

CONNECTIONS = 16
REQUESTS = 40_000
FEW_REQUESTS = 8_000
"""For what reaches the server each time."""
WAITING = 10_000
LONGEST_START = 30.0
OURS, THEIRS = "leasehold", "bao agent"
"""As the report's columns are called: `bao proxy` is the same program."""


@dataclass(frozen=True)
class Load:
    """What h2load found: requests a second, and the time that 99 of 100 take at most (ms)."""

    per_second: float
    p99: float


def load(door: Path, path: str, requests: int, *headers: str, log: Path) -> Load:
    """RuntimeError if any request was not answered with 2xx."""
    given = [part for header in headers for part in ("-H", header)]
    command = ["h2load", "--h1", "-B", f"unix:{door}", "-c", str(CONNECTIONS)]
    command += ["-n", str(requests), f"--log-file={log}", *given, f"http://localhost{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    good = re.search(r"status codes: (\d+) 2xx", said)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", said)
    if good is None or rate is None or int(good[1]) != requests:
        raise RuntimeError(f"{path} at {door}:\n{said}")
    took = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    log.unlink()
    return Load(float(rate[1]), took[int(len(took) * 0.99)] / 1000)


@contextmanager
def process(command: list[str], environment: dict[str, str], *doors: Path) -> Iterator[Running]:
    """Entered once it listens at all its doors."""
    log = doors[0].with_suffix(".log")
    with log.open("wb") as output:
        started_at = time.perf_counter()
        running = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            while not all(each.exists() for each in doors):
                if running.poll() is not None or time.perf_counter() - started_at > LONGEST_START:
                    raise RuntimeError("it does not listen:\n" + log.read_text()[-2000:])
                time.sleep(0.01)
            yield Running(running.pid, time.perf_counter() - started_at)
        finally:
            running.kill()
            running.wait()


class Street:
    """Both with their doors; `kv` and `leased` are API paths of the same two secrets."""

    def __init__(self, ground: Ground, leased: str) -> None:
        self.ground, self.folder, self.leased = ground, ground.fresh(), leased
        self.kv = f"{ground.mount}/data/s0"
        self.watched = self.folder / "etc"  # where nobody else writes
        self.watched.mkdir()
        (self.watched / "token").write_text(ROOT_TOKEN)

    def door(self, name: str) -> Path:
        return self.folder / f"{name}.sock"

    @contextmanager
    def ours(self) -> Iterator[Running]:
        peer = Leasehold(self.ground)
        file = self.watched / "leasehold.yaml"
        file.write_text(yaml.safe_dump(self._configuration()))
        command = [*peer.command(), "agent", "-c", str(file)]
        doors = (self.door("secrets"), self.door("vault"))
        with process(command, peer.environment(), *doors) as running:
            _until_had(self.door("secrets"), "/v1/secrets/kv", "/v1/secrets/leased")
            yield running

    @contextmanager
    def theirs(self) -> Iterator[Running]:
        peer = BaoAgent(self.ground)
        file = self.watched / "proxy.hcl"
        file.write_text(f"""
vault {{ address = "{self.ground.address}" }}
auto_auth {{
  method "token_file" {{ config = {{ token_file_path = "{self.watched}/token" }} }}
}}
api_proxy {{ use_auto_auth_token = true }}
cache {{}}
listener "unix" {{ address = "{self.door("proxy")}"  tls_disable = true }}
""")
        command = [str(peer.binary), "proxy", f"-config={file}"]
        with process(command, peer.environment(), self.door("proxy")) as running:
            _until_had(self.door("proxy"), f"/v1/{self.kv}", f"/v1/{self.leased}")
            yield running

    def _configuration(self) -> dict[str, object]:
        limits = {"connections": 2 * WAITING, "per_user": 2 * WAITING}
        rules = [{"user": "nobody", "secrets": ["*"]}, {"user": "root", "secrets": ["kv", "leas*"]}]
        listening = [
            {"protocol": name, "socket": str(self.door(name)), "limits": limits, "allow": rules}
            for name in ("secrets", "vault")
        ]
        token = {"method": "token_file", "token_file": str(self.watched / "token")}
        store = {"type": "vault", "address": self.ground.address, "auth": token}
        return {
            "stores": {"vault": store},
            "secrets": {"kv": {"path": self.kv}, "leased": {"path": self.leased}},
            "listeners": listening,
            "audit": {"file": str(self.folder / "audit.jsonl")},
            "log": {"format": "json"},
        }


def doors(ground: Ground, runs: int) -> list[Figure]:
    """Requests a second and p99, each beside the proxy's of the same round."""
    with leased_secret(ground) as leased:
        found = _loads(Street(ground, leased), runs)
    return [figure for what, ratio in COMPARED for figure in compared(found, what, ratio)]


def _loads(street: Street, runs: int) -> dict[tuple[str, str], list[Load]]:
    log = street.folder / "h2load.log"
    courses = [
        ("cached lease", THEIRS, "proxy", f"/v1/{street.leased}", REQUESTS),
        ("cached lease", OURS, "vault", f"/v1/{street.leased}", REQUESTS),
        ("secrets API", OURS, "secrets", "/v1/secrets/leased", REQUESTS),
        ("KV", THEIRS, "proxy", f"/v1/{street.kv}", FEW_REQUESTS),
        ("KV", OURS, "vault", f"/v1/{street.kv}", REQUESTS),
    ]
    found: dict[tuple[str, str], list[Load]] = {}
    with street.ours(), street.theirs():
        for _ in range(runs):
            for what, who, door, path, requests in courses:
                one = load(street.door(door), path, requests, log=log)
                found.setdefault((what, who), []).append(one)
    return found


COMPARED = (("secrets API", 1.0), ("cached lease", 0.0), ("KV", 10.0))
"""Ours, and how many times the proxy's rate it is to have at least; 0: nothing to reach."""


def compared(found: dict[tuple[str, str], list[Load]], what: str, ratio: float) -> list[Figure]:
    """Rate and p99 of ours, beside the proxy's; the secrets API beside its cached lease."""
    rate = Figure(f"{what}: requests answered", "a second", least_ratio=ratio or None)
    p99 = Figure(f"{what}: p99", "ms", most_ratio=1.0)
    theirs = found.get((what, THEIRS)) or found["cached lease", THEIRS]
    for who, loads in ((OURS, found[what, OURS]), (THEIRS, theirs)):
        for each in loads:
            rate.samples.setdefault(who, []).append(each.per_second)
            p99.samples.setdefault(who, []).append(each.p99)
    return [rate, p99]


def waiting(ground: Ground, runs: int) -> list[Figure]:
    """What a client that waits for the next version costs the agent."""
    memory = Figure(f"{WAITING} waiting clients: PSS of each", "KiB", most=20)
    _allow_descriptors(2 * WAITING)
    for _ in range(runs):
        street = Street(ground, f"{ground.mount}/data/s1")
        with street.ours() as agent:
            door = street.door("secrets")
            load(door, "/v1/secrets/kv", 1000, log=street.folder / "h2load.log")
            before = agent.pss_mib()
            with ExitStack() as clients:
                for _ in range(WAITING):
                    clients.enter_context(_waiting_client(door))
                _answered(door, "/v1/secrets/kv")  # who came before is known by now
                time.sleep(1.0)
                if len(list(Path(f"/proc/{agent.pid}/fd").iterdir())) < WAITING:
                    raise RuntimeError("not all of them were let in")
                each = (agent.pss_mib() - before) * 1024 / WAITING
            memory.samples.setdefault(OURS, []).append(each)
    return [memory]


@contextmanager
def leased_secret(ground: Ground) -> Iterator[str]:
    """The path of a role in a real PostgreSQL."""
    with TemporaryDirectory(prefix="leasehold-pg-") as folder:
        postgres = Postgres(Path(folder))
        try:
            bao = Bao(ground.address, ROOT_TOKEN)
            yield mount_database(bao, postgres, ttl="1h", max_ttl="24h").path
            bao.close()
        finally:
            postgres.close()


@contextmanager
def _waiting_client(door: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(door))
        client.sendall(b"GET /v1/secrets/kv?wait=600s HTTP/1.1\r\nHost: x\r\n\r\n")
        yield


def _until_had(door: Path, *paths: str) -> None:
    until = time.perf_counter() + LONGEST_START
    while not all(_answered(door, path) for path in paths):
        if time.perf_counter() > until:
            raise RuntimeError(f"{door} does not have {paths}")
        time.sleep(0.05)


def _answered(door: Path, path: str) -> bool:
    """Whether this is answered with 200."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(door))
        lines = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        client.sendall(lines.encode())
        return client.recv(4096).startswith(b"HTTP/1.1 200 ")


def _allow_descriptors(number: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, most), most))

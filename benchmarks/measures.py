"""What is measured. Both agents take turns, so that the machine's moods meet both."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.ground import Ground, recording
from benchmarks.peers import Job, Peer
from benchmarks.watch import running

QUIET_AFTER = 5.0
EVERY = 300
STAGGER = 50.0


@dataclass
class Figure:
    """One figure of both: samples, and how leasehold's median may compare to bao agent's."""

    what: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    most_ratio: float | None = None
    least_ratio: float | None = None
    most: float | None = None

    def add(self, peer: Peer, value: float) -> None:
        self.samples.setdefault(peer.name, []).append(value)

    def median(self, name: str) -> float | None:
        return median(self.samples[name]) if self.samples.get(name) else None


@contextmanager
def job(ground: Ground, count: int, *, address: str = "") -> Iterator[Job]:
    """A job in a folder of its own, which is gone afterwards."""
    folder = ground.fresh()
    (folder / "files").mkdir(mode=0o750)
    yield Job(count, folder / "files", address or ground.address, EVERY)
    shutil.rmtree(folder)


def start(ground: Ground, peers: list[Peer], count: int, runs: int, ratio: float) -> list[Figure]:
    """From exec until all files are there."""
    seconds = Figure(f"start → {count} files", "s", most_ratio=ratio)
    cpu = Figure(f"CPU of that start ({count})", "s")
    for _ in range(runs):
        for peer in peers:
            with job(ground, count) as task, running(peer, task) as agent:
                seconds.add(peer, agent.start_seconds)
                cpu.add(peer, agent.cpu_seconds())
    return [seconds, cpu]


def requests(ground: Ground, peers: list[Peer], count: int) -> list[Figure]:
    """What the server is asked for during a start, through a proxy that writes it down."""
    kinds: dict[str, tuple[str, float]] = {
        "reads": (f"{ground.mount}/data/", count),
        "preflights": ("sys/internal/ui/mounts", 1),
        "logins": ("auth/" + ground.role_mount, 1),
    }
    figures = {
        name: Figure(f"{name} ({count} secrets)", "requests", most=most)
        for name, (_, most) in kinds.items()
    }
    total = Figure(f"all requests ({count} secrets)", "requests")
    connections = Figure(f"connections at once ({count} secrets)", "connections", most=16)
    for peer in peers:
        with (
            recording(ground.address) as proxy,
            job(ground, count, address=proxy.address) as task,
            running(peer, task),
        ):
            for name, (prefix, _) in kinds.items():
                figures[name].add(peer, len(proxy.requests(prefix)))
            total.add(peer, len(proxy.seen))
            connections.add(peer, proxy.most_connections)
    return [*figures.values(), total, connections]


def rounds(ground: Ground, peers: list[Peer], count: int, runs: int) -> list[Figure]:
    """The CPU of EVERY seconds in which each secret is read once again, unchanged.

    All samples go on together, each begun STAGGER after the one before: a round of one falls into
    the quiet of the others.
    """
    cpu = Figure(f"refresh round of {count} unchanged secrets", "s of CPU", most_ratio=1 / 20)
    turns = [(peer, number * STAGGER) for number in range(runs) for peer in peers]
    for peer, seconds in together(turns, lambda peer: cpu_of_round(ground, peer, count)):
        cpu.add(peer, seconds)
    return [cpu]


def idle(ground: Ground, peers: list[Peer], count: int, runs: int) -> list[Figure]:
    """Default intervals, nothing changes: memory after each start, CPU while EVERY passes."""
    pss = Figure(f"idle with {count} secrets: PSS", "MiB", most_ratio=0.6)
    cpu = Figure(f"idle with {count} secrets: CPU", "s a minute", most=0.1)
    for _ in range(runs):
        for peer in peers:
            with job(ground, count) as task, running(peer, task) as agent:
                time.sleep(QUIET_AFTER)
                pss.add(peer, agent.pss_mib())
    turns = [(peer, 0.0) for peer in peers]
    for peer, seconds in together(turns, lambda peer: cpu_of_round(ground, peer, count)):
        cpu.add(peer, seconds * 60 / EVERY)
    return [pss, cpu]


def many(ground: Ground, peer: Peer, count: int, runs: int) -> list[Figure]:
    """One agent with very many secrets, at default intervals."""
    seconds = Figure(f"start → {count} files", "s")
    start_cpu = Figure(f"CPU of that start ({count})", "s")
    pss = Figure(f"{count} secrets: PSS", "MiB")
    cpu = Figure(f"{count} secrets, each read every {EVERY} s: CPU", "s a minute")
    for _ in range(runs):
        with job(ground, count) as task, running(peer, task) as agent:
            seconds.add(peer, agent.start_seconds)
            start_cpu.add(peer, agent.cpu_seconds())
            time.sleep(QUIET_AFTER)
            pss.add(peer, agent.pss_mib())
    cpu.add(peer, cpu_of_round(ground, peer, count) * 60 / EVERY)
    return [seconds, start_cpu, pss, cpu]


def cpu_of_round(ground: Ground, peer: Peer, count: int) -> float:
    """CPU seconds of an agent while EVERY passes, its start not counted."""
    with job(ground, count) as task, running(peer, task) as agent:
        time.sleep(QUIET_AFTER)
        return agent.cpu_during(EVERY)


def together(
    turns: list[tuple[Peer, float]], sample: Callable[[Peer], float]
) -> list[tuple[Peer, float]]:
    """A sample of each peer, all at once but for the seconds that each begins later."""

    def begin(peer: Peer, after: float) -> float:
        time.sleep(after)
        return sample(peer)

    with ThreadPoolExecutor(len(turns)) as pool:
        samples = [(peer, pool.submit(begin, peer, after)) for peer, after in turns]
    return [(peer, each.result()) for peer, each in samples]

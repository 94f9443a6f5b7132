"""One process, from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Job, Peer

LOOK_EVERY = 0.0005
LONGEST_START = 300.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Running:
    """An agent at work; `start_seconds` is from exec until its last file was there."""

    pid: int
    start_seconds: float

    def cpu_seconds(self) -> float:
        """User and system time until now, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def pss_mib(self) -> float:
        """Its share of the machine's memory now."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise LookupError("no Pss in smaps_rollup")

    def cpu_during(self, seconds: float) -> float:
        """CPU seconds that it uses in the time that follows."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return self.cpu_seconds() - before


@contextmanager
def running(peer: Peer, job: Job) -> Iterator[Running]:
    """Entered once all its files are there; ended and gone afterwards."""
    command = peer.prepare(job)
    files = job.files()
    log = job.directory.parent / "log"
    with log.open("wb") as output:
        started_at = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=peer.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            for file in files:
                while not file.exists():
                    alive_and_in_time(process, started_at, log)
                    time.sleep(LOOK_EVERY)
            yield Running(process.pid, time.perf_counter() - started_at)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def alive_and_in_time(process: subprocess.Popen[bytes], started_at: float, log: Path) -> None:
    """RuntimeError with the end of its log if it is neither."""
    if process.poll() is not None or time.perf_counter() - started_at > LONGEST_START:
        raise RuntimeError(f"pid {process.pid} has not done it:\n" + log.read_text()[-2000:])

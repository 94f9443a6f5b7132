"""A Debian with its own systemd as PID 1, booted in half a second from a root that stays as it was.

The root is made once (a minute, from Debian's archive) and kept in `ROOTS`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.rig.needs import needs_program, needs_root
from tests.rig.processes import die_with_parent
from tests.rig.waiting import eventually

DISTRIBUTION = "bookworm"
ROOTS = Path("/var/tmp/leasehold-nspawn")
PACKAGES = "systemd,systemd-sysv,dbus,python3,libnss-systemd,procps"
CHECKOUT = Path(__file__).parents[2]
SITE, PROJECT = "/opt/site-packages", "/opt/leasehold"
HIERARCHIES = ("systemd", "unified", "")


class Machine:
    """One that runs. Files are written to it and commands run in it, as root."""

    def __init__(self, nspawn: int, shared: Path) -> None:
        self._nspawn = nspawn
        self.shared = shared
        """A folder that is /shared inside."""

    def run(self, *command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command, to its end. Blocks."""
        enter = ["nsenter", "-t", str(_leader(self._nspawn) or 0), "-a", "--"]
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=timeout, check=False
        )

    async def do(self, *command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """The same, in a thread."""
        return await asyncio.to_thread(self.run, *command, timeout=timeout)

    async def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await self.do("systemctl", *arguments)

    async def write(self, path: str, text: str, mode: str = "0644") -> None:
        """A file inside, by way of the shared folder."""
        passing = self.shared / "passing"
        passing.write_text(text)
        done = await self.do("install", "-D", "-m", mode, "/shared/passing", path)
        assert done.returncode == 0, done.stderr

    async def unit(self, name: str, text: str) -> None:
        """A unit file, known to systemd."""
        await self.write(f"/etc/systemd/system/{name}", text)
        done = await self.systemctl("daemon-reload")
        assert done.returncode == 0, done.stderr

    async def shown(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return (await self.systemctl("show", "-P", what, unit)).stdout.strip()

    async def journal(self) -> str:
        return (await self.do("journalctl", "--no-pager", "-o", "cat")).stdout


@asynccontextmanager
async def machine() -> AsyncIterator[Machine]:
    """A machine, booted; with this interpreter's packages and the project, to be run by its own."""
    needs_root()
    for program in ("systemd-nspawn", "nsenter", "debootstrap"):
        needs_program(program)
    root = await asyncio.to_thread(_root)
    name = f"leasehold-{os.getpid()}-{next(_numbers)}"
    with _cgroups(name) as cgroups, tempfile.TemporaryDirectory() as shared:
        log = Path(shared) / "console"
        process = await asyncio.to_thread(_booted, name, root, Path(shared), log, cgroups)
        try:
            started = Machine(process.pid, Path(shared))
            await eventually(lambda: _is_up(started) or process.poll() is not None, within=60.0)
            assert process.poll() is None, log.read_text()
            yield started
        finally:
            await asyncio.to_thread(_stopped, process)


def _numbers_from() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_numbers = _numbers_from()


# --- the root -------------------------------------------------------------------------------------


def _root() -> Path:
    """Of the distribution; one process makes it, others wait."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    root, unfinished = ROOTS / DISTRIBUTION, ROOTS / f"{DISTRIBUTION}.unfinished"
    with (ROOTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
            subprocess.run(
                [*command, DISTRIBUTION, str(unfinished)],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=900,
            )
            unfinished.rename(root)
    return root


# --- its life -------------------------------------------------------------------------------------


def _booted(
    name: str, root: Path, shared: Path, log: Path, cgroups: list[Path]
) -> subprocess.Popen[bytes]:
    def before() -> None:
        for each in cgroups:
            (each / "cgroup.procs").write_text(str(os.getpid()))
        die_with_parent()

    command = [
        *("systemd-nspawn", "-q", "-D", str(root), "-M", name, "--register=no", "--keep-unit"),
        *("--private-network", "--console=pipe", "--volatile=overlay"),
        *(f"--bind={shared}:/shared", f"--bind-ro={CHECKOUT / 'tests'}:{PROJECT}/tests"),
        *("--bind-ro", f"{sysconfig.get_path('purelib')}:{SITE}"),
        *(f"--bind-ro={CHECKOUT / 'agent'}:{PROJECT}/agent", "--boot"),
    ]
    with log.open("wb") as console:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            preexec_fn=before,
            start_new_session=True,
        )


def _leader(nspawn: int) -> int | None:
    """PID 1 of the machine, as seen from here; while it is being made, another one."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children")
    try:
        found = children.read_text().split()
    except OSError:
        return None
    return int(found[0]) if found else None


def _is_up(machine: Machine) -> bool:
    try:
        state = machine.run("systemctl", "is-system-running", timeout=5.0).stdout.strip()
    except subprocess.TimeoutExpired:
        return False
    return state in ("running", "degraded")


def _stopped(process: subprocess.Popen[bytes]) -> None:
    """It takes the first word for an orderly end, and the second for what it says."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            continue
        return
    process.wait()


@contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """One of its own, or two machines would share what they run in."""
    tops = [Path("/sys/fs/cgroup") / each for each in HIERARCHIES]
    is_legacy = (tops[0] / "cgroup.procs").exists()
    made = [top / name for top in (tops[:2] if is_legacy else tops[2:]) if top.is_dir()]
    for each in made:
        each.mkdir(exist_ok=True)
    try:
        yield made
    finally:
        for each in made:
            for folder, _, _ in os.walk(each, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    sys.stderr.write(f"{folder} is still in use\n")

"""A Debian with its own systemd as PID 1, booted in half a second from a root that stays as it was.

The root of a distribution is made once (a minute, from Debian's archive) and kept in `ROOTS`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig.needs import needs_program, needs_root
from tests.rig.processes import die_with_parent
from tests.rig.waiting import eventually

ROOTS = Path("/var/tmp/leasehold-nspawn")
BASE = "systemd,systemd-sysv,dbus,libnss-systemd,procps"
PYTHON = ("usr/bin/python3.11", "usr/lib/python3.11")
CHECKOUT = Path(__file__).parents[2]
SITE, PROJECT = "/opt/site-packages", "/opt/leasehold"
LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
"""What nspawn's own filter would keep from what runs inside."""
HIERARCHIES = ("systemd", "unified", "")


@dataclass(frozen=True)
class Distribution:
    """What a root is made of. `python`: one whose root has the Python for our packages."""

    name: str
    packages: str
    environment: dict[str, str] = field(default_factory=dict)
    python: Distribution | None = None


BOOKWORM = Distribution("bookworm", f"{BASE},python3,polkitd,libpam-systemd")
"""systemd 252."""
TRIXIE = Distribution(
    "trixie",
    f"{BASE},libexpat1,libffi8,libssl3t64",
    environment={"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
    python=BOOKWORM,
)
"""systemd 257."""


class Machine:
    """One that runs. Files are written to it and commands run in it, as root."""

    def __init__(self, life: Life, shared: Path, disk: Path) -> None:
        self._life = life
        self.shared, self.disk = shared, disk
        """A folder that is /shared inside, and its / as it lies there."""

    @property
    def console(self) -> str:
        """What it said as it started."""
        return self._life.log.read_text()

    async def up(self) -> None:
        """It is started. AssertionError if it does not come up."""
        await asyncio.to_thread(self._life.start)
        await eventually(lambda: _is_up(self) or not self._life.is_running, within=60.0)
        assert self._life.is_running, self.console

    def cut(self) -> None:
        """Its power. Blocks."""
        self._life.cut()

    async def down(self) -> None:
        """Shut down in order. Only what is `is_lasting` is there when it is `up` again."""
        await asyncio.to_thread(self._life.stop)

    def run(self, *command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command, to its end. Blocks."""
        enter = ["nsenter", "-t", str(self._life.leader() or 0), "-a", "--"]
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
async def machine(
    distribution: Distribution = BOOKWORM,
    *,
    is_lasting: bool = False,
    binds: Mapping[Path, str] | None = None,
) -> AsyncIterator[Machine]:
    """A machine, booted; with this interpreter's packages and the project, to be run by its own.

    `is_lasting`: its disk is there when it is booted again. `binds`: folders of ours, and where
    they are inside.
    """
    needs_root()
    for program in ("systemd-nspawn", "nsenter", "debootstrap"):
        needs_program(program)
    root = await asyncio.to_thread(_root, distribution)
    name = f"leasehold-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as stack:
        cgroups = stack.enter_context(_cgroups(name))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (shared := folder / "shared").mkdir()
        disk = stack.enter_context(_disk(root, folder)) if is_lasting else None
        ours = await asyncio.to_thread(_binds, shared, distribution.python)
        ours += [f"--bind={folder}:{at}" for folder, at in (binds or {}).items()]
        command = [
            *("systemd-nspawn", "-q", "-D", str(disk or root), "-M", name, "--register=no"),
            *("--keep-unit", "--private-network", "--console=pipe"),
            f"--system-call-filter={LANDLOCK}",
            "--capability=CAP_IPC_LOCK",
            *([] if is_lasting else ["--volatile=overlay"]),
            *(*ours, "--boot"),
        ]
        life = Life(command, cgroups, folder / "console", distribution.environment)
        started = Machine(life, shared, disk or root)
        try:
            await started.up()
            yield started
        finally:
            await asyncio.to_thread(life.stop)


def _numbers_from() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_numbers = _numbers_from()


# --- the root -------------------------------------------------------------------------------------


def _root(distribution: Distribution) -> Path:
    """Of the distribution; one process makes it, others wait. Other packages, another root."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(distribution.packages.encode()).hexdigest()[:8]
    root = ROOTS / f"{distribution.name}-{digest}"
    unfinished = root.with_name(f"{root.name}.unfinished")
    with (ROOTS / f"{distribution.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={distribution.packages}"]
            subprocess.run(
                [*command, distribution.name, str(unfinished)],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=900,
            )
            unfinished.rename(root)
    return root


def _binds(shared: Path, python: Distribution | None) -> list[str]:
    parts = ("tests", "agent", "deploy")
    root = _root(python) if python else None
    return [
        *(f"--bind-ro={root / part}:/{part}" for part in PYTHON if root),
        f"--bind={shared}:/shared",
        f"--bind-ro={sysconfig.get_path('purelib')}:{SITE}",
        *(f"--bind-ro={CHECKOUT / part}:{PROJECT}/{part}" for part in parts),
    ]


@contextmanager
def _disk(root: Path, folder: Path) -> Iterator[Path]:
    """The root, and over it what is written; it is there as long as the context is."""
    parts = {name: folder / name for name in ("upper", "work", "disk")}
    for part in parts.values():
        part.mkdir()
    options = f"lowerdir={root},upperdir={parts['upper']},workdir={parts['work']}"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(parts["disk"])]
    subprocess.run(mount, check=True)
    try:
        yield parts["disk"]
    finally:
        subprocess.run(["umount", "--lazy", str(parts["disk"])], check=True)


# --- its life -------------------------------------------------------------------------------------


class Life:
    """The process of systemd-nspawn, which may come and go."""

    def __init__(
        self, command: list[str], cgroups: list[Path], log: Path, environment: dict[str, str]
    ) -> None:
        self.log = log
        self._command, self._cgroups, self._environment = command, cgroups, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def leader(self) -> int | None:
        """PID 1 of the machine, as seen from here; while it is being made, another one."""
        if self._process is None:
            return None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            found = children.read_text().split()
        except OSError:
            return None
        return int(found[0]) if found else None

    def start(self) -> None:
        with self.log.open("wb") as console:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | self._environment,
                preexec_fn=self._enter,
                start_new_session=True,
            )

    def cut(self) -> None:
        leader = self.leader()
        assert self._process is not None and leader is not None
        os.kill(leader, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """It takes the first word for an orderly end, and the second for what it says."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                continue
            break
        self._process.wait()
        self._process = None

    def _enter(self) -> None:
        for each in self._cgroups:
            (each / "cgroup.procs").write_text(str(os.getpid()))
        die_with_parent()


def _is_up(machine: Machine) -> bool:
    try:
        state = machine.run("systemctl", "is-system-running", timeout=5.0).stdout.strip()
    except subprocess.TimeoutExpired:
        return False
    return state in ("running", "degraded")


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

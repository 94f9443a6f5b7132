"""Processes of other users that connect to a socket, as apps do and as attackers do."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.rig.processes import die_with_parent

PROGRAM = """
import json, os, socket, sys
uid, gid, groups = json.loads(sys.argv[1])
if uid is not None:
    os.setgroups(groups); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
kept = []
def connected(path):
    new = socket.socket(socket.AF_UNIX)
    new.connect("\\0" + path[1:] if path.startswith("@") else path)
    new.settimeout(20)
    return new
def connect(path):
    kept.append(connected(path))
    return len(kept) - 1
def send(number, text):
    kept[number].sendall(text.encode())
def read(number, most=65536):
    try:
        return kept[number].recv(most).decode()
    except (ConnectionResetError, BrokenPipeError):
        return ""
def close(number):
    kept[number].close()
def hold(path, count):
    kept.extend(connected(path) for _ in range(count))
def still_open(count):
    found = 0
    for each in kept[-count:]:
        each.setblocking(False)
        try:
            found += each.recv(1) != b""
        except BlockingIOError:
            found += 1
        except OSError:
            pass
    return found
def flood(path, count):
    done = 0
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as new:
            new.connect(path)
            done += 1
    return done
def execute(*command):
    os.execv(command[0], command)
print(json.dumps(os.getpid()), flush=True)
for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = globals()[name](*arguments)
    except OSError as error:
        answer = {"error": type(error).__name__}
    print(json.dumps(answer), flush=True)
"""


class Peer:
    """Does what it is told, each time one of the functions of PROGRAM, and answers."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self._process, self.pid = process, pid

    async def do(self, name: str, *arguments: Any) -> Any:
        """What the function gave; `{"error": NAME}` for an error of the system."""
        await self.begin(name, *arguments)
        return await self.answer()

    async def begin(self, name: str, *arguments: Any) -> None:
        """Tell it; `answer` waits for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        await self._process.stdin.drain()

    async def answer(self, *, within: float = 100.0) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            line = await self._process.stdout.readline()
        assert line, "the peer has ended"
        return json.loads(line)

    async def ask(self, number: int, text: str) -> str:
        """Send it on a connection, and what comes back."""
        await self.do("send", number, text)
        answered = await self.do("read", number)
        assert isinstance(answered, str), answered
        return answered

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        transport = self._process._transport  # type: ignore[attr-defined]
        transport.close()


@asynccontextmanager
async def peer(
    uid: int | None = None,
    gid: int | None = None,
    groups: Iterable[int] = (),
    *,
    program: Sequence[str] = (sys.executable,),
    before: Sequence[str] = (),
    more: str = "",
) -> AsyncIterator[Peer]:
    """A process of that user (None: ours), run by `program`, a Python; `before` is put first.

    `more` is code that defines further functions for it.
    """
    who = json.dumps([uid, gid if gid is not None else uid, list(groups)])
    command = [*before, *program, "-I", "-S", "-c", more + PROGRAM, who]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    started = Peer(process, 0)
    try:
        started.pid = await started.answer(within=20.0)
        yield started
    finally:
        await started.end()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into."""
    with tempfile.TemporaryDirectory(prefix="leasehold-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)

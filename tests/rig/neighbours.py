"""Two users of one host at the doors of a real agent: one asks for what is his, the other attacks.

Both are processes of their own. Who asks never stops: whatever the other does, he has to be served
without an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rig.agent import Leasehold
from tests.rig.peers import Peer, open_folder, peer
from tests.rig.scene import MARK

FRIEND, HOSTILE = 54331, 54332

ASKING = """
import time
def keep_asking(path, request, stop):
    'Over a kept connection and a new one in turn, 20 times at least, until there is a `stop`.'
    request = request.encode()
    def ask(connection):
        started = time.monotonic()
        connection.sendall(request)
        answer = connection.recv(65536)
        head, _, body = answer.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while len(body) < length:
            body += connection.recv(65536)
        took.append(time.monotonic() - started)
        if not answer.startswith(b"HTTP/1.1 200 ") or not body:
            wrong.append(answer[:80].decode("latin-1"))
    took, wrong = [], []
    kept = connected(path)
    while len(took) < 20 or not os.path.exists(stop):
        try:
            ask(kept)
            with connected(path) as new:
                ask(new)
        except Exception as error:
            wrong.append(type(error).__name__)
            if len(wrong) > 20:
                break
    return {"served": len(took), "wrong": wrong, "longest": max(took, default=0)}
"""

ATTACKS = """
def whole(connection, most=1 << 22):
    'All that comes until the other side ends, as text; what it took of our patience is an error.'
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
            if sum(map(len, parts)) > most:
                break
    except (ConnectionResetError, BrokenPipeError):
        pass
    return b"".join(parts).decode("latin-1")
def say(path, text, half_closed=False):
    'Raw bytes (a character each) over a connection of its own, and all that comes back.'
    with connected(path) as new:
        try:
            new.sendall(text.encode("latin-1"))
            if half_closed:
                new.shutdown(socket.SHUT_WR)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return whole(new)
def say_all(path, texts):
    return [say(path, text) for text in texts]
def pour(path, head, megabytes):
    'A body without an end: how much was taken, and what came back.'
    taken, piece = 0, bytes(1 << 16)
    with connected(path) as new:
        try:
            new.sendall(head.encode("latin-1"))
            while taken < megabytes << 20:
                taken += new.send(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return [taken, whole(new)]
def stuff(path, text, times, count):
    'On each of `count` connections, what is said again and again, and never an answer read.'
    taken = 0
    for _ in range(count):
        new = connected(path)
        new.setblocking(False)
        kept.append(new)
        data = text.encode("latin-1") * times
        try:
            while data:
                sent = new.send(data)
                taken += sent
                data = data[sent:]
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            pass
    return taken
def trickle(count, text):
    'A little more on each of the connections that are held, while there is somebody.'
    for each in kept[-count:]:
        try:
            each.sendall(text.encode("latin-1"))
        except OSError:
            pass
def forge(path, name):
    'As systemd would: bound to a name, nothing said.'
    with socket.socket(socket.AF_UNIX) as new:
        new.bind("\\0" + name)
        new.settimeout(20)
        new.connect(path)
        new.shutdown(socket.SHUT_WR)
        return whole(new)
def orphan(path):
    'A connection whose maker has ended: the number of it, and the pid that is free now.'
    new = socket.socket(socket.AF_UNIX)
    new.settimeout(20)
    child = os.fork()
    if not child:
        new.connect(path)
        os._exit(0)
    os.waitpid(child, 0)
    kept.append(new)
    return [len(kept) - 1, child]
"""


def get(target: str, *headers: str, method: str = "GET") -> str:
    """A request that is the last of its connection."""
    lines = "".join(f"{each}\r\n" for each in ("Host: x", "Connection: close", *headers))
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n"


def status_of(answer: str) -> int:
    """Of the first answer in it; 0 where there is none."""
    return int(answer[9:12]) if answer.startswith("HTTP/1.1 ") else 0


@dataclass
class Street:
    """Where the doors are; `told` is all that the hostile one was ever answered."""

    folder: Path
    agent: Leasehold
    told: list[str] = field(default_factory=list)

    def socket(self, door: str) -> str:
        return str(self.folder / f"{door}.sock")

    def pss_mib(self) -> float:
        """The agent's share of the machine's memory now."""
        lines = Path(f"/proc/{self.agent.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    def guests(self) -> list[str]:
        """Connections at the doors that are open now."""
        lines = Path("/proc/net/unix").read_text().splitlines()
        doors = [line for line in lines if f" {self.folder}/" in line]
        return [line for line in doors if line.split()[5] == "03"]

    async def attack(self, hostile: Peer, name: str, *arguments: Any) -> Any:
        """What he gets is kept, to be looked through at the end."""
        answer = await hostile.do(name, *arguments)
        self.told.append(repr(answer))
        return answer

    def gave_nothing(self) -> bool:
        """Nothing of another's value was in any answer."""
        return not any(MARK in each for each in self.told)


@asynccontextmanager
async def hostile_user(**options: Any) -> AsyncIterator[Peer]:
    async with peer(HOSTILE, more=ATTACKS, **options) as one:
        yield one


@asynccontextmanager
async def served_meanwhile(street: Street, door: str, target: str) -> AsyncIterator[None]:
    """Somebody asks all the while, and is answered each time."""
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"
    with open_folder() as own:
        async with peer(FRIEND, more=ASKING) as friend:
            await friend.begin("keep_asking", street.socket(door), request, str(own / "stop"))
            yield
            (own / "stop").touch()
            result = await friend.answer()
            assert not result["wrong"], result
            assert result["longest"] < 5, result

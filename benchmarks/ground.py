"""What both agents stand on: one server, one identity, the same secrets, folders in memory."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.bao_auth import approle
from tests.rig.bao_client import Bao, Kv
from tests.rig.bao_server import DevServer
from tests.rig.proxy import Proxy


@dataclass(frozen=True)
class Ground:
    """`mount` holds the secrets s0 … sN, each with one field `value`."""

    address: str
    mount: str
    role_mount: str
    role_id_file: Path
    secret_id_file: Path
    memory: Path
    disk: Path

    def fresh(self) -> Path:
        """A new folder in memory."""
        return Path(tempfile.mkdtemp(dir=self.memory))


@contextmanager
def ground(count: int) -> Iterator[Ground]:
    """A server of its own with `count` secrets; nothing of it is left."""
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-bench-")))
        memory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-", dir="/dev/shm"))
        )
        server = DevServer(disk)
        stack.callback(server.close)
        kv = server.bao.kv()
        fill(server.bao, kv, count)
        policy = server.bao.policy({f"{kv.mount}/data/*": ["read"]})
        role = approle(server.bao, [policy], token_ttl="24h")
        role_id_file, secret_id_file = disk / "role-id", disk / "secret-id"
        role_id_file.write_text(role.role_id)
        secret_id_file.write_text(role.secret_id())
        secret_id_file.chmod(0o600)
        yield Ground(
            server.bao.address, kv.mount, role.mount, role_id_file, secret_id_file, memory, disk
        )


def fill(bao: Bao, kv: Kv, count: int) -> None:
    """Write the secrets, each worker over a connection of its own."""

    def write(numbers: range) -> None:
        own = Bao(bao.address, bao.token)
        mine = Kv(own, kv.mount, kv.version)
        for number in numbers:
            mine.put(f"s{number}", value=f"value of {number}")
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [range(first, count, 4) for first in range(4)]))


@contextmanager
def recording(address: str) -> Iterator[Proxy]:
    """A proxy before the server that counts; its loop runs on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(address)
    asyncio.run_coroutine_threadsafe(proxy.start(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

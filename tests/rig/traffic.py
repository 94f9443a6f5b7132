"""Who goes on asking while something rotates: all that failed is counted."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.deploy.load import WAYS, Client
from tests.rig.waiting import eventually

PAUSE = 0.01


class Traffic:
    """`counts` by kind of work; `failures` are described."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    async def goes_on(self, *kinds: str, within: float = 60.0) -> None:
        """Each of the kinds has had its way once more, all of it after the call."""
        before = {kind: self.counts[kind] for kind in kinds}
        await eventually(
            lambda: all(self.counts[kind] > before[kind] + 1 for kind in kinds), within=within
        )


@asynccontextmanager
async def https(ca_file: Path, name: str, port: int) -> AsyncIterator[Traffic]:
    """Requests of the kinds `kept`, `new` and `slow`; `reopened` says how many lost their place."""
    traffic, context = Traffic(), ssl.create_default_context(cafile=str(ca_file))
    clients = [Client(context, name, port, traffic.counts) for _ in WAYS]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(way(client), name=f"traffic {number}")
            for number, (way, client) in enumerate(zip(WAYS, clients, strict=True))
        ]
        try:
            yield traffic
        finally:
            for task in tasks:
                task.cancel()
            traffic.failures += [failure for client in clients for failure in client.failures]


@contextmanager
def working(**works: Callable[[], None]) -> Iterator[Traffic]:
    """Each in a thread of its own, again and again; whatever it raises is a failure."""
    traffic, is_over = Traffic(), threading.Event()

    def work(kind: str, once: Callable[[], None]) -> None:
        while not is_over.wait(PAUSE):
            try:
                once()
            except Exception as error:  # noqa: BLE001  # counted, whatever it is
                traffic.failures.append(f"{kind}: {type(error).__name__}: {error}")
            else:
                traffic.counts[kind] += 1

    threads = [threading.Thread(target=work, args=item, name=item[0]) for item in works.items()]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

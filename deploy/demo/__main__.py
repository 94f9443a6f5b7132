"""`make demo`: a minute in the life of an app whose database password changes all the time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from deploy.demo.servers import HERE, greet, set_up
from deploy.demo.timeline import Timeline
from tests.rig.bao_server import DevServer
from tests.rig.postgres import Postgres
from tests.rig.processes import die_with_parent

ROOT = HERE.parents[1]
TTL, MAX_TTL = "8s", "16s"
USERS = 4
LONGEST = 55.0


@contextmanager
def servers() -> Iterator[tuple[DevServer, Postgres, Path]]:
    """OpenBao, PostgreSQL and a folder in memory; nothing of it is left."""
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-demo-")))
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-", dir="/dev/shm"))
        )
        postgres = Postgres(disk)
        stack.callback(postgres.close)
        server = DevServer(disk)
        stack.callback(server.close)
        yield server, postgres, home


@asynccontextmanager
async def agent(
    environment: dict[str, str], timeline: Timeline
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`leasehold run`, with the app as its child."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "run", "-c", str(HERE / "leasehold.yaml")),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    async with asyncio.TaskGroup() as group:
        for stream in filter(None, (process.stdout, process.stderr)):
            group.create_task(timeline.follow(stream), name="what they say")
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()


Check = tuple[bool, str]


async def story(timeline: Timeline) -> list[Check]:
    """The whole; what was to be so, and whether it was."""
    with servers() as (server, postgres, home):
        set_up(server.bao, postgres, home, ttl=TTL, max_ttl=MAX_TTL)
        timeline.show("demo", f"OpenBao at {server.address}, PostgreSQL in {postgres.host}", "dim")
        environment = {
            "BAO_ADDR": server.address,
            "DEMO": str(home),
            "DEMO_POSTGRES": str(postgres.host),
            "PYTHON": sys.executable,
            "APP": str(HERE / "app.py"),
        }
        async with agent(environment, timeline) as process:
            checks = await watched(timeline, server)
        return [*checks, *afterwards(timeline, postgres, home, process.returncode)]


async def watched(timeline: Timeline, server: DevServer) -> list[Check]:
    """While the agent runs."""
    is_up = await timeline.reached(lambda: timeline.logins.total() > 6, within=20)
    timeline.show("demo", "somebody changes the greeting in OpenBao", "bold yellow")
    greet(server.bao, "good evening")
    is_greeted = await timeline.reached(lambda: "good evening" in timeline.greetings, within=10)
    text = f"a database role ends after {MAX_TTL}, whatever is done for it: wait and see"
    timeline.show("demo", text, "bold yellow")
    left = LONGEST - timeline.seconds()
    is_replaced = await timeline.reached(lambda: timeline.has_used(USERS), within=left)
    timeline.show("demo", "enough: the agent is stopped", "bold yellow")
    return [
        (is_up, "the app was started with its secrets there"),
        (is_greeted, "a changed value reached the app"),
        (is_replaced, f"its database role was replaced {len(timeline.logins) - 1} times"),
    ]


def afterwards(timeline: Timeline, postgres: Postgres, home: Path, code: int | None) -> list[Check]:
    """Once it has ended."""
    logins, refusals = timeline.logins.total(), len(timeline.refusals)
    roles = [user for user in timeline.logins if postgres.has_role(user)]
    files = list((home / "secrets").glob("*"))
    return [
        (
            logins > 0 and not refusals,
            f"the app logged in to PostgreSQL {logins} times with what it held, "
            f"and was refused {refusals} times",
        ),
        (not timeline.problems, f"nothing went wrong on the way ({len(timeline.problems)} said)"),
        (not roles, "none of its roles is left in PostgreSQL"),
        (not files, "none of its files is left"),
        (code == 0, f"the agent ended with {code}"),
    ]


def main() -> int:
    console = Console()
    timeline = Timeline(console)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    checks = asyncio.run(story(timeline))
    console.print()
    for user, count in timeline.logins.items():
        console.print(f"  {count:4} logins as {user}", style="dim", soft_wrap=True)
    for is_so, text in checks:
        style = "green" if is_so else "bold red"
        console.print(f"  {'✓' if is_so else '✗'} {text}", style=style, soft_wrap=True)
    return 0 if all(is_so for is_so, _ in checks) else 1


if __name__ == "__main__":
    sys.exit(main())

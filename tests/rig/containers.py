"""Real containers by podman and runc: an agent and an app as a pod has them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.rig.agent import LONGEST_LINE, Done, Leasehold
from tests.rig.images import STORAGE, USER, built, environment, inspected, podman
from tests.rig.processes import die_with_parent

RESTRICTED = (
    *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--memory=96m", "--pids-limit=64"),
)
"""What the agent has to be content with."""

MEMORY_ONLY = f"nr_blocks=1024,mode=0750,uid={USER},gid={USER},noexec,nosuid,nodev"
"""4 MiB; podman before 5 takes `size=` for a quota of its own."""
_numbers = count(1)


class Container(Leasehold):
    """One that runs: its output is that of any agent, or of an app that writes events as JSON."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        super().__init__(process)
        self.name = name

    async def execute(self, *command: str, timeout: float = 60.0) -> Done:
        """A command inside, to its end."""
        return await _podman("exec", self.name, *command, timeout=timeout)

    async def inspected(self, template: str) -> str:
        return await asyncio.to_thread(inspected, self.name, template)

    async def process_id(self) -> int:
        """Of its first process, as seen from here."""
        return int(await self.inspected("{{.State.Pid}}"))

    async def signal(self, number: signal.Signals) -> None:
        done = await _podman("kill", f"--signal={int(number)}", self.name)
        assert done.code == 0, done.err

    async def stop(self, *, within: float = 60.0) -> Done:
        """`podman stop`: SIGTERM, and SIGKILL after `within`; how it ended."""
        done = await _podman("stop", f"--time={int(within)}", self.name, timeout=within + 60)
        assert done.code == 0, done.err
        return await self.wait(within=60)

    async def kill(self) -> Done:
        """SIGKILL, if it is still there."""
        await _podman("kill", "--signal=KILL", self.name)
        return await self.wait(within=60)

    async def memory(self) -> int:
        """Bytes that its processes have for themselves: what no reclaim makes smaller."""
        return await asyncio.to_thread(_anonymous, await self.process_id())

    async def is_healthy(self) -> bool:
        """What the health check of its image says now; like podman, it is asked three times."""
        for _ in range(3):
            if (await _podman("healthcheck", "run", self.name)).code == 0:
                return True
        return False


class Containers:
    """Started for one test, and gone with it."""

    def __init__(self, image: str) -> None:
        self.image = image
        self._started: list[Container] = []
        self._volumes: list[str] = []
        self._stem = f"leasehold-{os.getpid()}-{next(_numbers)}"

    async def run(
        self, role: str, *arguments: str, options: Sequence[str] = (), image: str | None = None
    ) -> Container:
        """`podman run OPTIONS IMAGE ARGUMENTS`, attached; `role` tells it from the others."""
        name = f"{self._stem}-{role}-{len(self._started)}"
        process = await asyncio.create_subprocess_exec(
            *("podman", *STORAGE, "run", "--rm", "--pull=never", f"--name={name}", *options),
            *(image or self.image, *arguments),
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self._started.append(Container(process, name))
        return self._started[-1]

    async def volume(self, role: str = "secrets", options: str = MEMORY_ONLY) -> str:
        """A tmpfs that containers share, as long as one of them is there."""
        name = f"{self._stem}-{role}"
        memory = ("--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o={options}")
        done = await _podman("volume", "create", *memory, name)
        assert done.code == 0, done.err
        self._volumes.append(name)
        return name

    async def close(self) -> None:
        """Nothing that was started is left."""
        for each in reversed(self._started):
            await _podman("rm", "--force", "--time=0", "--ignore", each.name)
            await each.wait(within=60)
        for name in self._volumes:
            await _podman("volume", "rm", "--force", name)


def _anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {name: path.lstrip("/") for _, name, path in (line.split(":", 2) for line in lines)}
    top, word = ("memory", "total_rss") if "memory" in paths else ("", "anon")
    stat = Path("/sys/fs/cgroup", top, paths[top], "memory.stat").read_text()
    return int(dict(line.split() for line in stat.splitlines())[word])


async def _podman(*arguments: str, timeout: float = 120.0) -> Done:
    done = await asyncio.to_thread(podman, *arguments, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def leasehold_image() -> str:
    """The image of this checkout, built once."""
    return built()


@pytest.fixture
async def containers(leasehold_image: str) -> AsyncIterator[Containers]:
    """`agent = await containers.run("agent", "agent", "-c", …, options=[…])`."""
    started = Containers(leasehold_image)
    yield started
    await started.close()

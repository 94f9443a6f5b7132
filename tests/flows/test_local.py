"""The local store: no vault, and a value that is set reaches its file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.rig.agent import Start
from tests.rig.scene import value


async def tell(leasehold: Start, *arguments: str, given: str = "") -> None:
    """`leasehold local …` with standard input; it must succeed."""
    command = await leasehold.command(
        "local", *arguments, "-c", leasehold.file, stdin=asyncio.subprocess.PIPE
    )
    assert command.process.stdin is not None
    command.process.stdin.write(given.encode())
    command.process.stdin.close()
    done = await command.wait()
    assert done.code == 0, done.err


async def test_a_value_that_is_set_is_in_its_file_within_two_seconds(
    leasehold: Start, memory_directory: Path
) -> None:
    directory = memory_directory / "app"
    leasehold.configure(
        {
            "stores": {
                "local": {"type": "local", "file": "secrets.sealed", "key": {"file": "secrets.key"}}
            },
            "secrets": {"app": {"path": "app"}},
            "bundles": {
                "app": {
                    "directory": str(directory),
                    "debounce": "50ms",
                    "files": {"password": "{{ app.password }}"},
                }
            },
        }
    )
    first, second = value(), value()
    await tell(leasehold, "init")
    await tell(leasehold, "set", "app.password", given=first)
    agent = await leasehold()
    await agent.event("ready")
    assert (directory / "password").read_text() == first
    await tell(leasehold, "set", "app.password", given=second)
    await agent.event("bundle_published", generation=2, within=2)
    assert (directory / "password").read_text() == second
    assert (await agent.stop()).code == 0

"""The other agent itself: `bao agent` with a file of its own, which renders and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tests.rig.bao_server import binary, environment
from tests.rig.processes import die_with_parent


async def bao_agent(file: Path, more: Mapping[str, str], *, within: float = 100.0) -> str:
    """Run it until it ends by itself (exit_after_auth), without an error; its log."""
    log = file.with_suffix(".log")
    own = environment(file.parent) | dict(more)
    del own["BAO_ADDR"]  # it would win over the file's
    with log.open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            *(str(binary()), "agent", f"-config={file}"),
            env=own,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=told,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        try:
            async with asyncio.timeout(within):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    assert process.returncode == 0, log.read_text(errors="replace")
    return log.read_text(errors="replace")

"""SIGKILL amid writing, as often as it takes: what is there is proven, and gone on from."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.rig.audited import opened, proven, spec_of, stamped

WRITER = """
import os, sys
from pathlib import Path
from tests.rig.audited import opened, spec_of, stamped

file = opened(spec_of(Path(sys.argv[1]), max_size=int(sys.argv[2]), keep=int(sys.argv[3])))
number = 0
while True:
    file.write([stamped(number + each) for each in range(7)])
    number += 7
    os.write(1, b"%d\\n" % number)
    if number % 5 == 0:
        file.keep_head()
"""


@asynccontextmanager
async def writing(folder: Path, max_size: int, keep: int) -> AsyncIterator[asyncio.StreamReader]:
    """A process that writes, as fast as it can, until it is killed at the end."""
    arguments = ("-c", WRITER, str(folder), str(max_size), str(keep))
    writer = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    try:
        yield writer.stdout
    finally:
        writer.kill()
        await writer.wait()


async def take(lines: asyncio.StreamReader, number: int) -> None:
    async with asyncio.timeout(20):
        for _ in range(number):
            await lines.readline()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "audit"
    path.mkdir(mode=0o700)
    return path


async def test_whatever_was_written_is_there_after_any_kill(folder: Path) -> None:
    spec = spec_of(folder, max_size=20000, keep=50)
    told = 0
    for lines in (1, 10, 23, 60, 61):
        async with writing(folder, 20000, 50) as output:
            await take(output, lines)
        rest = await output.read()
        told += 7 * (lines + rest.count(b"\n"))
        verdict = await proven(spec)
        assert verdict.is_good, verdict.problems
        assert verdict.records >= told
    file = await asyncio.to_thread(opened, spec)
    await asyncio.to_thread(file.write, [stamped(1)])
    file.close()
    assert file.noticed == [] and (await proven(spec)).is_good


async def test_a_kill_amid_rotations_looks_like_no_mischief(folder: Path) -> None:
    spec = spec_of(folder, max_size=4096, keep=2)
    for lines in range(10, 25):
        async with writing(folder, 4096, 2) as output:
            await take(output, lines)
        verdict = await proven(spec)
        assert verdict.is_good, verdict.problems


async def test_records_are_proven_while_they_are_written_and_rotated(folder: Path) -> None:
    async with writing(folder, 100_000, 4) as output:
        await take(output, 20)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(output.read())  # or it would wait for room in the pipe
            for _ in range(15):
                verdict = await proven(spec_of(folder, max_size=100_000, keep=4))
                assert verdict.is_good, verdict.problems
            reading.cancel()

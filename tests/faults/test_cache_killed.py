"""SIGKILL between any two system calls of a writing: what is there is believed, and is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.rig.kept import NOW, WALL, key_file, opened

MURDERER = """
import os, signal, sys
from pathlib import Path
from tests.rig.kept import NOW, WALL, book, opened

STEPS = ("open", "write", "fsync", "rename", "replace", "unlink", "ftruncate", "pwrite")

def killing(step, countdown):
    def call(*arguments, **options):
        countdown[0] -= 1
        if countdown[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)
    return call

def life(directory, first, steps, key, previous):
    countdown = [steps]
    for name in STEPS:
        setattr(os, name, killing(getattr(os, name), countdown))
    before = Path(previous) if previous else None
    file = opened(Path(directory), key=Path(key), previous=before)
    file.load(NOW + first, WALL)
    for number in (first, first + 1):
        file.save(book(now=NOW + number))
    file.close()

for line in sys.stdin:
    directory, first, steps, key, previous = line.rstrip("\\n").split(" ")
    child = os.fork()
    if child == 0:
        try:
            life(directory, int(first), int(steps), key, previous)
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Murderer:
    """Lets a process of its own take up a cache and write two books, up to a step."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin, self._stdout = stdin, stdout

    def was_killed(
        self,
        directory: Path,
        *,
        first: int,
        steps: int,
        key: Path,
        previous: Path | None = None,
    ) -> bool:
        """The books are of NOW + `first` and one second later; False once there are fewer steps."""
        print(directory, first, steps, key, previous or "", file=self._stdin, flush=True)
        code = int(self._stdout.readline())
        assert code in (0, -9), f"a failure of its own: {code}"
        return code == -9


@pytest.fixture
def murderer() -> Iterator[Murderer]:
    command = [sys.executable, "-c", MURDERER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        yield Murderer(process.stdin, process.stdout)
        process.stdin.close()
    assert process.returncode == 0


def taken_up(directory: Path, **options: object) -> float | None:
    """When the book that a start finds was written; a refusal would be an error here."""
    file = opened(directory, **options)  # type: ignore[arg-type]
    book = file.load(NOW + 10_000, WALL)
    file.close()
    assert not list(directory.glob("*.refused"))
    return None if book is None else book.now - NOW


def test_killed_at_any_step_of_the_first_writings(
    memory_directory: Path, murderer: Murderer
) -> None:
    key, seen = key_file(memory_directory), set()
    for steps in range(1, 200):
        directory = memory_directory / f"{steps}"
        directory.mkdir(mode=0o700)
        was_killed = murderer.was_killed(directory, first=1, steps=steps, key=key)
        seen.add(taken_up(directory, key=key))
        if not was_killed:
            break
    else:
        pytest.fail("the life never came to its end")
    assert steps > 30 and seen == {None, 1, 2}


def test_killed_at_any_step_again_and_again_in_one_cache(
    memory_directory: Path, murderer: Murderer
) -> None:
    """No writing that was done is lost: each life finds at least what the one before had kept."""
    key, latest = key_file(memory_directory), 0.0
    for steps in range(1, 200):
        was_killed = murderer.was_killed(memory_directory, first=10 * steps, steps=steps, key=key)
        found = taken_up(memory_directory, key=key)
        assert found in (latest or None, 10 * steps, 10 * steps + 1)
        latest = found or 0.0
        if not was_killed:
            assert latest == 10 * steps + 1
            return
    pytest.fail("the life never came to its end")


def test_killed_at_any_step_while_the_key_is_rotated(
    memory_directory: Path, murderer: Murderer
) -> None:
    old, new = key_file(memory_directory, "old", "a"), key_file(memory_directory, "new", "b")
    for steps in range(1, 200):
        directory = memory_directory / f"{steps}"
        directory.mkdir(mode=0o700)
        assert not murderer.was_killed(directory, first=1, steps=1000, key=old)
        was_killed = murderer.was_killed(directory, first=5, steps=steps, key=new, previous=old)
        assert taken_up(directory, key=new, previous=old) in (2, 5, 6)
        if not was_killed:
            assert taken_up(directory, key=new) == 6
            return
    pytest.fail("the life never came to its end")

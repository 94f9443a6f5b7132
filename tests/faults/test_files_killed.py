"""SIGKILL between any two system calls: readers see a whole generation, and a start repairs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.rig.generations import generations, names_in, published

MURDERER = """
import os, signal, sys
from pathlib import Path
from tests.rig.generations import generations, published

STEPS = ("mkdir", "open", "write", "fchown", "fchmod", "symlink", "rename", "unlink", "rmdir")

def killing(step, countdown):
    def call(*arguments, **options):
        countdown[0] -= 1
        if countdown[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)
    return call

def life(directory, first, steps):
    countdown = [steps]
    for name in STEPS:
        setattr(os, name, killing(getattr(os, name), countdown))
    of = generations(Path(directory), uid=os.geteuid(), gid=os.getegid())
    of.prepare()
    for text in (first, first + 1, first + 2):
        names = {"both": text, "tls__key": text, f"only{text % 2}": text}
        number = published(of, **{name: str(text) for name, text in names.items()})
        of.mark_announced(number)
    of.restore(of.previous())

for line in sys.stdin:
    directory, first, steps = line.split()
    child = os.fork()
    if child == 0:
        try:
            life(directory, int(first), int(steps))
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Murderer:
    """Lets a process of its own publish three generations and roll one back, up to a step."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin, self._stdout = stdin, stdout

    def was_killed(self, directory: Path, *, first: int, steps: int) -> bool:
        """Texts count from `first`; False once there are fewer steps than `steps`."""
        print(directory, first, steps, file=self._stdin, flush=True)
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


def _seen(directory: Path) -> str | None:
    """The one text that all files tell; None before the first generation."""
    data = directory / "..data"
    if not data.exists():
        return None
    texts = {path.read_text() for path in data.rglob("*") if path.is_file()}
    assert len(texts) == 1, f"a mixture: {texts}"
    [text] = texts
    assert {path.name for path in data.iterdir()} == {"both", "tls", f"only{int(text) % 2}"}
    return text


def _assert_whole(directory: Path, text: str | None, *, is_prepared: bool) -> None:
    linked = {name for name in names_in(directory) if not name.startswith("..")}
    if text is None:
        assert not linked
        return
    lasting = {"both", "tls"}
    is_first = names_in(directory) & {"..gen-000001", "..gen-000002"} == {"..gen-000001"}
    if is_prepared:
        assert linked == lasting | {f"only{int(text) % 2}"}
    elif not is_first:
        assert linked >= lasting
    for name in linked & lasting:
        path = directory / name
        assert (path / "key" if name == "tls" else path).read_text() == text


def test_killed_at_any_step_of_the_first_start(memory_directory: Path, murderer: Murderer) -> None:
    for steps in range(1, 500):
        directory = memory_directory / f"bundle-{steps}" / "app"
        was_killed = murderer.was_killed(directory, first=1, steps=steps)
        if directory.exists():
            _assert_whole(directory, _seen(directory), is_prepared=False)
        _assert_repaired(directory)
        assert directory.stat().st_mode & 0o7777 == 0o750
        assert names_in(directory.parent) == {"app"}
        if not was_killed:
            break
    else:
        pytest.fail("the life never came to its end")
    assert steps > 100


def test_killed_at_any_step_again_and_again_in_one_directory(
    memory_directory: Path, murderer: Murderer
) -> None:
    directory = memory_directory / "app"
    numbers = [0]
    for steps in range(1, 500):
        was_killed = murderer.was_killed(directory, first=steps * 10, steps=steps)
        if directory.exists():
            _assert_whole(directory, _seen(directory), is_prepared=False)
        numbers.append(_assert_repaired(directory))
        assert numbers[-1] > numbers[-2], "a number came twice"
        if not was_killed:
            return
    pytest.fail("the life never came to its end")


def _assert_repaired(directory: Path) -> int:
    """What a start makes of it; the number of the generation that it published."""
    before = _seen(directory)
    used = [path.name for path in directory.glob("..gen-*")]
    of = generations(directory)
    of.prepare()
    text, current = _seen(directory), of.current()
    assert text == before
    _assert_whole(directory, text, is_prepared=True)
    kept = {f"..gen-{number:06d}" for number in (current, of.previous()) if number is not None}
    hidden = {name for name in names_in(directory) if name.startswith("..")}
    assert hidden == kept | {"..announced"} | ({"..data"} if current else set())
    assert (of.announced() or 0) <= (current or 0) + 1

    number = published(of, both="7", tls__key="7", only1="7")
    assert f"..gen-{number:06d}" > max(used, default="")
    assert _seen(directory) == "7"
    return number

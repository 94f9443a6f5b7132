"""A command is told all it needs, sees no credential, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config.model import NotifyCommand
from agent.core.errors import NotifyError
from agent.delivery.notify import Announcement, notifier
from tests.rig.processes import wait_until

NEWS = Announcement("web", Path("/run/leasehold/web"), 7)

STUBBORN_FAMILY = """
trap '' TERM
sh -c 'trap "" TERM; echo up >"$1"; exec sleep 600 >"$1"' grandchild "$1" &
wait
"""


class Lifeline:
    """A pipe that the processes of a command hold open for writing as long as they live."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._keep_open = os.open(path, os.O_WRONLY)
        self._text = b""

    def has_started(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._text += os.read(self._reader, 64)
        return self._text == b"up\n"

    def is_cut(self) -> bool:
        """All of them are gone."""
        if self._keep_open >= 0:
            os.close(self._keep_open)
            self._keep_open = -1
        try:
            return os.read(self._reader, 64) == b""
        except BlockingIOError:
            return False

    async def started(self) -> None:
        """Return once a process has written to it."""
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._reader, readable.set)
        await readable.wait()
        loop.remove_reader(self._reader)
        assert self.has_started()

    def close(self) -> None:
        self.is_cut()
        os.close(self._reader)


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    line = Lifeline(tmp_path / "lifeline")
    yield line
    line.close()


async def refusal(spec: NotifyCommand) -> NotifyError:
    with pytest.raises(NotifyError) as raised:
        await notifier(spec).notify(NEWS)
    return raised.value


async def test_a_command_is_told_what_changed_and_sees_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VAULT_TOKEN", "APP_SECRET_ID", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "s.abcdef")
    monkeypatch.setenv("HOME", "/home/agent")
    monkeypatch.setenv("LC_TIME", "C")
    script = (
        "import json, os, sys; json.dump([sys.argv[2:], dict(os.environ)], open(sys.argv[1], 'w'))"
    )
    placeholders = ("{directory}/app.conf", "{generation}", "{bundle}", "{other} {0} %s $HOME")
    told = tmp_path / "told"
    command = (sys.executable, "-I", "-S", "-c", script, str(told), *placeholders)
    await notifier(NotifyCommand(command=command)).notify(NEWS)
    arguments, environment = json.loads(told.read_text())
    assert arguments == ["/run/leasehold/web/app.conf", "7", "web", "{other} {0} %s $HOME"]
    assert environment["LEASEHOLD_BUNDLE"] == "web"
    assert environment["LEASEHOLD_DIRECTORY"] == "/run/leasehold/web"
    assert environment["LEASEHOLD_GENERATION"] == "7"
    assert environment["HOME"] == "/home/agent"
    assert environment["LC_TIME"] == "C"
    assert environment["PATH"] == os.environ["PATH"]
    assert "s.abcdef" not in environment.values()


async def test_a_command_has_a_path_where_the_agent_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PATH")
    await notifier(NotifyCommand(command=("true",))).notify(NEWS)


async def test_a_failure_tells_the_exit_code_and_nothing_that_was_printed_or_passed() -> None:
    script = "echo hunter2; echo hunter2 >&2; exit 3"
    spec = NotifyCommand(command=("/bin/sh", "-c", script, "hunter2"))
    error = await refusal(spec)
    assert str(error) == "command /bin/sh: exit code 3"
    assert not error.is_absent
    assert notifier(spec).target == "command /bin/sh"


async def test_a_command_that_is_killed_has_failed() -> None:
    assert (await refusal(NotifyCommand(command=("sh", "-c", "kill -9 $$")))).reason == (
        "exit code 137"
    )


async def test_a_command_that_is_not_there_is_reported() -> None:
    error = await refusal(NotifyCommand(command=("/nonexistent/reload", "hunter2")))
    assert str(error) == (
        "command /nonexistent/reload: can't be started: No such file or directory"
    )


async def test_a_command_that_ignores_sigterm_is_killed_with_its_grandchildren(
    lifeline: Lifeline,
) -> None:
    command = ("sh", "-c", STUBBORN_FAMILY, "family", str(lifeline.path))
    error = await refusal(NotifyCommand(command=command, timeout=0.3))
    assert error.reason == "no end within 0.3 s"
    assert lifeline.has_started()
    wait_until(lifeline.is_cut, within=5)


async def test_a_notification_that_is_cancelled_leaves_no_process(lifeline: Lifeline) -> None:
    script = 'exec >"$1"; echo up; exec sleep 600'
    spec = NotifyCommand(command=("sh", "-c", script, "app", str(lifeline.path)))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(notifier(spec).notify(NEWS))
        await lifeline.started()
        task.cancel()
    assert task.cancelled()
    wait_until(lifeline.is_cut, within=5)

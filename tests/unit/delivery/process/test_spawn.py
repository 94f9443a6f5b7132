"""Processes end as they end, and leave no descriptor, no zombie and no group behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import DeliveryError
from agent.delivery.process.reaper import at_child_signal
from agent.delivery.process.spawn import (
    OUTPUT_KEPT,
    Spawned,
    children,
    run_command,
    signal_number,
    spawn,
)
from tests.rig.descriptors import open_descriptors
from tests.rig.reports import end_of, reports

RUNS_ON_EVERY_LOOP = True
ENVIRONMENT = {"PATH": os.environ["PATH"], "SECRET": "s3cret"}


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    yield
    assert not children


def shell(script: str, **environment: str) -> Spawned:
    return spawn(["sh", "-c", script], environment={**ENVIRONMENT, **environment})


async def test_the_exit_code_is_told_to_all_who_wait_and_again() -> None:
    child = shell("exit 3")
    assert child.code is None
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(child.wait()) for _ in range(3)]
    assert [each.result() for each in waits] == [3, 3, 3]
    assert await child.wait() == 3 == child.code
    assert is_gone(child.pid)


async def test_a_child_ended_by_a_signal_has_128_and_its_number() -> None:
    assert await shell("kill -KILL $$").wait() == 128 + signal.SIGKILL


async def test_a_signal_reaches_the_child() -> None:
    async with spawn(["sleep", "60"], environment=ENVIRONMENT) as child:
        child.signal(signal.SIGTERM)
        assert await child.wait() == 128 + signal.SIGTERM


async def test_a_signal_to_one_that_is_gone_is_no_error() -> None:
    child = shell("exit 0")
    await child.wait()
    child.signal(signal.SIGTERM)
    child.signal_group(signal.SIGTERM)
    assert child.stopped_by() is None


async def test_a_stop_is_noticed_once() -> None:
    async with spawn(["sleep", "60"], environment=ENVIRONMENT) as child:
        assert child.stopped_by() is None
        stopped = asyncio.Event()
        with at_child_signal(stopped.set):
            child.signal(signal.SIGSTOP)
            async with asyncio.timeout(5):
                await stopped.wait()
        assert child.stopped_by() == signal.SIGSTOP
        assert child.stopped_by() is None


async def test_leaving_the_block_kills_the_whole_group(tmp_path: Path) -> None:
    with reports(tmp_path) as told:
        async with shell('sleep 60 & echo $! >"$REPORTS"; wait', REPORTS=str(told.path)) as child:
            grandchild = int(await told.next())
    assert child.code == 128 + signal.SIGKILL
    await end_of(grandchild)


async def test_what_is_left_of_a_group_can_end_with_its_leader(tmp_path: Path) -> None:
    script = '(trap "" HUP TERM; exec sleep 60) & echo $! >"$REPORTS"; read line <"$GO"; exit 7'
    os.mkfifo(tmp_path / "go")
    with reports(tmp_path) as told:
        child = shell(script, REPORTS=str(told.path), GO=str(tmp_path / "go"))
        child.kill_group_at_end()
        left_behind = int(await told.next())
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
        assert await child.wait() == 7
        await end_of(left_behind)


async def test_a_program_that_is_not_there_is_named_and_its_arguments_are_not() -> None:
    with pytest.raises(DeliveryError) as caught:
        spawn(["/no/such", "s3cret"], environment=ENVIRONMENT)
    assert str(caught.value) == "/no/such: can't be started: No such file or directory"
    assert caught.value.__cause__ is None


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=f"No such file or directory \\(in {tmp_path}/none\\)"):
        spawn(["true"], environment=ENVIRONMENT, cwd=tmp_path / "none")


async def test_a_value_that_no_environment_can_hold_is_not_quoted() -> None:
    with pytest.raises(DeliveryError) as caught:
        spawn(["true"], environment={**ENVIRONMENT, "KEY": "s3cret\0"})
    assert "s3cret" not in str(caught.value)
    assert "NUL" in str(caught.value)


async def test_no_descriptor_is_leaked_by_success_failure_or_timeout() -> None:
    await run_command(["true"], environment=ENVIRONMENT, timeout=5)
    before = open_descriptors()
    await run_command(["true"], environment=ENVIRONMENT, timeout=5)
    await run_command(["sleep", "60"], environment=ENVIRONMENT, timeout=0.01)
    with pytest.raises(DeliveryError):
        await run_command(["/no/such"], environment=ENVIRONMENT, timeout=5)
    async with spawn(["sleep", "60"], environment=ENVIRONMENT):
        pass
    assert open_descriptors() == before


async def test_a_child_has_only_the_descriptors_that_it_is_given() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    ended = await run_command(["sh", "-c", "ls /proc/self/fd"], environment=ENVIRONMENT, timeout=5)
    os.close(reading)
    os.close(writing)
    assert ended.output.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


async def test_a_command_tells_code_and_both_streams() -> None:
    ended = await run_command(
        ["sh", "-c", "echo out; echo err >&2; exit 3"], environment=ENVIRONMENT, timeout=5
    )
    assert (ended.code, ended.output, ended.is_timeout) == (3, "out\nerr\n", False)
    assert "err" not in repr(ended)


async def test_of_much_output_the_end_is_kept_and_nobody_is_held_up() -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' x; printf '\\377end'"
    ended = await run_command(["sh", "-c", script], environment=ENVIRONMENT, timeout=10)
    assert ended.code == 0
    assert ended.output.endswith("xx\N{REPLACEMENT CHARACTER}end")
    assert len(ended.output) == OUTPUT_KEPT


async def test_a_command_reads_nothing_and_has_a_session_of_its_own() -> None:
    script = "cat; ps -o sid= -p $$; echo $$"
    ended = await run_command(["sh", "-c", script], environment=ENVIRONMENT, timeout=5)
    session, pid = ended.output.split()
    assert session == pid


async def test_a_process_left_behind_does_not_hold_a_command_up(tmp_path: Path) -> None:
    with reports(tmp_path) as told:
        environment = {**ENVIRONMENT, "REPORTS": str(told.path)}
        script = 'sleep 60 & echo $! >"$REPORTS"; echo done'
        ended = await run_command(["sh", "-c", script], environment=environment, timeout=5)
        left_behind = int(await told.next())
    assert (ended.code, ended.output) == (0, "done\n")
    assert not is_gone(left_behind)
    os.kill(left_behind, signal.SIGKILL)


async def test_a_command_out_of_time_may_end_in_order() -> None:
    script = "trap 'echo bye; exit 9' TERM; while :; do sleep 0.01; done"
    ended = await run_command(["sh", "-c", script], environment=ENVIRONMENT, timeout=0.1)
    assert (ended.code, ended.output.split()[-1], ended.is_timeout) == (9, "bye", True)


async def test_a_command_that_ignores_sigterm_is_killed_with_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.delivery.process.spawn.KILL_AFTER", 0.05)
    with reports(tmp_path) as told:
        environment = {**ENVIRONMENT, "REPORTS": str(told.path)}
        script = "trap '' TERM; sleep 60 & echo $! >\"$REPORTS\"; wait; sleep 60"
        ended = await run_command(["sh", "-c", script], environment=environment, timeout=0.2)
        assert (ended.code, ended.is_timeout) == (128 + signal.SIGKILL, True)
        await end_of(int(await told.next()))


async def test_a_cancelled_command_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    with reports(tmp_path) as told:
        environment = {**ENVIRONMENT, "REPORTS": str(told.path)}
        script = '(trap "" TERM; exec sleep 60) & echo $! >"$REPORTS"; wait'
        task = asyncio.create_task(
            run_command(["sh", "-c", script], environment=environment, timeout=60)
        )
        grandchild = int(await told.next())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await end_of(grandchild)


def test_signals_are_known_by_both_names_in_any_case() -> None:
    assert signal_number("HUP") == signal_number("SIGHUP") == signal_number("hup") == 1
    for wrong in ("NOPE", "", "9", "SIG_IGN"):
        with pytest.raises(DeliveryError, match="no such signal"):
            signal_number(wrong)

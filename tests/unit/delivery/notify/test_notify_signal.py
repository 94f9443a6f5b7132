"""Signals reach the process that was meant, or none."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.model import NotifySignal
from agent.core.clock import SystemClock
from agent.core.errors import ConfigurationError, NotifyError
from agent.delivery.notify import Announcement, notifier, pid_file, procfs
from agent.delivery.notify.signal import PidFileSignal
from tests.rig.needs import needs_root
from tests.rig.signal_app import SignalApp, own_executable

NEWS = Announcement("web", Path("/run/web"), 7)
NOBODY = 65534
OUR_PROGRAM = Path(sys.executable).resolve()

StartApp = Callable[..., SignalApp]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, which tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="notify-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def program(folder: Path) -> Path:
    return own_executable(folder)


@pytest.fixture
def start_app(program: Path) -> Iterator[StartApp]:
    apps: list[SignalApp] = []

    def start(executable: Path = program, **options: object) -> SignalApp:
        apps.append(SignalApp(executable, **options))
        return apps[-1]

    yield start
    for app in apps:
        app.end()


def write_pid(path: Path, pid: int | bytes, *, age: float = 0.0, owner: int = -1) -> Path:
    """A pid file, put in its place whole as daemons do."""
    new = path.with_suffix(".new")
    new.write_bytes(pid if isinstance(pid, bytes) else b"%d\n" % pid)
    os.utime(new, (new.stat().st_mtime - age,) * 2)
    os.chown(new, owner, -1)
    return new.replace(path)


async def by_pid_file(path: Path) -> None:
    await notifier(NotifySignal(signal="HUP", pid_file=path)).notify(NEWS)


async def refusal(spec: NotifySignal) -> NotifyError:
    with pytest.raises(NotifyError) as raised:
        await notifier(spec).notify(NEWS)
    return raised.value


async def pid_file_refusal(path: Path) -> NotifyError:
    return await refusal(NotifySignal(signal="HUP", pid_file=path))


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


# --- by pid file ------------------------------------------------------------------------------


async def test_the_process_of_the_pid_file_is_told(folder: Path, start_app: StartApp) -> None:
    app = start_app()
    await by_pid_file(write_pid(folder / "pid", app.pid))
    assert app.times_told() == 1


async def test_spiffe_helper_250_a_replaced_pid_file_loses_no_signal(
    folder: Path, start_app: StartApp
) -> None:
    before, after = start_app(), start_app()
    way = notifier(NotifySignal(signal="HUP", pid_file=folder / "pid"))
    write_pid(folder / "pid", before.pid)
    await way.notify(NEWS)
    write_pid(folder / "pid", after.pid)
    await way.notify(NEWS)
    assert (before.times_told(), after.times_told()) == (1, 1)


async def test_a_pid_file_replaced_between_the_looks_leads_to_the_new_process(
    folder: Path, start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = start_app(), start_app()
    path = write_pid(folder / "pid", before.pid)
    look = procfs.status

    def replaced_meanwhile(pid: int, pidfd: int) -> procfs.Status:
        write_pid(path, after.pid)
        return look(pid, pidfd)

    monkeypatch.setattr(procfs, "status", replaced_meanwhile)
    await by_pid_file(path)
    assert (before.times_told(), after.times_told()) == (0, 1)


async def test_a_pid_file_that_never_keeps_still_is_an_error(
    folder: Path, start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [start_app(), start_app()]
    path = write_pid(folder / "pid", apps[0].pid)
    look = procfs.status

    def replaced_meanwhile(pid: int, pidfd: int) -> procfs.Status:
        write_pid(path, next(app.pid for app in apps if app.pid != pid))
        return look(pid, pidfd)

    monkeypatch.setattr(procfs, "status", replaced_meanwhile)
    error = await pid_file_refusal(path)
    assert "changes all the time" in str(error)
    assert [app.times_told() for app in apps] == [0, 0]


async def test_a_process_younger_than_its_pid_file_has_only_inherited_the_number(
    folder: Path, start_app: StartApp
) -> None:
    app = start_app()
    error = await pid_file_refusal(write_pid(folder / "pid", app.pid, age=3.0))
    assert "stale" in str(error)
    assert f"pid {app.pid} is younger" in str(error)
    assert not error.is_absent
    assert app.times_told() == 0


async def test_a_file_system_of_whole_seconds_does_not_make_a_pid_file_stale(
    folder: Path, start_app: StartApp
) -> None:
    app = start_app()
    await by_pid_file(write_pid(folder / "pid", app.pid, age=1.0))
    assert app.times_told() == 1


class SetClock(SystemClock):
    """The machine's clock, whose wall time somebody sets."""

    put_forward = 0.0

    def wall(self) -> float:
        return super().wall() + self.put_forward


@pytest.mark.parametrize("put_forward", [7200.0, -7200.0])
async def test_a_wall_clock_that_is_set_makes_no_pid_file_stale(
    folder: Path, start_app: StartApp, put_forward: float
) -> None:
    app, clock = start_app(), SetClock()
    way = PidFileSignal(signal.SIGHUP, write_pid(folder / "pid", app.pid), clock)
    clock.put_forward = put_forward
    await way.notify(NEWS)
    assert app.times_told() == 1


async def test_an_app_that_does_not_run_is_absent(folder: Path, start_app: StartApp) -> None:
    app = start_app()
    path = folder / "pid"
    missing = await pid_file_refusal(path)
    write_pid(path, app.pid)
    app.die()
    zombie = await pid_file_refusal(path)
    app.end()
    gone = await pid_file_refusal(path)
    assert [missing.is_absent, zombie.is_absent, gone.is_absent] == [True] * 3
    assert str(missing) == f"pid file {path}: there is none"
    assert str(gone) == f"SIGHUP to {path}: no process has the pid {app.pid} of the file"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"app", b"0", b"1", b"-5", b"+7", b"12 13", b"99999999999", b"4294967297"),
        *("٣٣".encode(), b"7" * 65, b"\x007"),
    ],
)
async def test_what_is_no_pid_to_signal_is_refused(folder: Path, content: bytes) -> None:
    error = await pid_file_refusal(write_pid(folder / "pid", content))
    assert "holds" in str(error)
    assert not error.is_absent


async def test_a_pid_file_that_names_the_agent_is_refused(folder: Path) -> None:
    assert "never signalled" in str(await pid_file_refusal(write_pid(folder / "pid", os.getpid())))


@given(content=st.binary(max_size=80))
def test_whatever_a_pid_file_holds_is_a_pid_or_refused(content: bytes) -> None:
    try:
        pid = pid_file.parsed(Path("pid"), content)
    except NotifyError:
        return
    assert pid > 1
    assert str(pid) == content.partition(b"\n")[0].strip().lstrip(b"0").decode()


async def test_the_pid_is_the_first_line(folder: Path, start_app: StartApp) -> None:
    app = start_app()
    content = b"%d\n/var/lib/postgresql/16/main\n1764003127\n5432\n" % app.pid
    await by_pid_file(write_pid(folder / "pid", content))
    assert app.times_told() == 1


async def test_a_file_that_everybody_may_write_is_refused(
    folder: Path, start_app: StartApp
) -> None:
    app = start_app()
    path = write_pid(folder / "pid", app.pid)
    path.chmod(0o646)
    assert "everybody may write it" in str(await pid_file_refusal(path))
    assert app.times_told() == 0


async def test_a_pipe_in_the_place_of_a_pid_file_holds_nobody_up(folder: Path) -> None:
    os.mkfifo(folder / "pid", 0o600)
    assert "not a regular file" in str(await pid_file_refusal(folder / "pid"))


async def test_a_user_may_name_processes_of_its_own_only(folder: Path, start_app: StartApp) -> None:
    needs_root()
    roots, nobodys = start_app(), start_app(user=NOBODY, group=NOBODY)
    path = write_pid(folder / "pid", roots.pid, owner=NOBODY)
    assert "another user's process" in str(await pid_file_refusal(path))
    await by_pid_file(write_pid(path, nobodys.pid, owner=NOBODY))
    assert (roots.times_told(), nobodys.times_told()) == (0, 1)


async def test_a_link_is_the_word_of_its_owner(folder: Path, start_app: StartApp) -> None:
    needs_root()
    app = start_app()
    (folder / "real").mkdir()
    write_pid(folder / "real" / "pid", app.pid)
    (folder / "var").symlink_to("real")
    await by_pid_file(folder / "var" / "pid")
    os.chown(folder / "var", NOBODY, -1, follow_symlinks=False)
    assert "uid 65534" in str(await pid_file_refusal(folder / "var" / "pid"))
    (folder / "round").symlink_to("round")
    assert "symbolic links" in str(await pid_file_refusal(folder / "round"))
    assert app.times_told() == 1


async def test_a_link_put_in_place_while_the_file_is_opened_is_refused(
    folder: Path, start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()
    for name in ("own", "foreign"):
        (folder / name).mkdir()
        write_pid(folder / name / "pid", app.pid)
    really_open = os.open

    def open_after_swap(path: Path, flags: int) -> int:
        (folder / "own").rename(folder / "away")
        (folder / "own").symlink_to("foreign")
        return really_open(path, flags)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_after_swap)
        error = await pid_file_refusal(folder / "own" / "pid")
    assert "changed while it was read" in str(error)
    assert app.times_told() == 0


async def test_a_signal_that_is_not_permitted_is_reported(
    folder: Path, start_app: StartApp
) -> None:
    needs_root()
    app = start_app()
    path = write_pid(folder / "pid", app.pid)
    with acting_as(NOBODY):
        error = await pid_file_refusal(path)
    assert str(error) == f"SIGHUP to {path}: pid {app.pid}: not permitted (CAP_KILL is missing)"
    assert not error.is_absent


# --- by executable ----------------------------------------------------------------------------


def of_program(path: Path) -> NotifySignal:
    return NotifySignal(signal="SIGHUP", process=path)


async def test_every_process_of_the_program_is_told(
    folder: Path, program: Path, start_app: StartApp
) -> None:
    first, second = start_app(), start_app()
    other = start_app(own_executable(folder, "other"))
    await notifier(of_program(program)).notify(NEWS)
    assert [app.times_told() for app in (first, second, other)] == [1, 1, 0]


async def test_a_program_that_was_upgraded_on_disk_is_still_told(
    folder: Path, program: Path, start_app: StartApp
) -> None:
    app = start_app()
    own_executable(folder, "new").replace(program)
    assert procfs.PROC.joinpath(str(app.pid), "exe").readlink().name == "app (deleted)"
    await notifier(of_program(program)).notify(NEWS)
    assert app.times_told() == 1


async def test_a_program_may_be_named_by_a_link(
    folder: Path, program: Path, start_app: StartApp
) -> None:
    app = start_app()
    (folder / "link").symlink_to(program)
    await notifier(of_program(folder / "link")).notify(NEWS)
    assert app.times_told() == 1


async def test_a_program_that_nobody_runs_is_absent(program: Path) -> None:
    error = await refusal(of_program(program))
    assert str(error) == f"SIGHUP to {program}: no process runs {program}"
    assert error.is_absent


async def test_the_agent_never_signals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "pids", lambda: [os.getpid()])
    told: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda pidfd, number: told.append(number))
    error = await refusal(of_program(OUR_PROGRAM))
    assert error.is_absent
    assert not told


async def test_a_program_that_is_hidden_is_not_taken_for_absent(
    program: Path, start_app: StartApp
) -> None:
    needs_root()
    app = start_app()
    with acting_as(NOBODY):
        error = await refusal(of_program(program))
    assert f"pid {app.pid} may be it" in str(error)
    assert not error.is_absent


@given(
    name=st.text(max_size=15),
    ticks=st.integers(min_value=0, max_value=2**40),
)
def test_the_start_is_found_behind_any_name(name: str, ticks: int) -> None:
    line = f"7 ({name}) S 1 7 7 0 -1 4194304 9 0 0 0 1 2 3 4 20 0 1 0 {ticks} 8 9\n"
    assert procfs.start_in(line) == ticks / procfs.TICKS_PER_SECOND


def test_a_process_with_a_misleading_name_is_understood(folder: Path, start_app: StartApp) -> None:
    app = start_app(own_executable(folder, "x) Z 1 (y 9"))
    with procfs.pidfd(app.pid) as pidfd:
        found = procfs.status(app.pid, pidfd)
    assert 0 <= SystemClock().now() - found.started_at < 30
    assert found.users == {os.getuid()}


# --- the entry --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        NotifySignal(signal="HUP"),
        NotifySignal(signal="HUP", pid_file=Path("/run/a.pid"), unit="a.service"),
        NotifySignal(signal="BANG", pid_file=Path("/run/a.pid")),
        NotifySignal(signal="HUP", unit="a b.service"),
        NotifySignal(signal="HUP", unit="*"),
    ],
)
def test_an_entry_that_can_not_work_is_a_configuration_error(spec: NotifySignal) -> None:
    with pytest.raises(ConfigurationError):
        notifier(spec)


def test_targets_name_signal_and_receiver() -> None:
    specs = [
        NotifySignal(signal="usr1", pid_file=Path("/run/app.pid")),
        NotifySignal(signal="SIGHUP", process=Path("/usr/bin/app")),
        NotifySignal(signal="HUP", unit="app.service"),
    ]
    assert [notifier(spec).target for spec in specs] == [
        "SIGUSR1 to /run/app.pid",
        "SIGHUP to /usr/bin/app",
        "SIGHUP to app.service",
    ]

"""The child of `run`: has what it is given, is told of changes, and its end is ours."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import OnChangeSignal, Process, Stop
from agent.core.clock import Clock, SystemClock
from agent.core.errors import DeliveryError
from agent.core.events import (
    Event,
    ProcessEnded,
    ProcessSignalled,
    ProcessStarted,
    ProcessStopping,
)
from agent.delivery.process.child import ChildProcess
from agent.delivery.process.provision import Provision
from agent.delivery.process.spawn import children
from tests.rig.clock import JumpClock
from tests.rig.descriptors import open_descriptors
from tests.rig.needs import needs_root
from tests.rig.reports import PATIENCE, Reports, end_of, reports

RUNS_ON_EVERY_LOOP = True

QUICK = Process(debounce=0.0, stop=Stop(timeout=5.0))
SAYS_PASSWORD = 'echo "$PASSWORD" >"$REPORTS"; exec sleep 60'
# A shell waits for its child before it looks at signals; `read` on a FIFO it interrupts.
LISTENS = 'for s in HUP USR1 USR2 WINCH INT; do trap "echo $s >\\"$REPORTS\\"" $s; done; '
# Not `read`, with -t or without: a shell can miss a signal that comes just before it waits.
WAITS = 'echo ready >"$REPORTS"; while :; do sleep 0.02; done'


class Life:
    """A supervised child in its task, and all that happened."""

    child: ChildProcess
    told: Reports
    task: asyncio.Task[int]

    def __init__(self, clock: Clock) -> None:
        self.events: list[Event] = []
        self._clock, self._instants = clock, list[float]()
        self._more = asyncio.Event()

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._instants.append(self._clock.now())
        self._more.set()

    def at(self, kind: type[Event], number: int) -> float:
        """The instant of the clock at which the event with this number, from 0, happened."""
        instants = zip(self.events, self._instants, strict=True)
        return [at for event, at in instants if type(event) is kind][number]

    async def has(self, kind: type[Event], times: int) -> None:
        """Wait, in real time, for as many events: these are real processes."""
        async with asyncio.timeout(PATIENCE):
            while len(self.all(kind)) < times:
                self._more.clear()
                await self._more.wait()

    async def code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self.task)


Live = Callable[..., AbstractAsyncContextManager[Life]]


def password(value: str, **more: Any) -> Provision:
    return Provision({"PASSWORD": value}, **more)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """`async with live(script, spec) as life`: a shell with the script, under supervision."""

    @asynccontextmanager
    async def lives(
        script: str,
        spec: Process = QUICK,
        first: Provision | None = None,
        *,
        clock: Clock | None = None,
        base: dict[str, str] | None = None,
        withhold: tuple[str, ...] = (),
    ) -> AsyncIterator[Life]:
        os.mkfifo(tmp_path / "never")
        clock = clock or SystemClock()
        life = Life(clock)
        environment = {"PATH": os.environ["PATH"], "REPORTS": str(tmp_path / "reports")}
        environment |= {"NEVER": str(tmp_path / "never"), **(base or {})}
        child = life.child = ChildProcess(
            spec,
            ["/bin/sh", "-c", script],
            clock=clock,
            emit=life.emit,
            base_environment=environment,
            withhold=withhold,
        )
        with reports(tmp_path) as told:
            life.told = told
            life.task = asyncio.create_task(child.run(first or password("one")))
            try:
                yield life
            finally:
                child.kill("the test is over")
                await asyncio.wait([life.task])
        assert not children

    return lives


def refuse(event: Event) -> None:
    pytest.fail(f"happened: {event}")


# --- its end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -SEGV $$", 139), ("kill $$", 143)]
)
async def test_its_exit_code_is_ours(live: Live, script: str, code: int) -> None:
    async with live(script) as life:
        assert await life.code() == code
        assert [event.code for event in life.all(ProcessEnded)] == [code]


async def test_stop_sends_the_stop_signal_and_nothing_else_if_that_is_enough(live: Live) -> None:
    spec = Process(stop=Stop(signal="USR1", timeout=30.0))
    async with live("trap 'exit 5' USR1; " + WAITS, spec) as life:
        await life.told.next()
        assert await life.child.stop("SIGTERM") == 5
        assert await life.code() == 5
        assert life.all(ProcessStopping)[0].reason == "SIGTERM"


async def test_a_child_that_ignores_its_stop_signal_is_killed_with_its_group(
    live: Live, clock: JumpClock
) -> None:
    script = "trap '' TERM; sleep 60 & " + 'echo $! >"$REPORTS"; ' + WAITS
    async with live(script, clock=clock) as life:
        grandchild = int(await life.told.next())
        assert await life.told.next() == "ready"
        stopping = asyncio.create_task(life.child.stop("SIGTERM"))
        await clock.advance(QUICK.stop.timeout - 0.1)
        assert not stopping.done()
        await clock.advance(0.2)
        assert await stopping == 128 + signal.SIGKILL
        await end_of(grandchild)


async def test_a_stopped_child_can_be_stopped(live: Live) -> None:
    async with live(WAITS) as life:
        await life.told.next()
        os.kill(life.all(ProcessStarted)[0].pid, signal.SIGSTOP)
        assert await life.child.stop("SIGTERM") == 128 + signal.SIGTERM


async def test_asked_twice_it_is_killed_at_once(live: Live) -> None:
    async with live("trap '' TERM; " + WAITS) as life:
        await life.told.next()
        stopping = asyncio.create_task(life.child.stop("SIGTERM"))
        await asyncio.sleep(0)
        life.child.kill("SIGTERM again")
        assert await stopping == 128 + signal.SIGKILL


async def test_a_cancelled_run_stops_the_child_in_order(live: Live) -> None:
    async with live("trap 'echo bye >\"$REPORTS\"; exit 0' TERM; " + WAITS) as life:
        await life.told.next()
        life.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life.task
        assert await life.told.next() == "bye"


async def test_a_run_cancelled_twice_kills_it(live: Live) -> None:
    async with live("trap '' TERM; " + WAITS) as life:
        await life.told.next()
        life.task.cancel()
        await asyncio.sleep(0)
        life.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(life.task), 5)


async def test_what_it_left_in_its_group_ends_with_it(live: Live) -> None:
    async with live("(trap '' HUP TERM; exec sleep 60) & " + 'echo $! >"$REPORTS"') as life:
        left_behind = int(await life.told.next())
        assert await life.code() == 0
        await end_of(left_behind)


async def test_stop_before_the_start_means_that_there_is_none() -> None:
    child = ChildProcess(QUICK, ["true"], clock=SystemClock(), emit=refuse, base_environment={})
    assert await child.stop("SIGTERM") == 0
    assert await child.run(Provision({})) == 0


async def test_a_command_that_can_not_be_started_is_an_error_with_its_name() -> None:
    child = ChildProcess(
        QUICK, ["/no/such", "s3cret"], clock=SystemClock(), emit=refuse, base_environment={}
    )
    with pytest.raises(DeliveryError, match=r"^/no/such: can't be started: No such file"):
        await child.run(password("s3cret"))
    assert await child.stop("it is not there") == 0


async def test_no_event_carries_arguments_or_values(live: Live) -> None:
    async with live("exit 0 # argument", QUICK, password("s3cret")) as life:
        await life.code()
        told = "".join(f"{event}{event!r}" for event in life.events)
        assert "s3cret" not in told
        assert "argument" not in told
        assert "sh started (pid" in told


# --- what it is given --------------------------------------------------------------------------


async def test_it_has_the_rendered_variables_over_the_agents_own(live: Live) -> None:
    async with live(
        'echo "$PASSWORD $KEPT" >"$REPORTS"', base={"PASSWORD": "old", "KEPT": "kept"}
    ) as life:
        assert await life.told.next() == "one kept"


async def test_it_has_none_of_the_agents_credentials_and_sockets(live: Live) -> None:
    withheld = ["VAULT_TOKEN", "BAO_TOKEN", "CREDENTIALS_DIRECTORY", "MY_SECRET_ID"]
    withheld += ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"]
    base = dict.fromkeys(withheld, "s3cret")
    script = 'env | grep -c s3cret >"$REPORTS"'
    async with live(script, base=base, withhold=("MY_SECRET_ID",)) as life:
        assert await life.told.next() == "0"


async def test_a_withheld_variable_can_be_given_in_so_many_words(live: Live) -> None:
    given = Provision({"VAULT_TOKEN": "its-own"})
    async with live(
        'echo "$VAULT_TOKEN" >"$REPORTS"', QUICK, given, base={"VAULT_TOKEN": "ours"}
    ) as life:
        assert await life.told.next() == "its-own"


async def test_memory_files_are_read_by_the_child_and_by_its_own_children(live: Live) -> None:
    given = Provision({}, {"TLS_KEY_FILE": b"key\n", "TLS_CERT_FILE": b"cert\n"})
    script = 'cat "$TLS_KEY_FILE" >"$REPORTS"; sh -c "cat \\$TLS_CERT_FILE" >"$REPORTS"'
    async with live(script, QUICK, given) as life:
        assert await life.told.next() == "key"
        assert await life.told.next() == "cert"


async def test_it_runs_as_the_user_in_the_folder_it_is_told(live: Live, tmp_path: Path) -> None:
    needs_root()
    user = pwd.getpwnam("nobody")
    spec = Process(user="nobody", working_directory=Path("/"), debounce=0.0)
    given = Provision({}, {"KEY": b"s3cret"})
    tell = 'echo "$(id -u) $(id -g) $(id -G) $USER $LOGNAME $HOME $(pwd) $(cat $KEY)" >&9'
    fifo = tmp_path / "reports"
    async with live(f"exec 9>{fifo}; " + tell, spec, given) as life:
        for parent in [fifo, *list(fifo.parents)[:-1]]:
            opened = parent.stat().st_mode | (0o002 if parent == fifo else 0o001)
            parent.chmod(opened & 0o7777)
        groups = " ".join(str(each) for each in os.getgrouplist("nobody", user.pw_gid))
        expected = f"{user.pw_uid} {user.pw_gid} {groups} nobody nobody {user.pw_dir} / s3cret"
        assert await life.told.next() == expected


async def test_an_unknown_user_is_named_and_nothing_is_started() -> None:
    child = ChildProcess(
        Process(user="no-such-user"),
        ["true"],
        clock=SystemClock(),
        emit=refuse,
        base_environment={},
    )
    with pytest.raises(DeliveryError, match="user 'no-such-user'"):
        await child.run(Provision({}))


async def test_no_descriptor_is_leaked_by_many_lives(live: Live) -> None:
    before = len(open_descriptors())
    given = Provision({"PASSWORD": "0"}, {"KEY": b"0"})
    async with live('ls /proc/self/fd | wc -l >"$REPORTS"; ' + SAYS_PASSWORD, QUICK, given) as life:
        while_alive = set()
        for number in range(1, 6):
            # 0 1 2, the memory file, the guard, and the folder that ls reads
            assert int(await life.told.next()) == 6
            assert await life.told.next() == str(number - 1)
            while_alive.add(len(open_descriptors()))
            new = Provision({"PASSWORD": str(number)}, {"KEY": b"%d" % number})
            await applied(life.child.provide(new))
        assert len(while_alive) == 1
    assert len(open_descriptors()) == before


# --- a change ----------------------------------------------------------------------------------


async def applied(result: Awaitable[bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await result


async def test_a_changed_environment_restarts_it(live: Live) -> None:
    async with live(SAYS_PASSWORD) as life:
        assert await life.told.next() == "one"
        first = life.all(ProcessStarted)[0].pid
        await applied(life.child.provide(password("two")))
        assert first not in children, "confirmed before the old one was gone"
        assert await life.told.next() == "two"
        assert life.all(ProcessEnded)[0].code == 128 + signal.SIGTERM
        assert life.all(ProcessEnded)[0].retry_after is None


async def test_the_same_again_does_nothing(live: Live) -> None:
    async with live(SAYS_PASSWORD) as life:
        await applied(life.child.provide(password("one")))
        assert not life.all(ProcessStopping)


async def test_changes_within_the_debounce_are_one_restart_with_the_newest(
    live: Live, clock: JumpClock
) -> None:
    spec = Process(debounce=2.0)
    async with live(SAYS_PASSWORD, spec, clock=clock) as life:
        assert await life.told.next() == "one"
        results = [life.child.provide(password(value)) for value in ("two", "three")]
        await clock.advance(1.9)
        assert not life.all(ProcessStopping)
        results.append(life.child.provide(password("four")))
        await clock.advance(0.2)
        assert await life.told.next() == "four"
        for result in results:
            await applied(result)
        assert len(life.all(ProcessStarted)) == 2


async def test_a_change_during_a_restart_is_in_the_next_life_and_costs_no_other(
    live: Live,
) -> None:
    script = 'trap "echo stopping >\\"$REPORTS\\"; read l <\\"$NEVER\\"; exit 0" TERM; '
    async with live(script + 'echo "$PASSWORD" >"$REPORTS"; ' + WAITS) as life:
        assert [await life.told.next() for _ in range(2)] == ["one", "ready"]
        second = life.child.provide(password("two"))
        assert await life.told.next() == "stopping"
        third = life.child.provide(password("three"))
        never = Path(life.told.path).with_name("never")
        await asyncio.to_thread(never.write_text, "go on\n")
        await applied(second)
        await applied(third)
        assert [await life.told.next() for _ in range(2)] == ["three", "ready"]
        assert len(life.all(ProcessStarted)) == 2


async def test_a_signal_tells_of_new_files_and_a_restart_of_the_rest(live: Live) -> None:
    spec = Process(debounce=0.0, on_change=OnChangeSignal(signal="USR1"))
    async with live(LISTENS + WAITS, spec, password("one", generations={"app": 1})) as life:
        assert await life.told.next() == "ready"
        await applied(life.child.provide(password("one", generations={"app": 2})))
        assert await life.told.next() == "USR1"
        assert [event.signal for event in life.all(ProcessSignalled)] == ["SIGUSR1"]
        assert len(life.all(ProcessStarted)) == 1
        await applied(life.child.provide(password("two", generations={"app": 3})))
        assert await life.told.next() == "ready"
        assert len(life.all(ProcessStarted)) == 2
        await applied(life.child.provide(password("two", memory_files={"KEY": b"new"})))
        assert await life.told.next() == "ready"
        assert len(life.all(ProcessStarted)) == 3


async def test_told_to_do_nothing_it_gets_a_change_at_its_next_start(
    live: Live, clock: JumpClock
) -> None:
    spec = Process(debounce=0.0, on_change="none", on_exit="restart")
    async with live(SAYS_PASSWORD, spec, clock=clock) as life:
        assert await life.told.next() == "one"
        result = asyncio.ensure_future(life.child.provide(password("two")))
        await clock.advance(10)
        assert not result.done()
        os.kill(life.all(ProcessStarted)[0].pid, signal.SIGKILL)
        await life.has(ProcessEnded, 1)
        await clock.advance(1.0)
        assert await life.told.next() == "two"
        await applied(result)


async def test_a_change_that_came_too_late_is_said_not_to_have_been_applied(live: Live) -> None:
    async with live('read line <"$NEVER"', Process(debounce=60.0)) as life:
        await asyncio.sleep(0)
        result = life.child.provide(password("two"))
        await life.child.stop("SIGTERM")
        async with asyncio.timeout(PATIENCE):
            assert await result is False


# --- crashes -----------------------------------------------------------------------------------


async def test_a_crashing_child_is_started_again_later_and_later(
    live: Live, clock: JumpClock
) -> None:
    spec = Process(on_exit="restart_on_failure")
    async with live("exit 7", spec, clock=clock) as life:
        for times in range(1, 9):
            await life.has(ProcessEnded, times)
            delay = life.all(ProcessEnded)[-1].retry_after
            assert 0.1 <= delay <= min(60.0, 2.0 ** (times - 1))
            await clock.advance(delay)
            await life.has(ProcessStarted, times + 1)
            assert life.at(ProcessStarted, times) == pytest.approx(
                life.at(ProcessEnded, times - 1) + delay
            )


async def test_a_life_of_a_minute_forgives_the_crashes_before(live: Live, clock: JumpClock) -> None:
    spec = Process(on_exit="restart")
    async with live('read code <"$NEVER"; exit $code', spec, clock=clock) as life:
        never = life.told.path.with_name("never")
        for times in range(1, 7):
            await asyncio.to_thread(never.write_text, "1\n")
            await life.has(ProcessEnded, times)
            await clock.advance(60)
            await life.has(ProcessStarted, times + 1)
        await clock.advance(60)
        await asyncio.to_thread(never.write_text, "0\n")
        await life.has(ProcessEnded, 7)
        assert life.all(ProcessEnded)[-1].retry_after <= 1.0


async def test_success_ends_what_is_restarted_on_failure_only(live: Live) -> None:
    async with live("exit 0", Process(on_exit="restart_on_failure")) as life:
        assert await life.code() == 0


async def test_stop_ends_the_wait_for_the_next_start(live: Live, clock: JumpClock) -> None:
    async with live("exit 7", Process(on_exit="restart"), clock=clock) as life:
        await life.has(ProcessEnded, 1)
        assert await life.child.stop("SIGTERM") == 7


# --- signals -----------------------------------------------------------------------------------


async def test_signals_are_forwarded_each_once(live: Live) -> None:
    async with live(LISTENS + WAITS) as life:
        assert await life.told.next() == "ready"
        for name in ("USR1", "USR2", "WINCH", "INT", "HUP"):
            life.child.forward(signal.Signals[f"SIG{name}"])
            assert await life.told.next() == name
        assert not life.told.lines


async def test_a_signal_before_the_start_or_after_the_end_is_no_error(live: Live) -> None:
    async with live("exit 0") as life:
        life.child.forward(signal.SIGUSR1)
        await life.code()
        life.child.forward(signal.SIGUSR1)

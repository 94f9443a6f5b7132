"""The app is asked until it has proved that it works, or its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent.config.model import Confirm, ConfirmCommand, ConfirmHttp
from agent.core.clock import SystemClock
from agent.core.errors import ConfigurationError, ConfirmError
from agent.delivery.announcement import Announcement
from agent.delivery.confirm import HttpQuestion, Polled, confirmation
from tests.rig.clock import JumpClock
from tests.rig.processes import free_port
from tests.rig.raw_server import silent

NEWS = Announcement("web", Path("/run/web"), 7)


class Answers:
    """A question with its answers prepared: None is yes. The last one is given again and again."""

    target = "the app"

    def __init__(self, clock: JumpClock, *answers: str | None, takes: float = 0.0) -> None:
        self._clock, self._takes = clock, takes
        self._answers = list(answers)
        self._started_at = clock.now()
        self.asked: list[tuple[float, float]] = []

    async def prepare(self, announcement: Announcement) -> None:
        """Nothing to see."""

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        """The answer, which takes a while, but never more than the time given."""
        self.asked.append((round(self._clock.now() - self._started_at, 6), round(timeout, 6)))
        await self._clock.sleep(min(self._takes, timeout))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def outcome(clock: JumpClock, answers: Answers, *, timeout: float, every: float) -> str:
    """What became of it: "confirmed" or the error's text."""
    polled = Polled(answers, timeout=timeout, every=every, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_text(polled))
        await clock.run_until(task.done, within=2 * timeout)
    return task.result()


async def _text(polled: Polled) -> str:
    try:
        await polled.confirm(NEWS)
    except ConfirmError as error:
        return str(error)
    return "confirmed"


async def test_an_app_that_proves_it_at_once_is_asked_once(clock: JumpClock) -> None:
    answers = Answers(clock, None)
    assert await outcome(clock, answers, timeout=30, every=1) == "confirmed"
    assert answers.asked == [(0, 30)]


async def test_an_app_is_asked_again_after_each_pause(clock: JumpClock) -> None:
    answers = Answers(clock, "status 503, wanted 200", "no connection", None, takes=0.5)
    assert await outcome(clock, answers, timeout=30, every=1) == "confirmed"
    assert answers.asked == [(0, 30), (1.5, 28.5), (3, 27)]


async def test_the_time_holds_strictly_and_the_error_has_the_last_answer(clock: JumpClock) -> None:
    began_at = clock.now()
    answers = Answers(clock, "no connection", "status 503, wanted 200", takes=4)
    text = await outcome(clock, answers, timeout=10, every=1)
    assert text == ("the app: not confirmed within 10 s; last answer: status 503, wanted 200")
    assert clock.now() - began_at == pytest.approx(10, abs=1e-6)
    assert answers.asked == [(0, 10), (5, 5)]


async def test_a_question_that_the_end_of_the_time_cuts_short_hides_no_answer(
    clock: JumpClock,
) -> None:
    answers = Answers(clock, "status 503, wanted 200", "no answer within 3 s", takes=6)
    text = await outcome(clock, answers, timeout=10, every=1)
    assert answers.asked == [(0, 10), (7, 3)]
    assert text.endswith("last answer: status 503, wanted 200")


async def test_the_only_question_may_take_all_the_time(clock: JumpClock) -> None:
    text = await outcome(clock, Answers(clock, "no end within 10 s", takes=60), timeout=10, every=1)
    assert text.endswith("last answer: no end within 10 s")


async def test_a_pause_does_not_outlast_the_time(clock: JumpClock) -> None:
    began_at = clock.now()
    await outcome(clock, Answers(clock, "no"), timeout=10, every=60)
    assert clock.now() - began_at == pytest.approx(10, abs=1e-6)


# --- with real apps ---------------------------------------------------------------------------


async def confirmed(spec: Confirm) -> str:
    way = confirmation(spec, SystemClock())
    try:
        await way.confirm(NEWS)
    except ConfirmError as error:
        assert error.target == way.target
        return error.reason
    return "confirmed"


def serving(*statuses: int) -> Callable[[web.BaseRequest], object]:
    """A handler that answers with these, the last one again and again."""
    left = list(statuses)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert (request.method, request.path) == ("GET", "/health")
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0])

    return answer


async def started(handler: Callable[[web.BaseRequest], object], port: int) -> web.ServerRunner:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.01)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def health(port: int, *, timeout: float, status: int = 200) -> ConfirmHttp:
    url = f"http://127.0.0.1:{port}/health?token=hunter2"
    return ConfirmHttp(http=url, timeout=timeout, every=0.05, status=status)


async def test_an_app_confirms_once_it_is_up_and_well() -> None:
    port = free_port()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(confirmed(health(port, timeout=10)))
        runner = await started(serving(503, 503, 200), port)
    await runner.cleanup()
    assert asking.result() == "confirmed"


async def test_the_status_wanted_is_the_one_that_confirms() -> None:
    runner = await started(serving(204), port := free_port())
    assert await confirmed(health(port, timeout=5, status=204)) == "confirmed"
    refused = await confirmed(health(port, timeout=0.1))
    await runner.cleanup()
    assert refused == "not confirmed within 0.1 s; last answer: status 204, wanted 200"


async def test_an_app_that_hangs_does_not_confirm() -> None:
    async with silent() as url:
        refused = await confirmed(ConfirmHttp(http=url, timeout=0.2))
    assert refused.startswith("not confirmed within 0.2 s; last answer: no answer within 0.")


async def test_the_target_is_free_of_secrets() -> None:
    spec = health(8080, timeout=1)
    assert confirmation(spec, SystemClock()).target == "GET http://127.0.0.1:8080/health"
    command = ConfirmCommand(command=("/usr/bin/psql", "hunter2"))
    assert confirmation(command, SystemClock()).target == "command /usr/bin/psql"


def shell(script: str, *, timeout: float) -> ConfirmCommand:
    return ConfirmCommand(command=("sh", "-c", script), timeout=timeout, every=0.05)


async def test_a_command_is_run_until_it_ends_with_0(tmp_path: Path) -> None:
    script = f'cd {tmp_path}; echo "$LEASEHOLD_GENERATION" >>runs; test "$(wc -l <runs)" -ge 3'
    assert await confirmed(shell(script, timeout=10)) == "confirmed"
    assert (tmp_path / "runs").read_text() == "7\n" * 3


async def test_a_command_that_never_ends_with_0_does_not_confirm() -> None:
    refused = await confirmed(shell("exit 3", timeout=0.1))
    assert refused == "not confirmed within 0.1 s; last answer: exit code 3"


async def test_a_command_without_end_does_not_confirm() -> None:
    refused = await confirmed(shell("exec sleep 600", timeout=0.1))
    assert refused.startswith("not confirmed within 0.1 s; last answer: no end within 0.")


def test_a_url_that_can_not_work_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        confirmation(ConfirmHttp(http="app/health"), SystemClock())


async def test_one_question_takes_a_part_of_the_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.delivery.confirm.REQUEST_SECONDS", 0.1)
    async with silent() as url:
        question = HttpQuestion(ConfirmHttp(http=url))
        assert await question.ask(NEWS, 30) == "no answer within 0.1 s"

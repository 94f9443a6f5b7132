"""POST /drill: who may rehearse, how often, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from agent.config.addresses import host_and_port
from agent.config.model import Telemetry
from agent.core.errors import PublishError
from agent.telemetry.drill import DRILL_PAUSE, DrillDoor
from agent.telemetry.metrics import Metrics
from agent.telemetry.server import TelemetryServer
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock
from tests.rig.waiting import eventually
from tests.unit.telemetry.test_server import ANY_PORT, running


class Rehearsals:
    """The bundle `app`; a drill takes until `over` is set."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str | None]] = []
        self.ended = 0
        self.over = asyncio.Event()
        self.over.set()
        self.reason: str | None = None
        self.refusal: str | None = None

    async def __call__(self, bundle: str, fail: str | None) -> dict[str, Any] | None:
        if bundle not in ("app", "web"):
            return None
        if self.refusal is not None:
            raise PublishError(bundle, self.refusal)
        self.begun.append((bundle, fail))
        await self.over.wait()
        self.ended += 1
        return self.report(bundle)

    def report(self, bundle: str) -> dict[str, Any]:
        step = {"step": "notify", "seconds": 0.5, "ok": self.reason is None, "reason": self.reason}
        return {"bundle": bundle, "generation": 2, "outcome": "survived", "steps": [step]}


@pytest.fixture
async def rehearsals() -> Rehearsals:
    return Rehearsals()


@pytest.fixture
async def http(
    status: Status, clock: JumpClock, rehearsals: Rehearsals
) -> AsyncIterator[aiohttp.ClientSession]:
    door = DrillDoor(rehearsals, clock, lambda text: text.replace("s3cr3t", "[redacted]"))
    server = TelemetryServer(ANY_PORT, status, Metrics(status, clock), doors={"/drill": door})
    async with (
        running(server),
        aiohttp.ClientSession(f"http://{server.address}") as session,
    ):
        yield session


async def post(http: aiohttp.ClientSession, wish: Any) -> tuple[int, dict[str, Any]]:
    async with http.post("/drill", json=wish) as answer:
        kind = "application/json" if answer.status == 200 else "application/problem+json"
        assert answer.content_type == kind
        return answer.status, await answer.json(content_type=kind)


async def test_the_report_is_answered_once_the_drill_is_over(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, clock: JumpClock
) -> None:
    assert await post(http, {"bundle": "app"}) == (200, rehearsals.report("app"))
    await clock.advance(DRILL_PAUSE)
    assert (await post(http, {"bundle": "app", "fail": "confirm"}))[0] == 200
    assert rehearsals.begun == [("app", None), ("app", "confirm")]


async def test_at_most_one_a_second(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, clock: JumpClock
) -> None:
    assert (await post(http, {"bundle": "app"}))[0] == 200
    async with asyncio.TaskGroup() as group:
        second = group.create_task(post(http, {"bundle": "web"}))
        await eventually(clock.next_deadline)
        assert len(rehearsals.begun) == 1
        await clock.advance(DRILL_PAUSE)
    assert second.result()[0] == 200
    assert [bundle for bundle, _ in rehearsals.begun] == ["app", "web"]


async def test_one_at_a_time_for_a_bundle_and_others_meanwhile(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, clock: JumpClock
) -> None:
    rehearsals.over.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(post(http, {"bundle": "app"}))
        await eventually(lambda: rehearsals.begun)
        await clock.advance(DRILL_PAUSE)
        status, problem = await post(http, {"bundle": "app"})
        assert (status, problem["detail"]) == (409, "app: a drill is under way")
        other = group.create_task(post(http, {"bundle": "web"}))
        await eventually(lambda: len(rehearsals.begun) == 2)
        rehearsals.over.set()
    assert first.result()[0] == other.result()[0] == 200
    await clock.advance(DRILL_PAUSE)
    assert (await post(http, {"bundle": "app"}))[0] == 200


async def test_who_goes_away_ends_nothing(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, clock: JumpClock
) -> None:
    rehearsals.over.clear()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(post(http, {"bundle": "app"}))
        await eventually(lambda: rehearsals.begun)
        asking.cancel()
    await clock.advance(DRILL_PAUSE)
    assert (await post(http, {"bundle": "app"}))[0] == 409
    rehearsals.over.set()
    await eventually(lambda: rehearsals.ended == 1)
    await clock.advance(DRILL_PAUSE)
    assert (await post(http, {"bundle": "app"}))[0] == 200


async def test_what_is_quoted_is_redacted(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, clock: JumpClock
) -> None:
    rehearsals.reason = "exit code 1: bad password s3cr3t"
    _, report = await post(http, {"bundle": "app"})
    assert report["steps"][0]["reason"] == "exit code 1: bad password [redacted]"
    rehearsals.refusal = "no generation: s3cr3t"
    await clock.advance(DRILL_PAUSE)
    status, problem = await post(http, {"bundle": "app"})
    assert (status, problem["detail"]) == (409, "app: no generation: [redacted]")


async def test_an_unknown_bundle_is_not_found(http: aiohttp.ClientSession) -> None:
    status, problem = await post(http, {"bundle": "ap"})
    assert (status, problem["detail"]) == (404, "no bundle of this name: ap")


@pytest.mark.parametrize(
    "wish",
    [{}, [], {"bundle": None}, {"bundle": "app", "fail": "notify"}, {"bundle": "app", "x": 1}],
)
async def test_a_body_of_another_form_is_refused(
    http: aiohttp.ClientSession, rehearsals: Rehearsals, wish: Any
) -> None:
    status, problem = await post(http, wish)
    assert status == 400 and problem["detail"].startswith('the body must be {"bundle": NAME}')
    assert not rehearsals.begun


async def test_neither_a_page_in_a_browser_nor_another_host_may(
    http: aiohttp.ClientSession, status: Status, clock: JumpClock, rehearsals: Rehearsals
) -> None:
    async with http.post("/drill", data=b'{"bundle":"app"}') as answer:
        assert answer.status == 415
    async with http.get("/drill") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    door = DrillDoor(rehearsals, clock, str)
    spec = Telemetry(address="0.0.0.0:0")
    server = TelemetryServer(spec, status, Metrics(status, clock), doors={"/drill": door})
    async with running(server):
        _, port = host_and_port(server.address)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert (await post(session, {"bundle": "app"}))[0] == 403
    assert not rehearsals.begun

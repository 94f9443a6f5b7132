"""POST /drill: rehearse a rotation of one bundle with its running app, and say what came of it.

The body is `{"bundle": NAME}`, with `"fail": "confirm"` to have the app's confirmation taken for a
failure and see the rollback. The answer comes once the drill is over: 200 and its report, whatever
the outcome; what it quotes of others is redacted. Each drill makes an app reload, so there is one
at a time for a bundle, and none begins within DRILL_PAUSE seconds of another; a client that goes
away ends none half-way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.telemetry.wishes import Door, Refused

DRILL_PAUSE = 1.0

Drill = Callable[[str, str | None], Awaitable[dict[str, Any] | None]]
"""A bundle's name and the step that is to fail: the report, None where there is no such bundle.

`steps` of the report are objects that may have a `reason`. AgentError: no drill can be had now.
"""


async def nothing_to_drill(bundle: str, fail: str | None) -> None:
    """A `Drill` for an agent without bundles."""


class DrillWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    bundle: str
    fail: Literal["confirm"] | None = None


class DrillDoor(Door[DrillWish]):
    """Passes wishes on to a `Drill`, and waits for the report."""

    wish = DrillWish
    form = '{"bundle": NAME}, or {"bundle": NAME, "fail": "confirm"}'

    def __init__(self, drill: Drill, clock: Clock, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._drill, self._clock, self._redact = drill, clock, redact
        self._under_way: set[str] = set()
        self._next_at = 0.0

    async def fulfil(self, wish: DrillWish) -> tuple[HTTPStatus, object]:
        if wish.bundle in self._under_way:
            raise Refused(HTTPStatus.CONFLICT, f"{wish.bundle}: a drill is under way")
        self._under_way.add(wish.bundle)
        try:
            await self._turn()
            report = await self._drill(wish.bundle, wish.fail)
        except AgentError as error:
            raise Refused(HTTPStatus.CONFLICT, self._redact(str(error))) from None
        finally:
            self._under_way.discard(wish.bundle)
        if report is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"no bundle of this name: {wish.bundle}")
        return HTTPStatus.OK, report | {"steps": [self._redacted(each) for each in report["steps"]]}

    def _redacted(self, step: dict[str, Any]) -> dict[str, Any]:
        return step | {"reason": self._redact(step["reason"])} if step.get("reason") else step

    async def _turn(self) -> None:
        now = self._clock.now()
        begins_at = max(now, self._next_at)
        self._next_at = begins_at + DRILL_PAUSE
        await self._clock.sleep(begins_at - now)

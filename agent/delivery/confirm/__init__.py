"""The app's proof that it works with the new generation."""

from __future__ import annotations

from typing import Protocol

from agent.config.model import Confirm, ConfirmApi, ConfirmCommand, ConfirmFile, ConfirmHttp
from agent.core.clock import Clock
from agent.core.errors import ConfirmError, DeliveryError
from agent.core.events import duration
from agent.delivery.announcement import Announcement, failure, named

REQUEST_SECONDS = 5.0
"""The longest that one HTTP question may take: an app that hangs now may answer the next one."""


class Confirmation(Protocol):
    """One way to have the proof. Nothing of it is left running when `confirm` is cancelled."""

    @property
    def target(self) -> str:
        """Who is asked, for logs. Holds no secret."""

    async def prepare(self, announcement: Announcement) -> None:
        """Before the app can know of a generation: see what will be different once it confirms.

        Said again for the same generation, it changes nothing.
        """

    async def confirm(self, announcement: Announcement) -> None:
        """Return once confirmed; ConfirmError, with the last answer, when the time is up."""


class Question(Protocol):
    """What is asked again and again."""

    @property
    def target(self) -> str: ...

    async def prepare(self, announcement: Announcement) -> None:
        """As of Confirmation."""

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        """None is yes; else why not, in words, within `timeout` seconds."""


def confirmation(spec: Confirm, clock: Clock) -> Confirmation:
    """The confirmation of a `confirm` entry; ConfigurationError if the entry can't work."""
    if isinstance(spec, ConfirmApi):
        from agent.delivery.confirm.api import AppsWord

        return AppsWord(spec, clock)
    return Polled(_question(spec, clock), timeout=spec.timeout, every=spec.every, clock=clock)


def _question(spec: ConfirmHttp | ConfirmCommand | ConfirmFile, clock: Clock) -> Question:
    match spec:
        case ConfirmHttp():
            return HttpQuestion(spec)
        case ConfirmCommand():
            return CommandQuestion(spec)
        case ConfirmFile():
            from agent.delivery.confirm.file import GenerationFile, TouchedFile

            by_content = spec.content == "generation"
            return GenerationFile(spec.file) if by_content else TouchedFile(spec.file, clock)


SHORTEST_QUESTION = 0.05
"""Seconds; what is asked later than this before the end is not answered in time."""


class Polled:
    """Asks every `every` seconds, for `timeout` seconds in all."""

    def __init__(self, question: Question, *, timeout: float, every: float, clock: Clock) -> None:
        self._question, self._timeout, self._every = question, timeout, every
        self._clock = clock
        self.target = question.target

    async def prepare(self, announcement: Announcement) -> None:
        await self._question.prepare(announcement)

    async def confirm(self, announcement: Announcement) -> None:
        """Ask at once, then after each pause. A question that our own deadline cuts short tells
        less than the one before.
        """
        deadline = self._clock.now() + self._timeout
        left, answer = self._timeout, "none"
        while answer == "none" or left > SHORTEST_QUESTION:
            if (denial := await self._question.ask(announcement, left)) is None:
                return
            if answer == "none" or self._clock.now() < deadline - SHORTEST_QUESTION:
                answer = denial
            await self._clock.sleep(min(self._every, max(0.0, deadline - self._clock.now())))
            left = deadline - self._clock.now()
        reason = f"not confirmed within {duration(self._timeout)}; last answer: {answer}"
        raise ConfirmError(self.target, reason)


class _Stateless:
    """A question that needs nothing seen before."""

    async def prepare(self, announcement: Announcement) -> None:
        return


class HttpQuestion(_Stateless):
    """Is this the status?"""

    def __init__(self, spec: ConfirmHttp) -> None:
        from agent.delivery.http import endpoint

        self._endpoint = endpoint(spec.http)
        self._wanted = spec.status
        self.target = f"GET {self._endpoint.shown}"

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        try:
            status = await self._endpoint.ask("GET", timeout=min(timeout, REQUEST_SECONDS))
        except DeliveryError as error:
            return error.reason
        return None if status == self._wanted else f"status {status}, wanted {self._wanted}"


class CommandQuestion(_Stateless):
    """Does this command end with 0?"""

    def __init__(self, spec: ConfirmCommand) -> None:
        self._command = spec.command
        self.target = named(spec.command)

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        return await failure(self._command, announcement, timeout)

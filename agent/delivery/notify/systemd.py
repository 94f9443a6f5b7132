"""What systemd does for us, through `systemctl`: reload or restart a unit, and know its pid.

systemctl and not D-Bus: where systemd is, it is; it waits for the job and has words for failures.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass

from agent.config.model import NotifySystemd
from agent.core.errors import ConfigurationError, DeliveryError, NotifyError
from agent.core.events import duration
from agent.delivery.announcement import DEFAULT_PATH, Announcement, harmless_environment
from agent.delivery.process.spawn import Ended, run_command

REASON_LIMIT = 300
QUERY_SECONDS = 10.0

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}")  # unit_name_is_valid; a pattern would match many
_PLAIN_WORDS = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0"}


@dataclass(frozen=True)
class UnitState:
    """Of `systemctl show`: LoadState, ActiveState, and MainPID (0: there is none)."""

    load: str
    active: str
    main_pid: int

    @property
    def is_found(self) -> bool:
        return self.load != "not-found"

    @property
    def is_stopped(self) -> bool:
        """Stopped on purpose, or never started."""
        return self.active in ("inactive", "deactivating")

    @property
    def has_failed(self) -> bool:
        return self.active == "failed"


class Unit:
    """A unit, asked about and acted upon. Every method raises NotifyError for `target`."""

    def __init__(self, name: str, target: str) -> None:
        if not _UNIT.fullmatch(name):
            raise ConfigurationError([f"systemd: {name!r} is not the name of a unit"])
        self.name, self._target = name, target
        self._systemctl: str | None = None

    async def state(self) -> UnitState:
        """Its state now; a unit that systemd does not know is an error."""
        properties = "LoadState,ActiveState,MainPID"
        told = await self._output("show", "--property", properties, timeout=QUERY_SECONDS)
        found = dict(line.partition("=")[::2] for line in told.splitlines())
        state = UnitState(
            found.get("LoadState", ""),
            found.get("ActiveState", ""),
            int(found.get("MainPID") or 0),
        )
        if not state.is_found:
            raise NotifyError(self._target, "there is no such unit")
        return state

    async def act(self, action: str, *, timeout: float) -> None:
        """Have it reloaded or restarted, and wait for the end of that."""
        await self._output(action, timeout=timeout)

    async def _output(self, verb: str, *options: str, timeout: float) -> str:
        ended = await self._run([verb, *options, "--", self.name], timeout)
        if ended.is_timeout:
            raise NotifyError(self._target, f"systemctl {verb}: no end within {duration(timeout)}")
        if ended.code:
            words = _words(ended.output) or f"exit code {ended.code}"
            raise NotifyError(self._target, f"systemctl {verb}: {words}")
        return ended.output

    async def _run(self, arguments: list[str], timeout: float) -> Ended:
        command = [await self._found(), "--system", "--no-ask-password", "--no-pager", *arguments]
        environment = harmless_environment() | _PLAIN_WORDS
        try:
            return await run_command(command, environment=environment, timeout=timeout)
        except DeliveryError as error:
            raise NotifyError(self._target, f"systemctl {error.reason}") from None

    async def _found(self) -> str:
        if self._systemctl is None:
            path = harmless_environment()["PATH"] or DEFAULT_PATH
            self._systemctl = await asyncio.to_thread(shutil.which, "systemctl", path=path)
        if self._systemctl is None:
            raise NotifyError(self._target, "systemctl is not installed")
        return self._systemctl


def _words(output: str) -> str:
    """systemctl's own message on one line; it knows nothing of secrets."""
    line = "; ".join(each.strip() for each in output.splitlines() if each.strip())
    return "".join(each if each.isprintable() else "?" for each in line)[:REASON_LIMIT]


class SystemdNotifier:
    """Reloads or restarts a unit. One that was stopped is left alone: telling must not start it.

    One that *failed* is restarted: the old secret may be what it failed by.
    """

    def __init__(self, spec: NotifySystemd) -> None:
        self._spec = spec
        self.target = f"systemd {spec.action} of {spec.systemd}"
        self._unit = Unit(spec.systemd, self.target)

    async def notify(self, announcement: Announcement) -> None:
        """Have systemd do it, within the time for both questions."""
        try:
            async with asyncio.timeout(self._spec.timeout):
                await self._notify()
        except TimeoutError:
            reason = f"no end within {duration(self._spec.timeout)}"
            raise NotifyError(self.target, reason) from None

    async def _notify(self) -> None:
        state = await self._unit.state()
        if state.is_stopped or (state.has_failed and self._spec.action == "reload"):
            raise NotifyError(self.target, f"the unit is {state.active}", is_absent=True)
        await self._unit.act(self._spec.action, timeout=self._spec.timeout)

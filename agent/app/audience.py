"""Who listens to the events: the log, the metrics, the status, the service manager.

All of it is put in place here, and only what the configuration asks for is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.app.tasks import forever
from agent.config.model import Configuration, Telemetry
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.events import Advice, Emit, Event, ProcessStarted
from agent.core.secret import Field
from agent.delivery.generations.ownership import gid_of, uid_of
from agent.ledger import Ledger
from agent.telemetry.drill import Drill, DrillDoor, nothing_to_drill
from agent.telemetry.logs import Log
from agent.telemetry.redaction import Redactor
from agent.telemetry.refresh import Refresh, RefreshDoor, nobody_asked
from agent.telemetry.status import Status
from agent.telemetry.systemd import Systemd

if TYPE_CHECKING:
    from agent.telemetry.metrics import Metrics
    from agent.telemetry.server import TelemetryServer


class Audience:
    """An `Emit` that passes each event on, in order, at last to those in `also`.

    Lives through reloads.
    """

    def __init__(
        self, configuration: Configuration, ledger: Ledger, clock: Clock, *, has_process: bool
    ) -> None:
        self._ledger, self._clock = ledger, clock
        self._redact = self.redact = Redactor(self._values)
        self.also: tuple[Emit, ...] = ()
        self.process_started = asyncio.Event()
        self.on_refresh: Refresh = nobody_asked
        self.on_drill: Drill = nothing_to_drill
        self.status = Status(
            ledger,
            clock,
            redact=self._redact,
            is_process_started=lambda: not has_process or self.process_started.is_set(),
        )
        self._log = Log(configuration.log, redact=self._redact, clock=clock)
        self._systemd = Systemd(self.status.summary, clock)
        self._telemetry_changed = asyncio.Event()
        self._configuration = configuration
        self._metrics = None if configuration.telemetry is None else self._new_metrics()
        self.status.expect(configuration)

    def __call__(self, event: Event, *, is_quiet: bool = False) -> None:
        """Pass the event on; `is_quiet`: but not to the log."""
        if isinstance(event, ProcessStarted):
            self.process_started.set()
        self._redact.note(event)
        self.status(event)
        if self._metrics is not None:
            self._metrics(event)
        if not is_quiet:
            self._log(event)
        self._systemd(event)
        for each in self.also:
            each(event)

    def reconfigured(self, configuration: Configuration) -> None:
        """Another configuration is at work."""
        self.status.expect(configuration)
        self._log.reconfigure(configuration.log)
        if configuration.telemetry != self._configuration.telemetry:
            self._telemetry_changed.set()
        self._configuration = configuration

    async def run(self) -> None:
        """Serve telemetry and give signs of life; never returns."""
        with self._log.capturing():
            async with asyncio.TaskGroup() as group:
                group.create_task(forever(self._systemd.run, "service manager"), name="systemd")
                is_start = True
                while True:
                    self._telemetry_changed.clear()
                    serving = group.create_task(self._serve(is_start), name="telemetry server")
                    await self._clock.wait(self._telemetry_changed)
                    serving.cancel()
                    await asyncio.wait([serving])
                    is_start = False

    async def _serve(self, is_start: bool) -> None:
        """At the start an address that can't be had ends the agent; after a reload it is said."""
        spec = self._configuration.telemetry
        if spec is None:
            return
        try:
            await forever(self._server(spec).run, "telemetry server")
        except AgentError as error:
            if is_start:
                raise
            self(Advice(subject="telemetry", text=str(error)))

    def _server(self, spec: Telemetry) -> TelemetryServer:
        from agent.telemetry.server import TelemetryServer

        if self._metrics is None:
            self._metrics = self._new_metrics()
        uid, gid = uid_of(spec.owner), gid_of(spec.group)
        return TelemetryServer(
            spec,
            self.status,
            self._metrics,
            uid=-1 if uid is None else uid,
            gid=-1 if gid is None else gid,
            is_alive=self._systemd.is_ticking,
            doors={
                "/refresh": RefreshDoor(self.on_refresh),
                "/drill": DrillDoor(self.on_drill, self._clock, self._redact),
            },
        )

    def _new_metrics(self) -> Metrics:
        from agent.telemetry.metrics import Metrics

        return Metrics(self.status, self._clock)

    def _values(self, name: str) -> Iterable[Field]:
        """The fields of a secret as it is held now."""
        reading = self._ledger.entry(name).reading
        return () if reading is None else reading.value.values()

"""The agent as the parent of an app: `leasehold run`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence

from agent.app.composition import Composition
from agent.config.listener_model import SecretsListener
from agent.config.model import Configuration, Process
from agent.core.clock import Clock
from agent.core.errors import DeliveryError
from agent.core.events import Advice, Emit
from agent.delivery.process.reaper import reaping_orphans
from agent.delivery.process.supervision import Supervision


class Parent:
    """Has the child run, through changes of its configuration. `withhold`: variables it won't see.

    `command` wins over the configuration's own.
    """

    def __init__(
        self,
        composition: Composition,
        command: Sequence[str] | None,
        *,
        withhold: Collection[str],
        clock: Clock,
        emit: Emit,
    ) -> None:
        self.withhold = withhold
        self._composition, self._command = composition, command
        self._clock, self._emit = clock, emit
        self._supervision: Supervision | None = None
        self._wants_new_child = False

    async def supervise(self, ended: asyncio.Event) -> int:
        """Run the child until it ends for good, or until `ended`; its exit code."""
        with reaping_orphans():
            while True:
                self._wants_new_child = False
                supervision = self._supervision = self._new_supervision()
                self._composition.on_generation = supervision.look_again
                code = await supervision.run()
                if not self._wants_new_child or ended.is_set():
                    return code

    async def change(self) -> None:
        """The child's configuration is another: it is started anew with that."""
        if self._supervision is not None:
            self._wants_new_child = True
            await self._supervision.stop("its configuration has changed")

    async def stop(self, reason: str) -> bool:
        """Stop the child; False if there is none, as its secrets are still waited for."""
        if self._supervision is None or not self._supervision.child.is_running:
            return False
        await self._supervision.child.stop(reason)
        return True

    def kill(self, reason: str) -> None:
        """At once, if there is a child."""
        if self._supervision is not None:
            self._supervision.child.kill(reason)

    def forward(self, number: int) -> None:
        """Pass a signal on to the child."""
        if self._supervision is None:
            return
        try:
            self._supervision.child.forward(number)
        except DeliveryError as error:
            self._emit(Advice(subject="process", text=f"signal not passed on: {error}"))

    def _new_supervision(self) -> Supervision:
        spec = self._composition.configuration.process or Process()
        return Supervision(
            spec,
            self._command or spec.command,
            self._composition.ledger,
            self._composition,
            clock=self._clock,
            emit=self._emit,
            environment=os.environ | door_of(self._composition.configuration),
            withhold=self.withhold,
        )


def door_of(configuration: Configuration) -> dict[str, str]:
    """Where the child may ask: the first socket of the secrets API, as a variable."""
    found = [each for each in configuration.listeners if isinstance(each, SecretsListener)]
    sockets = [each.socket for each in found if each.socket is not None]
    return {"LEASEHOLD_SOCKET": sockets[0]} if sockets else {}

"""Telling an app by a command of the user's."""

from __future__ import annotations

from agent.config.model import NotifyCommand
from agent.core.errors import NotifyError
from agent.delivery.announcement import Announcement, failure, named


class CommandNotifier:
    """Runs a command, without a shell; it must end with 0 in time."""

    def __init__(self, spec: NotifyCommand) -> None:
        self._spec = spec
        self.target = named(spec.command)

    async def notify(self, announcement: Announcement) -> None:
        """Run it; when its time is up its process group is killed."""
        reason = await failure(self._spec.command, announcement, self._spec.timeout)
        if reason is not None:
            raise NotifyError(self.target, reason)

"""Telling an app that a new generation is there: by signal, systemd, HTTP or a command.

Here is what a bundle knows of it, and one module for each way, imported when one is configured.
When to tell, how often to try again and what a failure means is the bundle's affair.
"""

from __future__ import annotations

from typing import Protocol

from agent.config.model import Notify, NotifyHttp, NotifySignal, NotifySystemd
from agent.delivery.announcement import Announcement

__all__ = ["Announcement", "Notifier", "notifier"]


class Notifier(Protocol):
    """One way to tell one app. Nothing of it is left running when `notify` is cancelled."""

    @property
    def target(self) -> str:
        """Who is told and how, for logs: `signal HUP to /run/app.pid`. Holds no secret."""

    async def notify(self, announcement: Announcement) -> None:
        """Tell the app once; NotifyError if it could not be told, or does not run (`is_absent`)."""


def notifier(spec: Notify) -> Notifier:
    """The notifier of one `notify` entry; ConfigurationError if the entry can't work."""
    match spec:
        case NotifySignal():
            from agent.delivery.notify.signal import signaller

            return signaller(spec)
        case NotifySystemd():
            from agent.delivery.notify.systemd import SystemdNotifier

            return SystemdNotifier(spec)
        case NotifyHttp():
            from agent.delivery.notify.http import HttpNotifier

            return HttpNotifier(spec)
        case _:
            from agent.delivery.notify.command import CommandNotifier

            return CommandNotifier(spec)

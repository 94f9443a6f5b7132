"""Telling an app by an HTTP request."""

from __future__ import annotations

from agent.config.model import NotifyHttp
from agent.core.errors import DeliveryError, NotifyError
from agent.delivery.announcement import Announcement
from agent.delivery.http import endpoint


class HttpNotifier:
    """Sends one request without a body; any answer of 2xx will do."""

    def __init__(self, spec: NotifyHttp) -> None:
        self._spec = spec
        self._endpoint = endpoint(spec.http)
        self.target = f"{spec.method} {self._endpoint.shown}"

    async def notify(self, announcement: Announcement) -> None:
        """Send it, once."""
        try:
            status = await self._endpoint.ask(self._spec.method, timeout=self._spec.timeout)
        except DeliveryError as error:
            raise NotifyError(self.target, error.reason) from None
        if not 200 <= status < 300:
            raise NotifyError(self.target, f"status {status}, wanted 2xx")

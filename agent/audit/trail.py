"""What doors call: from a request and what the door says of it to a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace

from agent.audit.record import LONGEST_TEXT, Access, Callers, Who, access, shortened
from agent.audit.writer import Audit, Done

LONGEST_LOOKED_AT = 4 * LONGEST_TEXT
"""Enough for a value that begins in what is kept; a hostile caller's megabyte costs no more."""

_SUCCESS = 400
_CALLERS_WORDS = ("secret", "field", "path", "version")


class Asking(Protocol):
    """A request, as far as it is recorded; `record` is an `Access`."""

    @property
    def id(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def caller(self) -> Who: ...
    @property
    def record(self) -> Any: ...


class Trail:
    """Records accesses. `redact` takes known values out of what a caller has sent.

    A name that no rule allowed, or that there is not, is the caller's own words: somebody may have
    put a secret there by mistake. A path that led to a secret which was allowed is the
    configuration's.
    """

    def __init__(self, audit: Audit, redact: Callable[[str], str]) -> None:
        self._append, self._redact = audit.append, redact
        self._callers = Callers()

    def __call__(self, request: Asking, status: int, done: Done) -> None:
        """Record how a request with a `record` is answered; then `done`, whether it could be."""
        self.note(request.record, request.caller, request.id, status, done, method=request.method)

    def note(
        self,
        record: Access,
        caller: Who,
        request_id: str,
        status: int | None,
        done: Done,
        *,
        method: str | None = None,
    ) -> None:
        """The same for a door that does not speak HTTP: there may be no status."""
        is_ours = record.decision == "allowed" and (status is None or status < _SUCCESS)
        if not is_ours or (record.path is not None and record.secret is None):
            record = self._clean(record)
        who = self._callers.encoded(caller)
        self._append(access(who, request_id, method, record, status), done)

    def _clean(self, record: Access) -> Access:
        said = {name: getattr(record, name) for name in _CALLERS_WORDS}
        return replace(
            record,
            **{
                name: shortened(self._redact(text[:LONGEST_LOOKED_AT]))
                for name, text in said.items()
                if text
            },
        )

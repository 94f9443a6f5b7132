"""One tree of errors, split by what the caller does about it.

    AgentError
    ├── ConfigurationError     tell the user: every problem in one report
    ├── StoreError             names operation, store and path; never carries a response body
    │   ├── Outage             retry: nobody answered, or the answer was "not now"
    │   │   ├── RateLimited    retry, after the time that the store asked for
    │   │   └── Sealed         retry: the store is there and can't serve
    │   ├── Denied             authoritative: this identity may not (403)
    │   ├── Missing            authoritative: nothing there (404)
    │   ├── Invalid            give up until something changes: the request is wrong (400, 405)
    │   └── NotLoggedIn        log in again, or say that nobody can
    ├── SealedFileError        an encrypted file or its key that can't be used
    │   └── WrongKey           another key may open it
    ├── AuditError             a place for audit records that can't be used
    ├── RenderError            a template or format, with its place
    └── DeliveryError          a step of handing over that failed
        ├── PublishError       nothing was published
        ├── ValidateError      nothing was published: the candidate was refused
        ├── NotifyError        published, but the app may not know
        └── ConfirmError       published and announced, but the app did not confirm

Exit codes are decided here and nowhere else (see `exit_code`).
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_IN_TIME = 3
EXIT_NOT_LOGGED_IN = 4


class AgentError(Exception):
    """The root. Its text is fit for a log: an operation, its object, what to do; no secret."""

    exit_code = EXIT_FAILED


class ConfigurationError(AgentError):
    """The configuration is wrong. `problems` are lines: place, key path, what is permitted."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(AgentError):
    """A request to a store that had no good end."""

    kind = "failed"

    def __init__(self, operation: str, store: str, path: str, reason: str) -> None:
        super().__init__(f"{operation} {path} at {store}: {reason}")
        self.operation, self.store, self.path, self.reason = operation, store, path, reason


class Outage(StoreError):
    """No answer, or one that says nothing about the request; the same request may work later.

    `is_store_wide` tells a store that can't be had from one path that can't (a 500 on a read).
    `is_of_leader`: the server answered, and pointed to a leader that did not.
    """

    kind = "outage"

    def __init__(
        self,
        operation: str,
        store: str,
        path: str,
        reason: str,
        *,
        is_store_wide: bool = True,
        is_of_leader: bool = False,
    ) -> None:
        super().__init__(operation, store, path, reason)
        self.is_store_wide, self.is_of_leader = is_store_wide, is_of_leader


class RateLimited(Outage):
    """The store asked for `retry_after` seconds of quiet (429, or 503 with Retry-After)."""

    kind = "rate_limited"

    def __init__(
        self, operation: str, store: str, path: str, reason: str, *, retry_after: float
    ) -> None:
        super().__init__(operation, store, path, reason)
        self.retry_after = retry_after


class Sealed(Outage):
    """The store answers, sealed, uninitialised or without a leader."""

    kind = "sealed"


class Denied(StoreError):
    """The store says no to this identity.

    `is_by_policy`: it said that it knows who asks, and that a policy forbids it.
    """

    kind = "denied"

    def __init__(
        self, operation: str, store: str, path: str, reason: str, *, is_by_policy: bool = False
    ) -> None:
        super().__init__(operation, store, path, reason)
        self.is_by_policy = is_by_policy


class Missing(StoreError):
    """The store has nothing at this path (or no longer)."""

    kind = "missing"


class Invalid(StoreError):
    """The store can't do this request, now or later, as it is put."""

    kind = "invalid"


class NotLoggedIn(StoreError):
    """No identity: the login was refused, or its token is dead."""

    kind = "not_logged_in"
    exit_code = EXIT_NOT_LOGGED_IN


class SealedFileError(AgentError):
    """An encrypted file, or the file of its key, that can't be used; `file` is the one to look at.

    `is_lasting` tells what stays until somebody acts (a wrong key, altered bytes, a mode) from what
    may pass (the file can't be read now).
    """

    def __init__(self, file: str, reason: str, *, is_lasting: bool = True) -> None:
        super().__init__(f"{file}: {reason}")
        self.file, self.reason, self.is_lasting = file, reason, is_lasting


class WrongKey(SealedFileError):
    """The encrypted file is not of this key, as far as can be told without opening it."""


class AuditError(AgentError):
    """Records can't be written to, or read from, `place` (a file, the journal, syslog)."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"audit: {place}: {reason}")
        self.place, self.reason = place, reason


class RenderError(AgentError):
    """A file that could not be rendered; `place` is `bundle.file` or `template.j2:12`."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place, self.reason = place, reason


class DeliveryError(AgentError):
    """A step between a rendered candidate and an app that uses it."""

    step = "deliver"

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: {reason}")
        self.target, self.reason = target, reason


class PublishError(DeliveryError):
    """The candidate could not be written whole; the last generation stands."""

    step = "publish"


class ValidateError(DeliveryError):
    """The candidate was refused; the last generation stands."""

    step = "validate"


class NotifyError(DeliveryError):
    """The app could not be told.

    `is_absent`: it does not run, so there was nobody to tell; it reads the files when it starts.
    """

    step = "notify"

    def __init__(self, target: str, reason: str, *, is_absent: bool = False) -> None:
        super().__init__(target, reason)
        self.is_absent = is_absent


class ConfirmError(DeliveryError):
    """The app did not prove in time that it works with the new generation."""

    step = "confirm"


class NotInTime(AgentError):
    """`once` had not every secret when its time was up."""

    exit_code = EXIT_NOT_IN_TIME


class NotHandedOver(AgentError):
    """`once` had every secret, but not every bundle could be handed over to its app in time."""


def exit_code(error: BaseException) -> int:
    """The exit code for an error that ends a command; of a group, the gravest member's."""
    if isinstance(error, BaseExceptionGroup):
        return max((exit_code(each) for each in error.exceptions), default=EXIT_FAILED)
    return error.exit_code if isinstance(error, AgentError) else EXIT_FAILED

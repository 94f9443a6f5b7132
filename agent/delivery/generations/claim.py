"""One agent at a time works in a directory: two would undo each other's generations without end.

The claim is a lock on the directory itself, so it leaves no file, and the kernel takes it back from
an agent that was killed. It says nothing to those who read.
"""

from __future__ import annotations

import fcntl
import os
import resource
from pathlib import Path
from types import TracebackType

from agent.core.errors import PublishError
from agent.delivery.generations.tree import DIRECTORY


class Claim:
    """A bundle's claim on its directory, until it is left; `bundle` is for messages."""

    def __init__(self, bundle: str, directory: Path) -> None:
        self._bundle, self._directory = bundle, directory
        self._held: int | None = None

    def hold(self) -> None:
        """Claim the directory that is there now; PublishError if another process has done so.

        Nothing where there is none, or no lock to be had: whoever writes there says what is wrong.
        """
        try:
            descriptor = os.open(self._directory, DIRECTORY)
        except OSError:
            return
        try:
            if self._is_held(descriptor) or not _is_spare(descriptor):
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held, descriptor = descriptor, -1 if self._held is None else self._held
        except BlockingIOError:
            reason = "is used by another agent; end that one, or give each a directory of its own"
            raise PublishError(self._bundle, f"{self._directory}: {reason}") from None
        except OSError:
            return
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _is_held(self, descriptor: int) -> bool:
        if self._held is None:
            return False
        return os.path.samestat(os.fstat(self._held), os.fstat(descriptor))


def _is_spare(descriptor: int) -> bool:
    """Half of the descriptors that this process may have are kept for its work."""
    return descriptor < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

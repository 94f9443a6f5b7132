"""If the agent is killed, the kernel tells its child, with nobody left to do so.

A pipe's reading end can be made to send a signal to a process group when the last writer is gone
(fcntl(2): F_SETOWN, F_SETSIG, O_ASYNC). The agent is the only writer; the child inherits the
reading end, so that the kernel's promise is kept after the agent's death.

prctl(PR_SET_PDEATHSIG) would need code between fork and exec (unsafe with threads) or a program in
between (at least 10 ms a start), is tied to the thread that forked, reaches one process and not
its group, and is forgotten when the user is changed.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType


class Guard:
    """A pipe that is worth a signal when it breaks. `inherited` is the child's descriptor."""

    def __init__(self) -> None:
        # The lower number reads: the kernel closes it last, so even a child that closes all that
        # it did not open itself is told.
        self.inherited, self._held = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def arm(self, group: int, signal_number: int) -> None:
        """From now on the agent's death sends the signal to the process group.

        A group has no number before it is there: the instant since its start is not covered.
        """
        fcntl.fcntl(self.inherited, fcntl.F_SETOWN, -group)
        fcntl.fcntl(self.inherited, fcntl.F_SETSIG, signal_number)
        flags = fcntl.fcntl(self.inherited, fcntl.F_GETFL)
        fcntl.fcntl(self.inherited, fcntl.F_SETFL, flags | os.O_ASYNC)

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.fcntl(self.inherited, fcntl.F_SETOWN, 0)
        os.close(self.inherited)
        os.close(self._held)

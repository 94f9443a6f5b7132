"""The real command, killed by SIGKILL at one point of its life that is chosen from outside.

    python -m tests.rig.killed POINT python -m agent ARGUMENTS

POINT is JSON. The hooks are put around the agent here, in its process; it knows nothing of them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

Rename = Callable[..., None]


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """Before, or right after, something happens the `nth` time since an event of class `since`.

    What happens is an `event` (its class) with these `fields`, before or after anybody hears of it,
    or a `rename` onto a file of this name.
    """

    event: str | None = None
    rename: str | None = None
    fields: dict[str, Any] = {}
    nth: int = 1
    is_after: bool = False
    since: str | None = None


class Executioner:
    """Counts, and kills its own process when the time has come."""

    def __init__(self, point: Point) -> None:
        self._point, self._left = point, point.nth
        self._is_armed = point.since is None

    def install(self) -> None:
        """Stand around events and renames; before the agent is started."""
        from agent.app.audience import Audience
        from agent.core.events import Event

        hear = Audience.__call__

        def heard(audience: Audience, event: Event) -> None:
            kind = type(event).__name__
            self._is_armed |= kind == self._point.since
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            is_it = kind == self._point.event and self._point.fields.items() <= fields.items()
            self._around(is_it, lambda: hear(audience, event))

        Audience.__call__ = heard  # type: ignore[method-assign, assignment]
        os.rename, os.replace = self._watched(os.rename), self._watched(os.replace)

    def _watched(self, rename: Rename) -> Rename:
        def renamed(source: Any, target: Any, **options: Any) -> None:
            is_it = Path(os.fsdecode(target)).name == self._point.rename
            self._around(is_it, lambda: rename(source, target, **options))

        return renamed

    def _around(self, is_it: bool, happen: Callable[[], None]) -> None:
        if self._is_armed and is_it:
            self._left -= 1
        is_due = self._is_armed and is_it and self._left == 0
        if is_due and not self._point.is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        happen()
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(point: Point) -> list[str]:
    """The words before a command that is to be killed there."""
    return [sys.executable, "-m", "tests.rig.killed", msgspec.json.encode(point).decode()]


def main() -> None:
    point, _python, _module, package, *arguments = sys.argv[1:]
    assert package == "agent"
    Executioner(msgspec.json.decode(point, type=Point)).install()
    sys.argv = ["leasehold", *arguments]
    from agent.cli import main as leasehold

    leasehold()


if __name__ == "__main__":
    main()

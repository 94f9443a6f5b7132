"""A command of a test's own: it says that somebody is there, and lets nobody past while closed."""

from __future__ import annotations

from pathlib import Path

from tests.rig.waiting import eventually


class Gate:
    """Open at first. What runs `command` meanwhile waits; it ends with 0."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._bar, self._diary = folder / f"{name}.bar", folder / f"{name}.txt"
        self._script = folder / f"{name}.sh"
        self._script.write_text(
            "#!/bin/sh\n"
            f"echo here >> {self._diary}\n"
            f"while test -e {self._bar}; do sleep 0.05; done\n"
        )
        self._script.chmod(0o755)

    @property
    def command(self) -> list[str]:
        return [str(self._script)]

    @property
    def arrivals(self) -> int:
        """How often it was run."""
        return self._diary.read_text().count("\n") if self._diary.exists() else 0

    def close(self) -> None:
        self._bar.touch()

    def open(self) -> None:
        self._bar.unlink()

    async def is_reached(self, before: int, *, within: float = 10.0) -> None:
        """Wait until somebody more than `before` has come."""
        await eventually(lambda: self.arrivals > before, within=within)

"""A process whose wall clock can be set, while its monotonic clocks go on as they are."""

from __future__ import annotations

from pathlib import Path

from tests.rig.needs import needs_file

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class WallClock:
    """The environment of such a process, and the hand that sets its clock."""

    def __init__(self, folder: Path) -> None:
        self._library = needs_file(LIBRARIES, "Debian's libfaketime")
        self._file = folder / "wall-clock"
        self.put("+0")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def put(self, offset: str) -> None:
        """`+1h`, `-1y`: from now on this far from the machine's clock."""
        candidate = self._file.with_suffix(".new")
        candidate.write_text(f"{offset}\n")
        candidate.replace(self._file)

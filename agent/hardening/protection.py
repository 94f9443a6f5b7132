"""What is in force and what is not, as values."""

from __future__ import annotations

import msgspec


class Protection(msgspec.Struct, frozen=True):
    """One of them; `reason` is a phrase: what it means, or why it is not there and what to do.

    `is_warning`: it was to be had and is missing, so somebody should be told unasked.
    """

    name: str
    is_in_force: bool
    reason: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"

"""What an import has to say of its source: notes, and what is left to be done by hand."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


def one_line(text: str) -> str:
    """Fit for a terminal and for a comment: what a source has of controls is not passed on."""
    return "".join(each if each.isprintable() else "?" for each in text)


class Finding(NamedTuple):
    """One thing to say. Line 0: the file as a whole. `by_hand`: something is lost until you act."""

    file: str
    line: int
    subject: str
    text: str
    by_hand: bool

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        kind = "by hand" if self.by_hand else "note"
        return one_line(f"{where}: {kind}: {self.subject}: {self.text}")


class Findings(msgspec.Struct):
    """Of one source file, in the order found; each is said once."""

    file: str
    all: list[Finding] = msgspec.field(default_factory=list)

    def note(self, line: int, subject: str, text: str) -> None:
        """It is another way with us; nothing need be done."""
        self._add(Finding(self.file, line, subject, text, False))

    def by_hand(self, line: int, subject: str, text: str) -> None:
        """It is not in the result."""
        self._add(Finding(self.file, line, subject, text, True))

    @property
    def needs_hand(self) -> bool:
        return any(each.by_hand for each in self.all)

    def _add(self, finding: Finding) -> None:
        if finding not in self.all:
            self.all.append(finding)


class Unreadable(Exception):
    """A source that can't be read as what it should be; quotes nothing of it but names."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason

"""Files on the way to the disk: whole, and never over what somebody has changed by hand.

The first line of each says what the rest was when it was written, so a file tells by itself whether
it was changed since; no record is kept anywhere else.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from enum import Enum
from pathlib import Path

import msgspec

from agent.core.errors import AgentError

MODE = 0o644
_MARK = re.compile(r"(?:#|//) Written by leasehold install; sha256 of the rest: ([0-9a-f]{64})\n")


class State(Enum):
    """Of a file that is wanted, compared with what is there."""

    MISSING = "missing"
    UNCHANGED = "unchanged"
    OUTDATED = "outdated"
    """Ours, as we wrote it; what we would write now is another."""
    FOREIGN = "foreign"
    """Not ours, or changed since."""


class File(msgspec.Struct, frozen=True):
    """`path` is absolute on the machine that it is for; `text` has no mark."""

    path: Path
    text: str
    comment: str = "#"

    @property
    def marked(self) -> str:
        """What is written."""
        head = f"{self.comment} Written by leasehold install; sha256 of the rest: "
        return f"{head}{_digest(self.text)}\n{self.text}"

    def at(self, root: Path) -> Path:
        return root / self.path.relative_to("/")

    def state(self, root: Path) -> State:
        """AgentError if what is there can't be read."""
        there = _read(self.at(root))
        if there is None:
            return State.MISSING
        if there == self.marked:
            return State.UNCHANGED
        return State.OUTDATED if is_ours(there) else State.FOREIGN

    def difference(self, root: Path) -> str:
        """What writing it would change, as `diff -u` shows it."""
        before = (_read(self.at(root)) or "").splitlines(keepends=True)
        path = str(self.path)
        after = self.marked.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, path, f"{path} (new)"))

    def write(self, root: Path) -> None:
        """Whole, or AgentError and as before."""
        path = self.at(root)
        candidate = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _write_whole(candidate, self.marked)
            candidate.replace(path)
        except OSError as error:
            raise AgentError(f"{path} can't be written: {error.strerror}") from None


def is_ours(text: str) -> bool:
    """Written by us, and not changed since."""
    mark = _MARK.match(text)
    return mark is not None and mark[1] == _digest(text[mark.end() :])


def is_untouched(path: Path) -> bool:
    """The same of a file."""
    return is_ours(_read(path) or "")


def remove(path: Path) -> None:
    """A file, and its folder if it was the last in a drop-in's."""
    try:
        path.unlink()
        folder = path.parent
        is_drop_in = folder.suffix == ".d" and folder.name.startswith("leasehold")
        if is_drop_in and not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise AgentError(f"{path} can't be removed: {error.strerror}") from None


def make_folder(path: Path, mode: int) -> bool:
    """Whether it had to be made."""
    if path.is_dir():
        return False
    try:
        path.mkdir(parents=True)
        path.chmod(mode)  # whatever the umask
    except OSError as error:
        raise AgentError(f"{path} can't be made: {error.strerror}") from None
    return True


def _write_whole(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, MODE)  # whatever the umask
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _read(path: Path) -> str | None:
    """None if it is missing. A link is not followed: what it leads to is not ours to replace."""
    try:
        if path.is_symlink():
            raise AgentError(f"{path} is a link; remove it first (was the unit masked?)")
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"{path} can't be read: {error}") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

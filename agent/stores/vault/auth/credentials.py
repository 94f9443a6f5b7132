"""Credentials that auth methods log in with: from a file, or from the environment by the loader."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.core.errors import NotLoggedIn

MAX_CREDENTIAL = 64 * 1024


class CredentialSource:
    """A credential by file or by value; the file is read anew each time."""

    def __init__(self, store: str, what: str, file: Path | None, value: str | None) -> None:
        self._store, self._what = store, what
        self.file = file
        self._value = value
        self._last: str | None = None

    @property
    def watched(self) -> tuple[Path, ...]:
        return () if self.file is None else (self.file,)

    async def read(self) -> str:
        """The credential without surrounding white space; NotLoggedIn if there is none."""
        if self.file is None:
            return (self._value or "").strip()
        self._last = await self._read(self.file)
        return self._last

    async def is_new(self) -> bool:
        """The file holds another credential than the one last read."""
        if self.file is None:
            return False
        try:
            return await self._read(self.file) != self._last
        except NotLoggedIn:
            return False

    async def _read(self, file: Path) -> str:
        try:
            return await asyncio.to_thread(self._from_file, file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise self._failure(f"{file} can't be read: {reason}") from None

    def _from_file(self, file: Path) -> str:
        with file.open("rb") as stream:
            content = stream.read(MAX_CREDENTIAL + 1)
        if len(content) > MAX_CREDENTIAL:
            raise self._failure(f"{file} is larger than {MAX_CREDENTIAL // 1024} KiB")
        text = content.decode().strip()
        if not text:
            raise self._failure(f"{file} is empty")
        return text

    async def remove(self, used: str) -> None:
        """Delete the file, unless it holds something newer than `used`; an OSError is passed on."""
        if self.file is not None:
            await asyncio.to_thread(self._remove_if, self.file, used)

    def _remove_if(self, file: Path, used: str) -> None:
        if file.exists() and self._from_file(file) == used:
            file.unlink(missing_ok=True)

    def _failure(self, reason: str) -> NotLoggedIn:
        return NotLoggedIn("log in", self._store, self._what, reason)

"""What the rooms below need of a watch on files; `agent/file_watch.py` keeps it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class FileChanges(Protocol):
    """Tells when the content behind a path may have changed."""

    def watch(
        self, *paths: Path, event: asyncio.Event | None = None
    ) -> AbstractContextManager[asyncio.Event]:
        """While entered, the event is set when one of the files changes (the reader clears it).

        It is a new one, unless one is given. What changed before is no change.

        A path that does not exist yet may come to exist. A link swapped anywhere on the way
        (the `..data` of a Kubernetes volume) is a change.
        """

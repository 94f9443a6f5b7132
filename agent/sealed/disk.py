"""The files of a cache on the disk: read with suspicion, written whole, never thrown away. Blocks.

An `OSError` stops here and becomes a `SealedFileError`.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from agent.core.errors import SealedFileError
from agent.stores import sealed_file

REFUSED = ".refused"


def read(path: Path, limit: int) -> bytes | None:
    """The content of a file that is nobody else's; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise sealed_file.failed(path, "can't be read", error) from None
    if stat.S_ISLNK(status.st_mode):
        raise SealedFileError(str(path), "is a link; name the file itself")
    content, _ = sealed_file.read_private(path, limit)
    return content


def write(path: Path, content: bytes) -> None:
    """The new content, whole or not at all, mode 0600."""
    if path.is_symlink():
        raise SealedFileError(str(path), "is a link; name the file itself")
    sealed_file.replace(path, content)


def make_directory(path: Path) -> None:
    """The file's directory, for nobody else, where it is missing and its own parent is not.

    So a volume that is open to all (Kubernetes makes `emptyDir` so) has room for a cache. What does
    not work is told by the first writing.
    """
    with suppress(OSError):
        path.parent.mkdir(mode=0o700)


def refuse_shared_directory(path: Path) -> None:
    """Whoever may write to the file's directory could exchange the file: refused.

    Nothing where there is no directory: whoever writes there is told so.
    """
    directory = path.parent
    try:
        status = directory.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise sealed_file.failed(directory, "can't be looked at", error) from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise SealedFileError(
            str(directory), f"mode {mode:04o} lets others write there; a cache needs 0700 or 0755"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise SealedFileError(
            str(directory), f"is owned by user {status.st_uid}, neither by this user nor by root"
        )


def set_aside(path: Path) -> Path | None:
    """The file as it is, under a name of its own (an older one of that name goes); None: it stays.

    It stays where it is not there, or can't be moved.
    """
    aside = path.with_name(path.name + REFUSED)
    try:
        path.replace(aside)
    except OSError:
        return None
    return aside

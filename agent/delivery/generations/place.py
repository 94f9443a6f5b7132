"""The directory of a bundle: made, and refused where somebody else could have prepared it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agent.delivery.generations.tree import DIRECTORY, RenderedFile, opened, remove

ADVICE = {
    errno.ENOSPC: "no space or inodes left on {filesystem}; make it larger (size=, nr_inodes=)",
    errno.EDQUOT: "the quota on {filesystem} is used up; raise it",
    errno.EROFS: "{filesystem} is read-only there; mount it writable for the agent",
    errno.ENOENT: "went away meanwhile; it is made again with the next attempt",
    errno.ENOTDIR: "is a link or a file where a directory has to be; move it away",
    errno.EACCES: "may not be accessed by the agent's user {user}; check owners, modes, hardening",
}

_making = threading.Lock()
"""Bundles start at once, in threads, and have parents in common."""


def make(directory: Path, finish: Callable[[int], None]) -> None:
    """Make a directory, and parents of mode 0755 where there are none.

    `finish(descriptor)` gives it owner, mode and first content before its name exists.
    """
    with _making:
        parent = _parent(directory.parent)
        try:
            _place(parent, directory.name, finish)
        finally:
            os.close(parent)


def _parent(path: Path) -> int:
    """Links above the directory itself are the administrator's (`/var/run`), and followed."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        parent = _parent(path.parent)
    try:
        _place(parent, path.name, lambda descriptor: os.fchmod(descriptor, 0o755))
        return os.open(path.name, DIRECTORY, dir_fd=parent)
    finally:
        os.close(parent)


def _place(parent: int, name: str, finish: Callable[[int], None]) -> None:
    temporary = f"..{name}.new"
    remove(parent, temporary)  # of a run that was killed
    os.mkdir(temporary, 0o700, dir_fd=parent)
    try:
        with opened(temporary, parent) as descriptor:
            finish(descriptor)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            remove(parent, temporary)
        raise


def refuse_untrusted(root: int, trusted: frozenset[int]) -> None:
    """PermissionError for a directory that a user outside `trusted` could have prepared."""
    status = os.fstat(root)
    if status.st_uid not in trusted:
        reason = (
            f"belongs to user {status.st_uid}, who could read or redirect what is written there; "
            "give it to the bundle's owner or choose another directory"
        )
        raise PermissionError(errno.EPERM, reason)
    is_open_to_all = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if is_open_to_all and not _is_mount_point(root, status):
        reason = (
            "can be written by every user, who could redirect what is written there; "
            "take that right away (chmod o-w) or choose a directory below it"
        )
        raise PermissionError(errno.EPERM, reason)


def _is_mount_point(root: int, status: os.stat_result) -> bool:
    """A volume of its own (Kubernetes makes emptyDir 0777) is open to those who were given it."""
    return os.stat("..", dir_fd=root).st_dev != status.st_dev


def as_made(root: int, file: RenderedFile) -> RenderedFile:
    """The file with the owner and group that it would get below this directory."""
    status = os.fstat(root)
    group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
    return replace(
        file,
        uid=os.geteuid() if file.uid is None else file.uid,
        gid=group if file.gid is None else file.gid,
    )


def refuse_disk(filesystem: str) -> None:
    """PermissionError that says what the filesystem is and what can be done."""
    reason = (
        f"is on {filesystem}, not in memory; mount a tmpfs there, choose a directory on one, "
        "or permit it with allow_disk: true"
    )
    raise PermissionError(errno.EPERM, reason)


def reason(error: OSError, filesystem: str) -> str:
    """What went wrong, where, and what to do, as a sentence for people."""
    advice = ADVICE.get(error.errno or 0, error.strerror or "failed")
    return advice.format(filesystem=filesystem, user=os.geteuid())

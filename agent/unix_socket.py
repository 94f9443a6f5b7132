"""A UNIX socket that appears with its mode and owner, or not at all.

It is bound, and listens, in a folder of its own that nobody else may enter; only then is it moved
to its name. A socket that nobody listens on any more is replaced, one with a listener never, and
nothing that is not a socket is touched. Foreign errors stop here: all is said as `AgentError`.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from agent.core.errors import AgentError

BACKLOG = 128

LONGEST_PATH = 107
"""Bytes in the path of a socket (sun_path), here the one in the private folder, too."""

PRIVATE_NAME_BYTES = 3


class UnixSocket(msgspec.Struct, frozen=True):
    """A listening, non-blocking socket under its name; `inode` is (device, number) of the name."""

    path: Path
    socket: socket.socket
    inode: tuple[int, int]

    def remove(self) -> None:
        """Stop listening, and take the name away unless it is somebody else's by now."""
        self.socket.close()
        with suppress(OSError):
            if _inode(self.path.lstat()) == self.inode:
                self.path.unlink()


def bind_unix(path: Path, *, mode: int, uid: int = -1, gid: int = -1) -> UnixSocket:
    """Listen at `path`; uid or gid -1 is the agent's own. AgentError says why it can't be.

    Reads and writes folders: call it in a thread.
    """
    _check_length(path)
    try:
        with _folder(path.parent) as parent:
            _check_free(path, parent)
            return _bind(path, parent, mode, uid, gid)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None


def _bind(path: Path, parent: int, mode: int, uid: int, gid: int) -> UnixSocket:
    with _private_folder(parent) as (name, private), ExitStack() as undo:
        listening = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listening.setblocking(False)
        listening.bind(f"{path.parent}/{name}/s")
        os.chown("s", uid, gid, dir_fd=private, follow_symlinks=False)
        os.chmod("s", mode, dir_fd=private)
        listening.listen(BACKLOG)
        inode = _inode(os.stat("s", dir_fd=private, follow_symlinks=False))
        os.rename("s", path.name, src_dir_fd=private, dst_dir_fd=parent)
        undo.pop_all()
    return UnixSocket(path, listening, inode)


def _check_length(path: Path) -> None:
    folder = LONGEST_PATH - len("/./s") - 2 * PRIVATE_NAME_BYTES
    if len(os.fsencode(path)) > LONGEST_PATH or len(os.fsencode(path.parent)) > folder:
        reason = f"the path is too long ({LONGEST_PATH} bytes at most, {folder} in its folder)"
        raise _refused(path, reason)


def _check_free(path: Path, parent: int) -> None:
    """AgentError if there is something at the name that is not a socket without a listener."""
    try:
        there = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise _refused(path, "there is something else of this name, which is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.setblocking(False)
        try:
            visitor.connect(os.fspath(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:  # its backlog is full, so there is a listener
            pass
    raise _refused(path, "another process listens there; is the agent running already?")


@contextmanager
def _folder(path: str | Path, flags: int = 0, *, inside: int | None = None) -> Iterator[int]:
    flags |= os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _private_folder(parent: int) -> Iterator[tuple[str, int]]:
    """A folder of mode 0700 inside of `parent`, removed with what is left in it."""
    name = f".{secrets.token_hex(PRIVATE_NAME_BYTES)}"
    os.mkdir(name, 0o700, dir_fd=parent)
    try:
        with _folder(name, os.O_NOFOLLOW, inside=parent) as private:
            os.fchmod(private, 0o700)  # whatever the umask
            yield name, private
    finally:
        with suppress(OSError):
            os.unlink(f"{name}/s", dir_fd=parent)
        with suppress(OSError):
            os.rmdir(name, dir_fd=parent)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _refused(path: Path, reason: str) -> AgentError:
    return AgentError(f"can't listen at {path}: {reason}")

"""One generation's tree: written, read and removed by directory descriptors.

Nothing here walks a path twice or follows a link, so a directory that is swapped meanwhile can't
redirect a write. Errors are OSErrors whose `filename` is the file within the generation;
`agent/delivery/files.py` turns them into the agent's own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
EXISTING_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DEEPEST = 64
"""Levels of folders; whoever owns the directory may plant deeper ones, to exhaust us."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A file as it is to be, or as it is; owner and group None: as the process makes it."""

    content: bytes = field(repr=False)
    mode: int
    uid: int | None = None
    gid: int | None = None


class Folder(msgspec.Struct, frozen=True):
    """What the folders of a tree get, once everything is in them."""

    mode: int
    uid: int | None
    gid: int | None


@contextmanager
def opened(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """The descriptor of a directory that is no link."""
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """An OSError from within names this file."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise


def names_in(folder: int) -> list[str]:
    """What is in a directory."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def settle(descriptor: int, mode: int, uid: int | None, gid: int | None) -> None:
    """Owner, then mode (a new owner clears bits of it); the umask has no say."""
    if uid is not None or gid is not None:
        try:
            os.fchown(descriptor, -1 if uid is None else uid, -1 if gid is None else gid)
        except OSError as error:  # EPERM, or EINVAL for a number that a user namespace lacks
            wanted = ":".join("" if each is None else str(each) for each in (uid, gid))
            error.strerror = (
                f"can't be given to {wanted}; run the agent as root or with CAP_CHOWN, as a "
                "member of the group, or leave owner and group out"
            )
            raise
    os.fchmod(descriptor, mode)


def write_tree(
    root: int, files: Mapping[str, RenderedFile], folder: Folder, *, is_durable: bool
) -> None:
    """Fill the empty directory `root`; its own mode and owner come last."""
    with ExitStack() as stack:
        folders = {PurePosixPath("."): root}
        for name, file in files.items():
            path = PurePosixPath(name)
            with naming(name):
                parent = _enter(stack, folders, path.parent)
                _write(parent, path.name, file, is_durable)
        for path, descriptor in reversed(folders.items()):
            with naming(str(path)):
                settle(descriptor, folder.mode, folder.uid, folder.gid)
                if is_durable:
                    os.fsync(descriptor)


def _enter(stack: ExitStack, folders: dict[PurePosixPath, int], path: PurePosixPath) -> int:
    """The descriptor of a folder of the tree, which is made if it is new."""
    if path not in folders:
        parent = _enter(stack, folders, path.parent)
        os.mkdir(path.name, 0o700, dir_fd=parent)
        folders[path] = stack.enter_context(opened(path.name, parent))
    return folders[path]


def write_file(parent: int, name: str, content: bytes) -> int:
    """A new file that is the owner's alone, written to its end; its descriptor, still open."""
    descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=parent)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(parent: int, name: str, file: RenderedFile, is_durable: bool) -> None:
    descriptor = write_file(parent, name, file.content)
    try:
        settle(descriptor, file.mode, file.uid, file.gid)
        if is_durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_tree(root: int, prefix: str = "", depth: int = 0) -> dict[str, RenderedFile]:
    """All readable plain files by their relative names; links, pipes and the like are not ours."""
    found: dict[str, RenderedFile] = {}
    for name in names_in(root):
        kind = os.stat(name, dir_fd=root, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind) and depth < DEEPEST:
            with opened(name, root) as folder:
                found |= read_tree(folder, f"{prefix}{name}/", depth + 1)
        elif stat.S_ISREG(kind) and (file := read_file(root, name)) is not None:
            found[prefix + name] = file
    return found


def read_file(parent: int, name: str) -> RenderedFile | None:
    """A plain file as it is; None if it is something else, or not for us."""
    try:
        descriptor = os.open(name, EXISTING_FILE, dir_fd=parent)
    except PermissionError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        return RenderedFile(file.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def remove(parent: int, name: str, depth: int = 0) -> None:
    """Remove what is at `name`, a tree with all that is in it; nothing there will do as well."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if depth == DEEPEST:
        raise OSError(errno.ELOOP, "too deep to be removed", name)
    with opened(name, parent) as folder:
        if status.st_uid == os.geteuid():
            os.fchmod(folder, 0o700)  # a mode without w is no hindrance to its owner
        for each in names_in(folder):
            remove(folder, each, depth + 1)
    os.rmdir(name, dir_fd=parent)

"""Encrypted files on disk, and the files of their keys: read with suspicion, written whole.

An `OSError` stops here and becomes a `SealedFileError`. Everything blocks: a coroutine calls whole
operations in a thread.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.config.model import LocalKey
from agent.core.errors import ConfigurationError, SealedFileError
from agent.core.sealing import KEY_BYTES, MAX_HEADER_BYTES, TAG_BYTES, SealingKey
from agent.stores.access import lets_in_only

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
MAX_CONTENT_BYTES = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES + TAG_BYTES
MAX_KEY_FILE_BYTES = 4096

Signature = tuple[int, int, int, int]
"""Device, inode, ctime in ns and size: differs once a file is replaced or written."""


def signature(path: Path) -> Signature | None:
    """The file's signature as of now; None where there is none to be had."""
    try:
        return _signature(path.stat())
    except OSError:
        return None


def read_private(path: Path, limit: int) -> tuple[bytes, Signature]:
    """The content of a file that nobody but its owner may read, and that we or root own."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_shared(path, status, file.fileno())
            content = file.read(limit + 1)
    except OSError as error:
        raise failed(path, "can't be read", error) from None
    if len(content) > limit:
        raise SealedFileError(str(path), f"has more than {limit} bytes")
    return content, _signature(status)


def read_key(spec: LocalKey) -> SealingKey:
    """The key that `file` or `passphrase_file` holds."""
    if spec.file is not None:
        return SealingKey(_key_bytes(spec.file))
    if spec.passphrase_file is None:
        raise ConfigurationError(["key: one of file and passphrase_file is needed"])
    content, _ = read_private(spec.passphrase_file, MAX_KEY_FILE_BYTES)
    passphrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise SealedFileError(str(spec.passphrase_file), "holds no passphrase")
    return SealingKey(passphrase, is_passphrase=True)


def key_path(spec: LocalKey) -> Path:
    """The file that the key comes from."""
    path = spec.file or spec.passphrase_file
    if path is None:
        raise ConfigurationError(["key: one of file and passphrase_file is needed"])
    return path


def make_key(path: Path) -> None:
    """A new key file; an error if there is one already."""
    content = secrets.token_hex(KEY_BYTES).encode() + b"\n"
    try:
        _write_new(path, content)
        _sync_directory(path.parent)
    except OSError as error:
        raise failed(path, "can't be made", error) from None


def replace(path: Path, content: bytes) -> None:
    """The file's new content, whole or not at all. The caller holds the file's lock.

    A link is followed: what it leads to is replaced, not the link.
    """
    target = Path(os.path.realpath(path))
    candidate = target.with_name(f"{target.name}.new")
    try:
        candidate.unlink(missing_ok=True)  # of a run that was killed
        _write_new(candidate, content)
        candidate.replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise failed(path, "can't be written", error) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While entered, nobody else is: `FILE.lock` beside the file is held (and left where it is)."""
    target = Path(os.path.realpath(path))
    lock = target.with_name(f"{target.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(lock, flags, 0o600)
    except OSError as error:
        raise failed(lock, "can't be opened", error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def failed(path: Path, what: str, error: OSError) -> SealedFileError:
    """An `OSError` in our words: `what` it was that failed, and the system's reason."""
    reason = error.strerror or type(error).__name__
    return SealedFileError(str(path), f"{what}: {reason}", is_lasting=False)


def _key_bytes(path: Path) -> bytes:
    content, _ = read_private(path, MAX_KEY_FILE_BYTES)
    if len(content) == KEY_BYTES:
        return content
    text = content.removesuffix(b"\n").removesuffix(b"\r")
    with suppress(binascii.Error, ValueError):
        if len(text) == 2 * KEY_BYTES:
            return binascii.unhexlify(text)
    wanted = f"{2 * KEY_BYTES} hexadecimal characters or {KEY_BYTES} bytes"
    raise SealedFileError(str(path), f"a key has {wanted}, this is neither")


def _refuse_shared(path: Path, status: os.stat_result, descriptor: int) -> None:
    """Judged by the open file, not by its name: nobody can swap it in between."""
    if not stat.S_ISREG(status.st_mode):
        raise SealedFileError(str(path), "is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 and not lets_in_only(descriptor, mode, os.geteuid()):
        raise SealedFileError(
            str(path), f"mode {mode:04o} lets others in; it must be the owner's only (0600 or 0400)"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise SealedFileError(
            str(path), f"is owned by user {status.st_uid}, neither by this user nor by root"
        )


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
        try:
            _write_all(file.fileno(), content)
            os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size

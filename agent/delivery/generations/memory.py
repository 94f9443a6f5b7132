"""Whether a directory lives in memory, as the kernel's own table of mounts says."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = frozenset({"tmpfs", "ramfs"})
MOUNTS = Path("/proc/self/mountinfo")
SWAPS = Path("/proc/swaps")
UNKNOWN = "an unknown filesystem"


def filesystem_of(path: Path | int) -> str:
    """The type of the filesystem under a path or descriptor, as `mount` calls it: "tmpfs", "ext4".

    Of a path that does not exist yet, that of its nearest existing parent.
    """
    mount = _mount_of(path)
    return UNKNOWN if mount is None else mount[0]


def is_memory(path: Path | int) -> bool:
    """What is written there stays in memory (or in swap, see `swap_advice`)."""
    return filesystem_of(path) in MEMORY


def swap_advice(path: Path) -> str | None:
    """What to tell the user where memory may be written out to a swap device, else None."""
    mount = _mount_of(path)
    if mount is None or mount[0] != "tmpfs" or "noswap" in mount[1] or not _has_swap():
        return None
    return f"{path} is a tmpfs that may be swapped out: mount it with noswap, or encrypt the swap"


def _mount_of(path: Path | int) -> tuple[str, list[str]] | None:
    """Type and options, found by device number: it holds through bind mounts and links."""
    device = _device_of(path)
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in _lines(MOUNTS):
        if line.split(" ", 3)[2] == wanted:
            kind, _source, options = line.partition(" - ")[2].split(" ", 2)
            return kind, options.split(",")
    return None


def _device_of(path: Path | int) -> int:
    if isinstance(path, int):
        return os.fstat(path).st_dev
    for each in (path, *path.parents):
        try:
            return each.stat().st_dev
        except FileNotFoundError:
            continue
    raise FileNotFoundError(2, "no existing parent", str(path))


def _has_swap() -> bool:
    return len(_lines(SWAPS)) > 1


def _lines(file: Path) -> list[str]:
    """Of a table of the kernel's; none where /proc is not to be had."""
    try:
        return file.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []

"""`..announced`: what a bundle's directory has to remember over a restart of the agent."""

from __future__ import annotations

import os
from collections.abc import Container

import msgspec

from agent.delivery.generations.tree import EXISTING_FILE, remove, write_file

NAME = "..announced"
NEW_NAME = "..announced.new"
LONGEST = 4096


class Marker(msgspec.Struct, frozen=True):
    """The generation that the app was last told of, the highest number given to any, and whether
    the directory is one that the agent made."""

    announced: int | None = None
    highest: int = 0
    is_made: bool = False


def load(root: int, trusted: Container[int]) -> Marker:
    """The marker of a directory; an empty one where there is none of a trusted owner's."""
    try:
        descriptor = os.open(NAME, EXISTING_FILE, dir_fd=root)
    except OSError:
        return Marker()
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid not in trusted:
            return Marker()
        return _decoded(file.read(LONGEST))


def _decoded(content: bytes) -> Marker:
    try:
        return msgspec.json.decode(content, type=Marker)
    except msgspec.DecodeError:
        return Marker()


def save(root: int, marker: Marker, *, is_durable: bool) -> None:
    """Replace the marker by one rename."""
    remove(root, NEW_NAME)
    descriptor = write_file(root, NEW_NAME, msgspec.json.encode(marker))
    try:
        if is_durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(NEW_NAME, NAME, src_dir_fd=root, dst_dir_fd=root)

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
    """The generation that the app was last told of, the highest number given to any, whether the
    directory is one that the agent made, and the generation that the app is known to work with.

    `announced` is 0 when the app may have anything: a generation was taken back.
    """

    announced: int | None = None
    highest: int = 0
    is_made: bool = False
    proven: int | None = None

    @property
    def good(self) -> int | None:
        """The generation to go back to."""
        return self.announced or None if self.proven is None else self.proven

    def noted(self, highest: int, announced: int | None) -> Marker:
        """With what is known now; None: no news of what was announced."""
        return msgspec.structs.replace(
            self,
            highest=max(highest, self.highest),
            announced=self.announced if announced is None else announced,
            proven=announced or self.good,
        )


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

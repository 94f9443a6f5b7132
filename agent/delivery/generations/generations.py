"""Files of a bundle as whole generations, in the layout of a Kubernetes volume.

    DIRECTORY/..data → ..gen-000042/        DIRECTORY/password → ..data/password

A generation is written complete, with owners and modes, beside the one in use, and becomes visible
by one rename. The current one, the one before it and the last one that its app is known to work
with (mostly that is one of the two) are kept. Below the current number are only
generations that were published once, above it only candidates: that, and that each step is one
system call, is why a run may be killed anywhere and `prepare` can tell what was meant.

All calls block; coroutines send them to a thread, one call at a time for a bundle. What goes wrong
is a PublishError that names the file and what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from agent.core.errors import PublishError
from agent.delivery.generations import layout, marker, place
from agent.delivery.generations.layout import generation_name
from agent.delivery.generations.memory import MEMORY, UNKNOWN, filesystem_of
from agent.delivery.generations.tree import (
    Folder,
    RenderedFile,
    opened,
    read_tree,
    remove,
    settle,
    write_tree,
)

__all__ = ["Candidate", "Generations", "RenderedFile"]


class Candidate(msgspec.Struct, frozen=True):
    """A complete generation that nobody sees yet, except in its own directory."""

    number: int
    directory: Path


class Generations:
    """The generations of one bundle; `name` is the bundle's, for messages."""

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        directory_mode: int,
        uid: int | None,
        gid: int | None,
        allow_disk: bool,
    ) -> None:
        self.name = name
        self.directory = directory
        self._folder = Folder(directory_mode, uid, gid)
        self._allow_disk = allow_disk
        self._trusted = frozenset({0, os.geteuid(), os.geteuid() if uid is None else uid})
        self._marker = marker.Marker()
        self._device: int | None = None
        self._filesystem = UNKNOWN
        self._is_durable = False

    # --- for a start and an end -----------------------------------------------------------------

    def prepare(self) -> None:
        """Make the directory, or take over what an earlier run left there."""
        with self._opened(make=True) as root:
            self._marker = marker.load(root, self._trusted)
            if self._marker.is_made:
                self._settle(root)
            layout.sweep(root)
            remove(root, marker.NEW_NAME)
            current = layout.current(root, self._trusted)
            if current is not None:
                self._switch(root, current)
            self._drop_above(root, current or 0)
            self._keep(root, {current, layout.previous(root, self._trusted), self._marker.good})

    def remove(self) -> None:
        """Remove what is ours, and the directory if the agent made it and it is empty then."""
        with self._opened_if_there() as root:
            if root is None:
                return
            is_made = marker.load(root, self._trusted).is_made
            layout.clear(root)
            remove(root, marker.NEW_NAME)
            remove(root, marker.NAME)
        if is_made:
            with suppress(OSError):
                self.directory.rmdir()

    # --- for reading ----------------------------------------------------------------------------

    def current(self) -> int | None:
        """The generation that an app sees."""
        with self._opened_if_there() as root:
            return None if root is None else layout.current(root, self._trusted)

    def previous(self) -> int | None:
        """The one that was seen before, and can be restored."""
        with self._opened_if_there() as root:
            return None if root is None else layout.previous(root, self._trusted)

    def proven(self) -> int | None:
        """The last one that the app is known to work with, if it is there and not the current."""
        number = self._marker.good
        with self._opened_if_there() as root:
            if root is None or number == layout.current(root, self._trusted):
                return None
            return number if number in layout.generations(root, self._trusted) else None

    def read(self, number: int) -> dict[str, RenderedFile] | None:
        """The files of a generation as they are now; None if it is not there (any more)."""
        with self._opened_if_there() as root:
            if root is None or number not in layout.generations(root, self._trusted):
                return None
            with opened(generation_name(number), root) as folder:
                return read_tree(folder)

    def changes(self, files: Mapping[str, RenderedFile]) -> list[str]:
        """The names that are new, changed or gone between the current generation and `files`."""
        number = self.current()
        held = (None if number is None else self.read(number)) or {}
        with self._opened(make=True) as root:
            made = {name: place.as_made(root, file) for name, file in files.items()}
        return sorted(name for name in held.keys() | made if held.get(name) != made.get(name))

    def stands(self, number: int, files: Collection[str]) -> bool:
        """This generation is what an app sees, and these files are in it."""
        with self._opened_if_there() as root:
            if root is None or layout.current(root, self._trusted) != number:
                return False
            return layout.seen(root) >= layout.tops(files)

    def announced(self) -> int | None:
        """The generation that the app was last told of, as known since `prepare`."""
        return self._marker.announced

    # --- for a change ---------------------------------------------------------------------------

    def write(self, files: Mapping[str, RenderedFile]) -> Candidate:
        """A complete candidate, in place of one that was neither published nor discarded."""
        with self._opened(make=True) as root:
            layout.refuse_names(files)
            layout.refuse_foreign(root, layout.tops(files))
            self._drop_above(root, layout.current(root, self._trusted) or 0)
            number = max(self._marker.highest, *layout.claimed(root), 0) + 1
            self._fill(root, generation_name(number), files)
        self._marker = msgspec.structs.replace(self._marker, highest=number)
        return Candidate(number, self.directory / generation_name(number))

    def publish(self, candidate: Candidate) -> None:
        """Make the candidate the generation that is seen, by one rename."""
        with self._opened() as root:
            before = layout.current(root, self._trusted)
            if candidate.number < (before or 0):
                raise PublishError(self.name, f"generation {candidate.number} is an old one")
            self._switch(root, candidate.number)
            if before != candidate.number:
                self._keep(root, {candidate.number, before, self._marker.good})

    def discard(self, candidate: Candidate) -> None:
        """Remove a candidate, whose number is not used again; one that was published stays."""
        with self._opened_if_there() as root:
            if root is None:
                return
            if candidate.number > (layout.current(root, self._trusted) or 0):
                self._drop_above(root, candidate.number - 1)

    def mend(self) -> None:
        """Put back what somebody has taken from around the current generation: links and mode."""
        with self._opened() as root:
            if self._marker.is_made and not self._is_settled(root):
                self._settle(root)
            number = layout.current(root, self._trusted)
            if number is not None and layout.missing(root, number):
                self._switch(root, number)

    def restore(self, number: int) -> None:
        """Put an earlier generation back by one rename; those after it are removed.

        It counts as not announced: the app may have read one of those.
        """
        with self._opened() as root:
            with suppress(OSError):  # a full filesystem is no reason to leave a bad generation
                self._note(root, highest=number, announced=0)
            self._switch(root, number)
            self._drop_above(root, number)

    def mark_announced(self, number: int) -> None:
        """The app has been told of this generation, and works with it as far as can be known."""
        with self._opened() as root:
            self._note(root, highest=number, announced=number)

    # --- steps ----------------------------------------------------------------------------------

    def _fill(self, root: int, name: str, files: Mapping[str, RenderedFile]) -> None:
        os.mkdir(name, 0o700, dir_fd=root)
        try:
            with opened(name, root) as folder:
                write_tree(folder, files, self._folder, is_durable=self._is_durable)
        except BaseException:
            with suppress(OSError):
                remove(root, name)
            raise

    def _switch(self, root: int, number: int) -> None:
        if number not in layout.generations(root, self._trusted):
            raise PublishError(self.name, f"generation {number} is not there any more")
        layout.switch(root, number)
        if self._is_durable:
            os.fsync(root)

    def _keep(self, root: int, numbers: Container[int | None]) -> None:
        """What resists is left for the next time: it harms nobody who has the new generation."""
        for number in layout.claimed(root):
            if number not in numbers:
                with suppress(OSError):
                    remove(root, generation_name(number))

    def _drop_above(self, root: int, number: int) -> None:
        """Remove candidates, or what was published and taken back, and remember their numbers."""
        doomed = [each for each in layout.claimed(root) if each > number]
        if doomed:
            with suppress(OSError):  # on a full filesystem the removal is what makes room
                self._note(root, highest=max(doomed))
        for each in doomed:
            remove(root, generation_name(each))

    def _note(self, root: int, *, highest: int, announced: int | None = None) -> None:
        self._marker = self._marker.noted(highest, announced)
        marker.save(root, self._marker, is_durable=self._is_durable)

    # --- the directory --------------------------------------------------------------------------

    @contextmanager
    def _opened_if_there(self) -> Iterator[int | None]:
        if os.path.lexists(self.directory):
            with self._opened() as root:
                yield root
        else:
            yield None

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[int]:
        """The directory's descriptor, if what is there now can be trusted; OSErrors are told."""
        try:
            if make and not os.path.lexists(self.directory):
                self._make()
            with opened(self.directory) as root:
                self._admit(root)
                yield root
        except OSError as error:
            file = self.directory
            if isinstance(error.filename, str | Path):
                file /= error.filename
            reason = place.reason(error, self._filesystem)
            raise PublishError(self.name, f"{file}: {reason}") from error

    def _make(self) -> None:
        self._admit_filesystem(self.directory)
        self._marker = msgspec.structs.replace(self._marker, is_made=True)
        place.make(self.directory, self._finish)

    def _finish(self, root: int) -> None:
        marker.save(root, self._marker, is_durable=self._is_durable)
        self._settle(root)

    def _settle(self, root: int) -> None:
        settle(root, self._mode(), self._folder.uid, self._folder.gid)

    def _is_settled(self, root: int) -> bool:
        return stat.S_IMODE(os.fstat(root).st_mode) == self._mode()

    def _mode(self) -> int:
        """The configured mode; but the agent has to go on writing where it is the owner."""
        own = 0o700 if self._folder.uid in (None, os.geteuid()) else 0
        return self._folder.mode | own

    def _admit(self, root: int) -> None:
        place.refuse_untrusted(root, self._trusted)
        device = os.fstat(root).st_dev
        if device != self._device:
            self._admit_filesystem(root)
            self._device = device

    def _admit_filesystem(self, path: Path | int) -> None:
        self._filesystem = filesystem_of(path)
        self._is_durable = self._filesystem not in MEMORY
        if self._is_durable and not self._allow_disk:
            place.refuse_disk(self._filesystem)

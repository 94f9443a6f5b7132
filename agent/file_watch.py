"""The watch on files: configuration, templates, TLS files, JWTs, token files, the local store.

What is watched are directories: a file that is replaced by a rename, and a Kubernetes `..data` that
is swapped, never show on the file itself. What counts is what a path leads to: each notice of the
kernel, and each `LOOK_AGAIN_AFTER` seconds in any case (network file systems, directories that we
may pass but not read, a kernel queue that ran over), only makes us look at the files' signatures.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.core.clock import Clock
from agent.core.events import Advice, Emit

LOOK_AGAIN_AFTER = 5.0
STEP_SECONDS = 0.4
"""watchfiles looks this often whether the kernel said something; a change is told within two."""

MAX_LINKS = 40
TRY_KERNEL_AGAIN_AFTER = 60.0

Signature = tuple[int, int, int, int] | None
Directories = dict[str, tuple[int, int]]


class Subscription:
    """Some paths and the event that is set when one of them leads to something else."""

    def __init__(self, paths: tuple[Path, ...], event: asyncio.Event | None = None) -> None:
        self.event = event or asyncio.Event()
        self.paths = [str(path.absolute()) for path in paths]
        self._seen = self._look()

    def has_changed(self) -> bool:
        """The paths lead to other content than at the last call."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> list[Signature]:
        return [signature(path) for path in self.paths]


class FileWatch:
    """`core.file_changes.FileChanges`, by one thread for all subscriptions."""

    def __init__(self, clock: Clock, emit: Emit, *, step_seconds: float = STEP_SECONDS) -> None:
        self._clock = clock
        self._emit = emit
        self._step_seconds = step_seconds
        self._subscriptions: list[Subscription] = []
        self._subscribed = asyncio.Event()
        self._renew = threading.Event()
        self._is_advised = False

    @contextmanager
    def watch(self, *paths: Path, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """While entered, the event is set at each change behind one of the paths."""
        subscription = Subscription(paths, event)
        self._subscriptions.append(subscription)
        self._subscribed.set()
        self._renew.set()
        try:
            yield subscription.event
        finally:
            self._subscriptions.remove(subscription)
            self._renew.set()

    async def run(self) -> None:
        """Watch for as long as there is something to watch; never returns."""
        while True:
            await self._subscribed.wait()
            self._subscribed.clear()
            while self._subscriptions:
                reason = await self._follow()
                if reason is not None:
                    await self._poll(reason)

    async def _follow(self) -> str | None:
        """Follow the kernel's notices until the directories are others; why not, if it can't be."""
        stopped = threading.Event()
        loop = asyncio.get_running_loop()
        watching = _Watching(self._subscriptions, self._renew, stopped, loop.call_soon_threadsafe)
        try:
            return await asyncio.to_thread(watching.follow, self._step_seconds)
        finally:
            stopped.set()

    async def _poll(self, reason: str) -> None:
        """Without the kernel's help for a while."""
        if not self._is_advised:
            self._is_advised = True
            self._emit(Advice(subject="file watch", text=_advice(reason)))
        until = self._clock.now() + TRY_KERNEL_AGAIN_AFTER
        while self._clock.now() < until:
            await self._clock.sleep(LOOK_AGAIN_AFTER)
            for changed in await asyncio.to_thread(changed_among, tuple(self._subscriptions)):
                changed.event.set()


class _Watching:
    """One use of watchfiles, for one set of directories. Lives in a thread."""

    def __init__(
        self,
        subscriptions: list[Subscription],
        renew: threading.Event,
        stopped: threading.Event,
        tell: Callable[[Callable[[], None]], object],
    ) -> None:
        self._subscriptions = subscriptions
        self._renew = renew
        self._stopped = stopped
        self._tell = tell
        self._watched: Directories = {}
        self._wanted: Directories = {}

    def follow(self, step_seconds: float) -> str | None:
        """Return None once stopped, or when other directories are wanted; else why it can't be."""
        self._watched = self._wanted = self._directories()
        self._renew.set()
        try:
            for notice in self._notices(step_seconds):
                self._look(is_noticed=bool(notice))
        except FileNotFoundError:  # a directory went between the look and the watch
            self._stopped.wait(step_seconds)
        except (OSError, RuntimeError) as error:
            return str(error)
        return None

    def _notices(self, step_seconds: float) -> Iterator[object]:
        """Imported when first needed: an OSError if there is no descriptor to read it with."""
        from watchfiles import watch

        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        return watch(
            *self._watched,
            watch_filter=None,
            debounce=1,
            step=int(step_seconds * 1000),
            stop_event=self,
            rust_timeout=int(LOOK_AGAIN_AFTER * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=True,
        )

    def is_set(self) -> bool:
        """watchfiles asks this at each step: is it to stop?

        The first time, the kernel watches already: what happened before that is looked for now.
        """
        if self._renew.is_set():
            self._renew.clear()
            self._look(is_noticed=True)
        return self._stopped.is_set() or self._wanted != self._watched

    def _look(self, *, is_noticed: bool) -> None:
        changed = changed_among(tuple(self._subscriptions))
        for subscription in changed:
            if not self._stopped.is_set():
                self._tell(subscription.event.set)
        if changed or is_noticed:
            self._wanted = self._directories()

    def _directories(self) -> Directories:
        paths = {path for each in tuple(self._subscriptions) for path in each.paths}
        return identified(directory for path in paths for directory in way(path))


def changed_among(subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Those that lead to other content than when they were last looked at."""
    return [each for each in subscriptions if each.has_changed()]


def signature(path: str) -> Signature:
    """Device, inode, ctime in ns and size of what the path leads to; None where there is nothing.

    The ctime moves with the mtime, and also where a tool sets the old mtime again. This opens no
    content and waits for no device, and is called in the event loop when a subscription begins:
    done any later, a change right after that would be missed.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size


def way(path: str) -> set[str]:
    """The directories in which a change may make `path` (absolute) lead elsewhere.

    That of each link on the way and that of the file at its end; where the way breaks off, the last
    directory that is there. A directory at the end counts with what it holds.
    """
    found: set[str] = set()
    steps = _steps(path)
    at, links = "", 0
    while steps:
        step = steps.pop()
        if step == "..":
            at = _parent(at)
            continue
        here = f"{at}/{step}"
        kind, target = _kind(here)
        if kind == stat.S_IFDIR:
            at = here
            continue
        found.add(at or "/")
        if kind != stat.S_IFLNK or links == MAX_LINKS:
            return found
        links += 1
        at = "" if target.startswith("/") else at
        steps += _steps(target)
    return found | {at or "/", _parent(at) or "/"}


def identified(directories: Iterable[str]) -> Directories:
    """The directories by path, with device and inode: one that is made anew is another one."""
    identities = ((each, signature(each)) for each in directories)
    return {each: known[:2] for each, known in identities if known is not None}


def _steps(path: str) -> list[str]:
    return [step for step in reversed(path.split("/")) if step not in ("", ".")]


def _parent(directory: str) -> str:
    return directory.rpartition("/")[0]


def _kind(path: str) -> tuple[int, str]:
    """What is there, and where a link leads to; 0 where nothing can be seen."""
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
        return kind, str(Path(path).readlink()) if kind == stat.S_IFLNK else ""
    except (OSError, ValueError):
        return 0, ""


def _advice(reason: str) -> str:
    return (
        f"the kernel can't tell of changes ({reason}); files are looked at every "
        f"{LOOK_AGAIN_AFTER:g} s instead. More room: sysctl fs.inotify.max_user_instances and "
        "fs.inotify.max_user_watches"
    )

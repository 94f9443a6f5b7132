"""What a configuration has the agent write to, start, and look at: what Landlock is made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent.config.model import (
    Audit,
    Bundle,
    Configuration,
    ConfirmCommand,
    CredentialsListener,
    NotifyCommand,
    NotifySignal,
    VaultStore,
)
from agent.hardening.landlock import OF_FILES, REMOVE_FILE, WRITES

DEV_NULL = Path("/dev/null")
"""What a command has for its standard input."""


def commands(configuration: Configuration, *, is_parent: bool) -> list[str]:
    """The keys of the configuration that have something of the user's started."""
    found = ["process"] if is_parent else []
    for name, bundle in configuration.bundles.items():
        found += [f"bundles.{name}.{key}" for key in _commands_of(bundle)]
    return found


def _commands_of(bundle: Bundle) -> Iterator[str]:
    if bundle.validate is not None and bundle.validate.command:
        yield "validate.command"
    for number, notify in enumerate(bundle.notify):
        if isinstance(notify, NotifyCommand):
            yield f"notify[{number}].command"
    if isinstance(bundle.confirm, ConfirmCommand):
        yield "confirm.command"


def looks(configuration: Configuration) -> list[str]:
    """The keys that need to see which program another process runs."""
    notified = [
        f"bundles.{name}.notify[{number}].process"
        for name, bundle in configuration.bundles.items()
        for number, notify in enumerate(bundle.notify)
        if isinstance(notify, NotifySignal) and notify.process is not None
    ]
    allowed = [
        f"listeners[{number}].allow[{rule}].{key}"
        for number, listener in enumerate(configuration.listeners)
        for rule, each in enumerate(listener.allow)
        for key in ("executable", "sha256")
        if getattr(each, key, None) is not None
    ]
    return notified + allowed


def noted_looks(configuration: Configuration) -> list[str]:
    """The keys that are better off with it: the audit names the program of each caller."""
    named = [each for each in configuration.listeners if not isinstance(each, CredentialsListener)]
    return ["audit"] if configuration.audit is not None and named else []


def places(configuration: Configuration) -> dict[str, tuple[Path, int]]:
    """By key: the file or directory that has to be written to, which exists, and the rights."""
    wanted = {
        key: (_nearest(path), rights) for key, (path, rights) in _wanted(configuration).items()
    }
    for name, bundle in configuration.bundles.items():
        wanted[f"bundles.{name}.directory"] = (_around(bundle.directory), WRITES)
    wanted["standard input of commands"] = (DEV_NULL, OF_FILES)
    return {key: each for key, each in wanted.items() if each[0].exists()}


def _wanted(configuration: Configuration) -> dict[str, tuple[Path, int]]:
    found = {key: (path.parent, WRITES) for key, path in _files(configuration)}
    for name, store in configuration.stores.items():
        if isinstance(store, VaultStore) and (secret_id := _removed(store)) is not None:
            found[f"stores.{name}.auth.secret_id_file"] = (secret_id.parent, REMOVE_FILE)
    for number, path in enumerate(configuration.hardening.writable):
        found[f"hardening.writable[{number}]"] = (path, WRITES)
    return found


def _files(configuration: Configuration) -> Iterator[tuple[str, Path]]:
    """What appears in its directory by a rename, or with a lock or a key beside it."""
    for number, listener in enumerate(configuration.listeners):
        if listener.socket is not None and not listener.socket.startswith("@"):
            yield f"listeners[{number}].socket", Path(listener.socket)
    if configuration.telemetry is not None and configuration.telemetry.socket is not None:
        yield "telemetry.socket", configuration.telemetry.socket
    if (cache := configuration.cache) is not None:
        yield "cache.file", cache.file
        if cache.head is not None:
            yield "cache.head", cache.head
    if configuration.audit is not None:
        yield from _files_of(configuration.audit)


def _files_of(audit: Audit) -> Iterator[tuple[str, Path]]:
    if audit.file is not None:
        yield "audit.file", audit.file


def _removed(store: VaultStore) -> Path | None:
    """The file that is deleted once it was used."""
    is_removed = getattr(store.auth, "remove_secret_id_file", False)
    return getattr(store.auth, "secret_id_file", None) if is_removed else None


def _around(directory: Path) -> Path:
    """A directory that went away is made again, so the one above counts; not that of a mount."""
    if os.path.ismount(directory):  # follows links, as the agent does
        return Path(os.path.realpath(directory))
    above = _nearest(directory.parent)
    return _nearest(directory) if above == Path(above.anchor) else above


def _nearest(path: Path) -> Path:
    """Where links lead, the first that is there: what is missing is made in it."""
    real = Path(os.path.realpath(path))
    return next((each for each in (real, *real.parents) if each.exists()), Path("/"))

"""`leasehold local`: look after an encrypted store. No value ever comes from an argument."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from pathlib import Path

import click

from agent.cli import local_values as values
from agent.cli.options import config_option
from agent.config.load import load
from agent.config.model import LocalStore
from agent.core.clock import SystemClock, rfc3339
from agent.core.errors import AgentError, Missing
from agent.stores import sealed_file
from agent.stores.local.entries import Entries, Entry, Version, listed, shown, split
from agent.stores.local.file import EntriesFile

LETTERS_AND_DIGITS = string.ascii_letters + string.digits

Command = Callable[..., None]


def target(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, str | None]:
    """`NAME` or `NAME.FIELD`, taken apart."""
    try:
        return split(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def field_target(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, str]:
    """`NAME.FIELD`, taken apart."""
    name, field = target(ctx, param, value)
    if field is None:
        raise click.BadParameter("a field is needed: NAME.FIELD", ctx, param)
    return name, field


store_option = click.option(
    "--store", metavar="NAME", help="The store; may be left out where one is local."
)
field_argument = click.argument("target", metavar="NAME.FIELD", callback=field_target)
target_argument = click.argument("target", metavar="NAME[.FIELD]", callback=target)


def on_a_store(function: Command) -> Command:
    """The options of every command here."""
    return config_option(store_option(function))


@click.group(name="local")
def command() -> None:
    """Look after a local encrypted store (`type: local`).

    \b
    Example: leasehold local init -c leasehold.yaml
             pass show db | leasehold local set database.password -c leasehold.yaml
    """


@command.command()
@on_a_store
def init(config: tuple[Path, ...], store: str | None) -> None:
    """Make the store's file, and its key file, where they are missing.

    \b
    Example: leasehold local init -c leasehold.yaml
    """
    spec, file = _store(config, store)
    if spec.key.file is not None and sealed_file.signature(spec.key.file) is None:
        if sealed_file.signature(spec.file) is not None:
            raise AgentError(f"{spec.key.file}: is missing, and {spec.file} needs that very key")
        sealed_file.make_key(spec.key.file)
        click.echo(f"made {spec.key.file}: keep a copy, nothing opens the store without it")
    is_new = file.create()
    click.echo(f"made {spec.file}" if is_new else f"{spec.file} is there, and its key opens it")


@command.command(name="set")
@field_argument
@click.option(
    "--from-file", type=click.Path(path_type=Path, dir_okay=False), help="Read the value from it."
)
@click.option("--keep-newline", is_flag=True, help="Keep a newline at the end of the value.")
@click.option("--base64", "is_base64", is_flag=True, help="The input is base64; keep its bytes.")
@on_a_store
def set_(
    target: tuple[str, str],
    from_file: Path | None,
    keep_newline: bool,
    is_base64: bool,
    config: tuple[Path, ...],
    store: str | None,
) -> None:
    """Give a field a value: from standard input, from a prompt, or from a file.

    What is no UTF-8 text is kept as bytes. The values before stay as older versions.

    \b
    Example: pass show db | leasehold local set database.password -c leasehold.yaml
             leasehold local set web.key --from-file key.pem --keep-newline -c leasehold.yaml
    """
    _, file = _store(config, store)
    content = values.content(from_file)
    value = (
        values.as_bytes(content)
        if is_base64
        else values.as_text(content, keep_newline=keep_newline)
    )
    if not value:
        raise AgentError("the value is empty; nothing was changed")
    name, field = target
    with file.edit() as entries:
        entries.set(name, field, value, SystemClock().wall())


@command.command()
@target_argument
@click.option("--version", "number", type=click.IntRange(min=1), help="An older version.")
@on_a_store
def get(
    target: tuple[str, str | None],
    number: int | None,
    config: tuple[Path, ...],
    store: str | None,
) -> None:
    """Print a field as it is, or all fields as JSON.

    \b
    Example: leasehold local get database.password -c leasehold.yaml
             leasehold local get database -c leasehold.yaml | jq .
    """
    spec, file = _store(config, store)
    name, field = target
    version = _version(_entry(file.load(), spec, name), spec, name, number)
    values.put_out(shown(version.fields) if field is None else _field(version, spec, name, field))


@command.command(name="list")
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
@on_a_store
def list_(is_json: bool, config: tuple[Path, ...], store: str | None) -> None:
    """List names, fields, versions and when they changed; never a value.

    \b
    Example: leasehold local list -c leasehold.yaml
    """
    _, file = _store(config, store)
    entries = file.load()
    if is_json:
        values.put_out(listed(entries))
        return
    for name, entry in sorted(entries.entries.items()):
        changed, fields = rfc3339(entry.current.created_at), ", ".join(entry.current.fields)
        click.echo(f"{name}  version {entry.current.number}  {changed}  {fields}")


@command.command()
@field_argument
@click.option("--length", type=click.IntRange(8, 4096), default=32, show_default=True)
@click.option(
    "--alphabet",
    metavar="CHARACTERS",
    default=LETTERS_AND_DIGITS,
    show_default="letters and digits",
    help="Drawn from these.",
)
@on_a_store
def rotate(
    target: tuple[str, str],
    length: int,
    alphabet: str,
    config: tuple[Path, ...],
    store: str | None,
) -> None:
    """Give a field that is there a new random value; the one before stays as an older version.

    \b
    Example: leasehold local rotate database.password --length 48 -c leasehold.yaml
    """
    characters = sorted(set(alphabet))
    if len(characters) < 2:
        raise click.UsageError("--alphabet: at least two different characters")
    spec, file = _store(config, store)
    name, field = target
    value = "".join(secrets.choice(characters) for _ in range(length))
    with file.edit() as entries:
        _field(_entry(entries, spec, name).current, spec, name, field)
        entries.set(name, field, value, SystemClock().wall())


@command.command()
@target_argument
@on_a_store
def remove(target: tuple[str, str | None], config: tuple[Path, ...], store: str | None) -> None:
    """Remove a field (older versions keep it), or an entry with all its versions.

    \b
    Example: leasehold local remove database.password -c leasehold.yaml
    """
    spec, file = _store(config, store)
    name, field = target
    with file.edit() as entries:
        entry = _entry(entries, spec, name)
        if field is None:
            del entries.entries[name]
        else:
            _field(entry.current, spec, name, field)
            entries.remove_field(name, field, SystemClock().wall())


# --- the store and what is in it --------------------------------------------------------------


def _store(config: tuple[Path, ...], name: str | None) -> tuple[LocalStore, EntriesFile]:
    stores = load(config).configuration.stores
    local = {key: spec for key, spec in stores.items() if isinstance(spec, LocalStore)}
    known = ", ".join(sorted(local)) or "none"
    if name is None and len(local) != 1:
        raise click.UsageError(f"--store is needed; local stores of the configuration: {known}")
    if name is not None and name not in local:
        raise click.UsageError(f"--store {name}: not a local store; there are: {known}")
    spec = local[name] if name is not None else next(iter(local.values()))
    return spec, EntriesFile(spec.file, spec.key)


def _entry(entries: Entries, spec: LocalStore, name: str) -> Entry:
    entry = entries.entries.get(name)
    if entry is None:
        raise Missing("look up", str(spec.file), name, "there is no entry of this name")
    return entry


def _version(entry: Entry, spec: LocalStore, name: str, number: int | None) -> Version:
    version = entry.current if number is None else entry.version(number)
    if version is None:
        kept = ", ".join(str(each.number) for each in entry.versions)
        raise Missing("look up", str(spec.file), name, f"version {number} is not kept; {kept} are")
    return version


def _field(version: Version, spec: LocalStore, name: str, field: str) -> bytes:
    value = version.values().get(field)
    if value is None:
        fields = ", ".join(version.fields)
        reason = f"version {version.number} has no field {field}; it has {fields}"
        raise Missing("look up", str(spec.file), name, reason)
    return value if isinstance(value, bytes) else value.encode()

"""The `bundles` section: files that change together, and how an app learns of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from agent.config.kinds import (
    BundleFile,
    FileName,
    Group,
    Mode,
    Model,
    Seconds,
    SecretReference,
    Short,
    Signal,
    TemplatePath,
    TemplateText,
    Url,
    User,
    described,
)


class FileOptions(Model, frozen=True):
    """What every kind of file may have; the bundle's own where absent."""

    mode: Annotated[Mode | None, described('File mode, as "0440".')] = None
    owner: Annotated[User | None, described("Owning user.")] = None
    group: Annotated[Group | None, described("Owning group.")] = None


class TemplateFile(FileOptions, kw_only=True, frozen=True):
    """A file from a template on disk, which is watched."""

    template: Annotated[TemplatePath, described("The template's file.")]


class InlineFile(FileOptions, kw_only=True, frozen=True):
    """A file from a template in the configuration; a bare string is the short form."""

    content: Annotated[TemplateText, described("The template itself.")]


class FormatFile(FileOptions, kw_only=True, frozen=True):
    """A file in a known format, from whole secrets."""

    format: Annotated[
        Literal["env", "json", "yaml", "toml", "properties", "pem", "raw"],
        described("The format."),
    ]
    secrets: Annotated[
        tuple[SecretReference, ...],
        Meta(min_length=1, description="The secrets that go in, in order."),
    ]
    field: Annotated[str | None, described("raw: the field; may be absent if there is one.")] = None
    keys: Annotated[
        Literal["upper", "as_is"], described("env: keys in upper case, or as they are.")
    ] = "upper"
    parts: Annotated[
        tuple[Literal["certificate", "chain", "private_key"], ...],
        Meta(min_length=1, description="pem: the parts, in this order."),
    ] = ("certificate", "chain", "private_key")


FileEntry = TemplateFile | InlineFile | FormatFile


class Command(Model, frozen=True):
    """A command, without a shell. Secrets are never put into its arguments."""

    command: Annotated[tuple[str, ...], Meta(min_length=1, description="Program and arguments.")]
    timeout: Annotated[Seconds, Meta(gt=0, description="Then its process group is killed.")] = 30.0


class CertificateCheck(Model, frozen=True):
    """Certificates are current, each is signed by the next, and the key is the first one's."""

    certificate: Annotated[
        BundleFile, described("A PEM file: the certificate first, then those of its issuers.")
    ]
    key: Annotated[
        BundleFile | None,
        described("The file with its private key; the certificate's own file when absent."),
    ] = None
    chain: Annotated[
        BundleFile | None,
        described(
            "The file with its issuers, in order, one at least; may be the certificate's own file."
        ),
    ] = None


class JsonCheck(Model, frozen=True):
    """The file is one JSON text."""

    json: Annotated[BundleFile, described("The file.")]


class YamlCheck(Model, frozen=True):
    """The file is YAML: any number of documents, with any tags."""

    yaml: Annotated[BundleFile, described("The file.")]


class TomlCheck(Model, frozen=True):
    """The file is a TOML document."""

    toml: Annotated[BundleFile, described("The file.")]


Check = CertificateCheck | JsonCheck | YamlCheck | TomlCheck


class Validate(Model, frozen=True):
    """Sees the candidate before it is published: the checks in their order, then the command."""

    command: Annotated[
        tuple[str, ...] | None,
        Meta(
            min_length=1,
            description="Program and arguments; `{directory}` is where the candidate is.",
        ),
    ] = None
    timeout: Annotated[Seconds, Meta(gt=0, description="Then its process group is killed.")] = 10.0
    checks: Annotated[tuple[Check, ...], described("What the agent checks by itself.")] = ()


class NotifySignal(Model, frozen=True):
    """A signal to one process or, by executable or unit, to each that matches."""

    exactly_one: ClassVar = (("pid_file", "unit", "process"),)

    signal: Annotated[Signal, described("HUP, USR1, SIGUSR2 …")]
    pid_file: Annotated[Path | None, described("Re-read each time.")] = None
    unit: Annotated[str | None, described("The main process of this systemd unit.")] = None
    process: Annotated[Path | None, described("Processes that run this executable.")] = None


class NotifySystemd(Model, frozen=True):
    """A systemd unit is reloaded or restarted."""

    systemd: Annotated[str, described("The unit.")]
    action: Annotated[
        Literal["reload", "restart", "reload-or-restart"], described("What is done with it.")
    ] = "reload"
    timeout: Annotated[Seconds, Meta(gt=0, description="Longest time for the job.")] = 30.0


class NotifyHttp(Model, frozen=True):
    """An HTTP request; any answer of 2xx will do."""

    http: Annotated[Url, described("http://… or http+unix:/SOCKET:/PATH.")]
    method: Annotated[Literal["GET", "POST", "PUT"], described("The request's method.")] = "POST"
    timeout: Annotated[Seconds, Meta(gt=0, description="Longest time for the answer.")] = 30.0


class NotifyCommand(Command, frozen=True):
    """A command; LEASEHOLD_BUNDLE, _DIRECTORY and _GENERATION are in its environment."""


Notify = NotifySignal | NotifySystemd | NotifyHttp | NotifyCommand


class ConfirmHttp(Model, frozen=True):
    """The app is asked until it answers with the status."""

    http: Annotated[Url, described("http://… or http+unix:/SOCKET:/PATH.")]
    status: Annotated[int, Meta(ge=100, le=599, description="The status that confirms.")] = 200
    timeout: Annotated[Seconds, Meta(gt=0, description="Then it has not confirmed.")] = 30.0
    every: Annotated[Seconds, Meta(ge=0.05, description="Pause between two questions.")] = 1.0


class ConfirmCommand(Model, frozen=True):
    """A command is run until it ends with 0."""

    command: Annotated[tuple[str, ...], Meta(min_length=1, description="Program and arguments.")]
    timeout: Annotated[Seconds, Meta(gt=0, description="Then it has not confirmed.")] = 30.0
    every: Annotated[Seconds, Meta(ge=0.05, description="Pause between two runs.")] = 1.0


class ConfirmFile(Model, frozen=True):
    """A file is looked at until the app has touched it, after the announcement."""

    file: Annotated[Path, described("A regular file that the app touches, writes or replaces.")]
    content: Annotated[
        Literal["any", "generation"],
        described("any: that it changes confirms; generation: it must hold the generation."),
    ] = "any"
    timeout: Annotated[Seconds, Meta(gt=0, description="Then it has not confirmed.")] = 30.0
    every: Annotated[Seconds, Meta(ge=0.05, description="Pause between two looks.")] = 0.25


class ConfirmApi(Model, frozen=True):
    """The app says so itself, by the secrets API."""

    api: Annotated[bool, described("Always true.")]
    timeout: Annotated[Seconds, Meta(gt=0, description="Then it has not confirmed.")] = 30.0


Confirm = ConfirmHttp | ConfirmCommand | ConfirmFile | ConfirmApi


class Bundle(Model, frozen=True):
    """Files that change together, as one generation."""

    directory: Annotated[Path, described("Memory only (tmpfs, ramfs), unless allow_disk.")]
    files: Annotated[
        dict[FileName, Annotated[FileEntry, Short("content")]],
        Meta(
            min_length=1,
            description="By relative path. A string is an inline template.",
        ),
    ]
    owner: Annotated[User | None, described("Owning user; the agent's own when absent.")] = None
    group: Annotated[Group | None, described("Owning group; the agent's own when absent.")] = None
    mode: Annotated[Mode, described('Mode of the files, as "0440".')] = 0o440
    directory_mode: Annotated[Mode, described("Mode of the directories.")] = 0o750
    allow_disk: Annotated[bool, described("Permit a directory that is not memory.")] = False
    remove_on_exit: Annotated[bool, described("Remove the files when the agent ends.")] = False
    debounce: Annotated[
        Seconds, Meta(ge=0, le=60, description="Wait this long for further changes.")
    ] = 0.5
    validate: Annotated[
        Validate | None, described("Must pass before a candidate is published.")
    ] = None
    notify: Annotated[tuple[Notify, ...], described("Who is told, in this order.")] = ()
    notify_first: Annotated[bool, described("Announce the first generation ever, too.")] = False
    confirm: Annotated[
        Confirm | None,
        described("The app's proof that it works with the new generation."),
    ] = None

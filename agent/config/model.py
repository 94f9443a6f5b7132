"""The configuration as types: what a program may rely on once `load` has returned.

This is the contract's single home, in modules by section (`store_model`, `bundle_model`,
`listener_model` and this one, which has all names): the loader walks these types, the JSON Schema
and `docs/configuration.md` are printed from them. Field descriptions are for users. Paths are
absolute, durations float seconds, modes integers, signals without SIG, `${…}` is expanded; an
entry's store and a store's address are filled in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from agent.config.audit_model import Audit, AuditKey
from agent.config.bundle_model import (
    Bundle,
    CertificateCheck,
    Check,
    Command,
    Confirm,
    ConfirmApi,
    ConfirmCommand,
    ConfirmFile,
    ConfirmHttp,
    FileEntry,
    FileOptions,
    FormatFile,
    InlineFile,
    JsonCheck,
    Notify,
    NotifyCommand,
    NotifyHttp,
    NotifySignal,
    NotifySystemd,
    TemplateFile,
    TomlCheck,
    Validate,
    YamlCheck,
)
from agent.config.cache_model import Cache, CacheKey
from agent.config.hardening_model import Hardening
from agent.config.kinds import (
    CREDENTIAL,
    DURATION,
    MODE,
    NAME,
    Credential,
    Group,
    HostPort,
    Kind,
    Mode,
    Model,
    Name,
    NotYet,
    Port,
    Seconds,
    SecretName,
    Signal,
    StoreReference,
    TemplateText,
    User,
    Variable,
    described,
)
from agent.config.listener_model import (
    AnyListener,
    AnyRule,
    ApiRule,
    AwsListener,
    CallerRule,
    CredentialRule,
    CredentialsListener,
    Limits,
    PathRule,
    SecretsListener,
    SecretsRule,
    TokenSource,
    VaultListener,
    VaultRule,
)
from agent.config.store_model import (
    NOT_YET_AUTH,
    NOT_YET_STORES,
    AnyStore,
    AppRole,
    Auth,
    Budget,
    Cert,
    Jwt,
    Kubernetes,
    Ldap,
    LocalKey,
    LocalStore,
    Tls,
    TokenFile,
    UserPass,
    VaultStore,
)

__all__ = [
    "CREDENTIAL",
    "DURATION",
    "MODE",
    "NAME",
    "NOT_YET_AUTH",
    "NOT_YET_STORES",
    "AnyListener",
    "AnyRule",
    "AnyStore",
    "ApiRule",
    "AppRole",
    "Audit",
    "AuditKey",
    "Auth",
    "AwsListener",
    "Budget",
    "Bundle",
    "Cache",
    "CacheKey",
    "CallerRule",
    "Cert",
    "CertificateCheck",
    "Check",
    "Command",
    "Configuration",
    "Confirm",
    "ConfirmApi",
    "ConfirmCommand",
    "ConfirmFile",
    "ConfirmHttp",
    "Credential",
    "CredentialRule",
    "CredentialsListener",
    "FileEntry",
    "FileOptions",
    "FormatFile",
    "Group",
    "Hardening",
    "HostPort",
    "InlineFile",
    "JsonCheck",
    "Jwt",
    "Kind",
    "Kubernetes",
    "Ldap",
    "Limits",
    "LocalKey",
    "LocalStore",
    "Log",
    "Mode",
    "Model",
    "Name",
    "NotYet",
    "Notify",
    "NotifyCommand",
    "NotifyHttp",
    "NotifySignal",
    "NotifySystemd",
    "OnChangeSignal",
    "PathRule",
    "Port",
    "Process",
    "Seconds",
    "SecretEntry",
    "SecretName",
    "SecretsListener",
    "SecretsRule",
    "Signal",
    "Stop",
    "StoreReference",
    "Telemetry",
    "TemplateFile",
    "TemplateText",
    "Tls",
    "TokenFile",
    "TokenSource",
    "TomlCheck",
    "User",
    "UserPass",
    "Validate",
    "Variable",
    "VaultListener",
    "VaultRule",
    "VaultStore",
    "YamlCheck",
    "described",
]


class SecretEntry(Model, frozen=True):
    """One named entry: where it comes from and how fresh it must be."""

    path: Annotated[
        str,
        described("The API path; for KV the CLI's (secret/app) or the API's (secret/data/app)."),
    ]
    store: Annotated[StoreReference, described("May be left out where there is one store.")] = ""
    data: Annotated[
        dict[str, Any] | None, described("Present: the path is written to, with this body.")
    ] = None
    version: Annotated[int | None, Meta(ge=1, description="A pinned version (KV v2).")] = None
    refresh_every: Annotated[
        Seconds, Meta(ge=1, description="A value without a lease is read again this often.")
    ] = 300.0
    renew_at: Annotated[
        float,
        Meta(
            ge=0.1, le=0.95, description="Fraction of a lease at which it is renewed or replaced."
        ),
    ] = 0.67
    max_stale: Annotated[
        Seconds, Meta(ge=0, description="How long a value may be used without fresh proof.")
    ] = 86400.0
    max_denied: Annotated[
        Seconds,
        Meta(
            ge=0,
            description="How long a value without a lease may still be used after the store has"
            " denied it (403) or lost it (404), without another answer in between. An outage does"
            " not count.",
        ),
    ] = 3600.0
    revoke: Annotated[
        Literal["on_retire", "never"],
        described("Whether an old lease is revoked once nobody uses it."),
    ] = "on_retire"
    grace: Annotated[
        Seconds,
        Meta(ge=0, description="How long a value given by a listener outlives its replacement."),
    ] = 60.0
    aliases: Annotated[
        tuple[str, ...], described("Other names that listeners of protocol aws know it by.")
    ] = ()

    def __repr__(self) -> str:
        """Without `data`: what is written to a store may be a secret, too."""
        return f"SecretEntry(store={self.store!r}, path={self.path!r})"


class Stop(Model, frozen=True):
    """How the child is asked to end."""

    signal: Annotated[Signal, described("The first word.")] = "TERM"
    timeout: Annotated[Seconds, Meta(gt=0, description="Then SIGKILL.")] = 30.0


class OnChangeSignal(Model, frozen=True):
    """The child is told by a signal; only where just files or memory files changed."""

    signal: Annotated[Signal, described("HUP, USR1 …")]


class Process(Model, frozen=True):
    """The child of `leasehold run`."""

    command: Annotated[
        tuple[str, ...], described("Program and arguments; those after `--` win.")
    ] = ()
    user: Annotated[User | None, described("Run it as this user.")] = None
    group: Annotated[Group | None, described("Run it as this group; the user's when absent.")] = (
        None
    )
    working_directory: Annotated[Path | None, described("Run it in this folder.")] = None
    environment: Annotated[
        dict[Variable, TemplateText],
        described("Templates by variable; added to the agent's environment."),
    ] = {}
    memory_files: Annotated[
        dict[Variable, TemplateText],
        described("Templates by variable; each becomes a sealed memfd and the variable its path."),
    ] = {}
    on_change: Annotated[
        Literal["restart", "none"] | OnChangeSignal,
        described("What happens to it when what it was given has changed."),
    ] = "restart"
    on_exit: Annotated[
        Literal["exit", "restart", "restart_on_failure"],
        described("What happens when it ends by itself: end with its code, or start it again."),
    ] = "exit"
    debounce: Annotated[
        Seconds, Meta(ge=0, le=60, description="Wait this long for further changes.")
    ] = 2.0
    stop: Annotated[Stop, described("How it is asked to end.")] = Stop()


class Telemetry(Model, frozen=True):
    """Health, metrics, status, /refresh and /drill over HTTP: an address or a socket."""

    exactly_one: ClassVar = (("address", "socket"),)

    address: Annotated[HostPort | None, described("HOST:PORT.")] = None
    socket: Annotated[Path | None, described("A UNIX socket.")] = None
    mode: Annotated[Mode, described("Mode of the socket.")] = 0o660
    owner: Annotated[User | None, described("Owner of the socket.")] = None
    group: Annotated[Group | None, described("Group of the socket.")] = None


class Log(Model, frozen=True):
    """The agent's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], described("The least.")] = "info"
    format: Annotated[
        Literal["auto", "text", "json", "journal"],
        described("auto: text on a terminal, journal under systemd, json elsewhere."),
    ] = "auto"


class Configuration(Model, frozen=True):
    """What the agent does, whole: the sections of one file, or of several that are merged."""

    stores: Annotated[
        dict[Name, Annotated[AnyStore, NotYet(NOT_YET_STORES)]],
        described("Places that hold secrets, by name."),
    ] = {}
    secrets: Annotated[dict[SecretName, SecretEntry], described("Secrets, by name.")] = {}
    bundles: Annotated[dict[Name, Bundle], described("Sets of files, by name.")] = {}
    listeners: Annotated[
        tuple[AnyListener, ...], described("Local doors, and who may have what through them.")
    ] = ()
    process: Annotated[Process | None, described("The child of `leasehold run`.")] = None
    cache: Annotated[Cache | None, described("The sealed cache.")] = None
    audit: Annotated[Audit | None, described("Who read what, and what changed.")] = None
    telemetry: Annotated[Telemetry | None, described("Metrics, health and status.")] = None
    log: Annotated[Log, described("The agent's own log.")] = Log()
    hardening: Annotated[Hardening, described("What the agent does against its own misuse.")] = (
        Hardening()
    )
    shutdown_timeout: Annotated[
        Seconds, Meta(gt=0, description="Longest time for an orderly end, after the child's own.")
    ] = 30.0

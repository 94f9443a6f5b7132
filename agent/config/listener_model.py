"""The `listeners` section: local doors, and who may have what through each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from agent.config.kinds import (
    ContainerId,
    CredentialGlob,
    Glob,
    Group,
    InputFile,
    LoopbackPort,
    Mode,
    Model,
    PodUid,
    Seconds,
    Sha256,
    SocketName,
    StoreReference,
    UnitGlob,
    User,
    VaultPath,
    described,
)

Capability = Literal["read", "list", "create", "update", "patch", "delete"]


class CallerRule(Model, frozen=True):
    """Lets a caller who meets all named conditions read secrets; without any, every caller."""

    user: Annotated[User | None, described("The caller's user.")] = None
    group: Annotated[Group | None, described("A group of the caller's, also a further one.")] = None
    unit: Annotated[
        UnitGlob | None, described("Its unit of the system's systemd; may be a pattern.")
    ] = None
    executable: Annotated[
        Path | None, described("The file that it runs, as the agent sees it; no copy, no script.")
    ] = None
    sha256: Annotated[Sha256 | None, described("Of the file that it runs.")] = None
    container: Annotated[
        ContainerId | None, described("Its container's id, or the first 12 digits or more.")
    ] = None
    pod_uid: Annotated[PodUid | None, described("The uid of its Kubernetes pod.")] = None


class SecretsRule(CallerRule, kw_only=True, frozen=True):
    """Lets a caller who meets all named conditions read secrets; without any, every caller."""

    secrets: Annotated[
        tuple[Glob, ...], Meta(min_length=1, description="Names or patterns of secrets.")
    ]


class ApiRule(CallerRule, frozen=True):
    """Lets a caller who meets all named conditions read secrets, and see and confirm bundles."""

    secrets: Annotated[tuple[Glob, ...], described("Names or patterns of secrets.")] = ()
    bundles: Annotated[
        tuple[Glob, ...],
        described("Names or patterns of bundles, beside those of whose secrets all may be read."),
    ] = ()


class PathRule(Model, frozen=True):
    """A path of the vault that is passed on with the agent's own token."""

    path: Annotated[
        VaultPath,
        described("As in a policy: `+` is any one step, `*` at the end any rest."),
    ]
    capabilities: Annotated[
        tuple[Capability, ...], Meta(min_length=1, description="What may be done there.")
    ]


class VaultRule(CallerRule, frozen=True):
    """Lets a caller who meets all named conditions read secrets, and use paths of the vault."""

    secrets: Annotated[tuple[Glob, ...], described("Names or patterns of secrets.")] = ()
    paths: Annotated[
        tuple[PathRule, ...], described("Other paths; sys/ and auth/ must be named in full.")
    ] = ()


class CredentialRule(Model, frozen=True):
    """Lets units load credentials; without a `unit`, every unit."""

    unit: Annotated[UnitGlob | None, described("The unit; may be a pattern.")] = None
    secrets: Annotated[
        tuple[Glob, ...], described("Names or patterns of secrets, with all of their fields.")
    ] = ()
    credentials: Annotated[
        tuple[CredentialGlob, ...], described("Names or patterns of single credentials.")
    ] = ()


class Limits(Model, frozen=True):
    """What one listener bears, so that one caller can't starve the others."""

    connections: Annotated[
        int, Meta(ge=1, le=65536, description="At once; then the greediest user's oldest goes.")
    ] = 512
    per_user: Annotated[
        int, Meta(ge=1, le=65536, description="Of one user at once; UNIX sockets only.")
    ] = 128
    request_bytes: Annotated[
        int, Meta(ge=1024, le=67108864, description="The longest body of a request.")
    ] = 1048576
    idle: Annotated[
        Seconds, Meta(ge=1, le=86400, description="Then a connection without a request goes.")
    ] = 75.0
    slow: Annotated[
        Seconds, Meta(ge=0.1, le=3600, description="Longest time for a request to arrive whole.")
    ] = 10.0


class LocalDoor(Model, frozen=True):
    """What all listeners have."""

    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = (("socket", "activated"),)

    socket: Annotated[
        SocketName | None, described("A UNIX socket; `@NAME` is an abstract one.")
    ] = None
    activated: Annotated[
        str | None, described("The socket that systemd passes under this FileDescriptorName=.")
    ] = None
    owner: Annotated[User | None, described("Owner of the socket.")] = None
    group: Annotated[Group | None, described("Group of the socket.")] = None
    mode: Annotated[Mode, described("Mode of the socket.")] = 0o660
    limits: Annotated[Limits, described("What it bears.")] = Limits()


class LoopbackDoor(LocalDoor, frozen=True):
    """A listener that may be on TCP, too."""

    exactly_one: ClassVar = (("socket", "address", "activated"),)

    address: Annotated[
        LoopbackPort | None, described("HOST:PORT on loopback, where callers are unknown.")
    ] = None


class SecretsListener(LocalDoor, tag="secrets", tag_field="protocol", frozen=True):
    """The secrets API."""

    allow: Annotated[tuple[ApiRule, ...], described("Who may read what.")] = ()


class VaultListener(LoopbackDoor, tag="vault", tag_field="protocol", frozen=True):
    """The Vault API, for its SDKs and programs."""

    store: Annotated[
        StoreReference, described("Which vault; may be left out where there is one.")
    ] = ""
    pass_tokens: Annotated[
        bool,
        described("Pass on requests that carry a token of the caller's own, and logins."),
    ] = True
    allow: Annotated[tuple[VaultRule, ...], described("Who may read what.")] = ()


class TokenSource(Model, frozen=True):
    """Where the token is that requests must carry."""

    file: Annotated[InputFile, described("The file that holds it.")]


class AwsListener(LoopbackDoor, tag="aws", tag_field="protocol", frozen=True):
    """The API of the AWS Secrets Manager Agent."""

    limits: Annotated[Limits, described("What it bears.")] = Limits(connections=1024)
    token: Annotated[
        TokenSource | None,
        described("The token against forged requests; AWS_TOKEN and its like where absent."),
    ] = None
    allow: Annotated[tuple[SecretsRule, ...], described("Who may read what.")] = ()


class CredentialsListener(LocalDoor, tag="credentials", tag_field="protocol", frozen=True):
    """LoadCredential= of systemd units, which connects as root."""

    mode: Annotated[Mode, described("Mode of the socket.")] = 0o600
    limits: Annotated[Limits, described("What it bears.")] = Limits(connections=4096, per_user=4096)
    timeout: Annotated[
        Seconds,
        Meta(gt=0, le=86400, description="How long a unit waits for a value; then it fails."),
    ] = 30.0
    allow: Annotated[tuple[CredentialRule, ...], described("Which unit may load what.")] = ()


AnyListener = SecretsListener | VaultListener | AwsListener | CredentialsListener
AnyRule = SecretsRule | ApiRule | VaultRule | CredentialRule

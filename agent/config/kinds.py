"""The words that the model is written in: the base of sections, kinds of scalars, annotations.

A `Kind` says what a scalar means beyond its Python type. `scalars.py` has a reader for each; the
schema takes its `pattern`, the reference its `hint`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections: immutable, compared by value, unknown keys refused.

    `exactly_one`: of each group of keys one must be there, and no second one.
    """

    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()


class Kind(msgspec.Struct, frozen=True, eq=False):
    """A scalar's meaning. `pattern` is a whole regular expression, `hint` what a reader is told."""

    name: str
    hint: str
    pattern: str = ""

    def __repr__(self) -> str:
        return f"Kind({self.name!r})"


class NotYet(msgspec.Struct, frozen=True):
    """On a union: its tags that belong to the contract and can't be had yet."""

    names: tuple[str, ...]


class Short(msgspec.Struct, frozen=True):
    """On a union: a bare text stands for the mapping that has it under `key`."""

    key: str


def described(text: str) -> Meta:
    """A field's description, for the schema and the reference."""
    return Meta(description=text)


NAME_PATTERN = "[A-Za-z][A-Za-z0-9_-]*"
_NUMBER = "[0-9]+(?:\\.[0-9]+)?"
_UNITS = ("d", "h", "m(?!s)", "s", "ms")
DURATION_PATTERN = "(?=.)" + "".join(f"(?:({_NUMBER}){unit})?" for unit in _UNITS)

DURATION = Kind("duration", "duration", f"{_NUMBER}|{DURATION_PATTERN}")
MODE = Kind("mode", "file mode", "(?:0o?)?[0-7]{3}")
NAME = Kind("name", "name", NAME_PATTERN)
SECRET_NAME = Kind("secret name", "name", NAME_PATTERN)
"""The name that a secret is given: templates use it, so their own words are refused."""
SECRET = Kind("secret", "name of a secret", NAME_PATTERN)
STORE = Kind("store", "name of a store", NAME_PATTERN)
CREDENTIAL = Kind("credential", "`${NAME}`", r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\}")
"""Text that must come from the environment (`${NAME}`), never stand in the file."""
TEMPLATE = Kind("template", "template")
FILE = Kind("file", "file")
"""A file that is read and is there on the host that the agent runs on."""
TEMPLATE_FILE = Kind("template file", "file")
USER = Kind("user", "user")
GROUP = Kind("group", "group")
SIGNAL = Kind("signal", "signal", "(?:SIG)?[A-Z][A-Z0-9+-]*")
URL = Kind("url", "URL", "https?://.+|http\\+unix:/.+")
STORE_ADDRESS = Kind("store address", "URL", "https?://.+|unix:/.+")
HOST_PORT = Kind("address", "HOST:PORT", ".+:[0-9]+")
_NO_DOTS = r"(?!\.\.)(?!(?:.*/)?\.{1,2}(?:/|$))"
FILE_NAME = Kind("file name", "relative path", _NO_DOTS + "[^/]+(?:/[^/]+)*")
BUNDLE_FILE = Kind("bundle file", "name of a file of the bundle", FILE_NAME.pattern)
VARIABLE = Kind("variable", "name of a variable", "[A-Za-z_][A-Za-z0-9_]*")
_GLOB_NAME = r"(?:[A-Za-z0-9_*?-]|\[!?[A-Za-z0-9_-]+\])"
GLOB = Kind("pattern of names", "name or pattern", f"{_GLOB_NAME}+")
CREDENTIAL_GLOB = Kind(
    "pattern of credentials", "NAME, NAME.FIELD or pattern", f"{_GLOB_NAME}+(?:\\..+)?"
)
_UNIT_TYPES = "service|socket|scope|mount|swap"
UNIT_GLOB = Kind(
    "unit", "unit or pattern", rf"[A-Za-z0-9:_.\\@*?!\[\]-]+(?:\.(?:{_UNIT_TYPES})|\*)"
)
SHA256 = Kind("sha256", "64 hexadecimal digits", "[0-9A-Fa-f]{64}")
CONTAINER_ID = Kind("container", "12 to 64 hexadecimal digits", "[0-9a-f]{12,64}")
_UUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
POD_UID = Kind("pod uid", "uid", f"{_UUID}|[0-9A-Fa-f]{{32}}")
VAULT_PATH = Kind("path of a vault", "path or pattern", "[^/].*")
SOCKET_NAME = Kind("socket", "path or @NAME", ".+")
LOOPBACK_PORT = Kind("loopback address", "HOST:PORT", ".+:[0-9]+")
BYTES = Kind("size", "bytes, or as 64MiB", "[0-9]+(?: ?[KMG]i?B)?")
SYSLOG = Kind("syslog", "true, path, udp:HOST:PORT or tcp:HOST:PORT")

Seconds = Annotated[float, DURATION]
Mode = Annotated[int, MODE]
Bytes = Annotated[int, BYTES]
Syslog = Annotated[str, SYSLOG]
Name = Annotated[str, NAME]
SecretName = Annotated[str, SECRET_NAME]
SecretReference = Annotated[str, SECRET]
StoreReference = Annotated[str, STORE]
Credential = Annotated[str, CREDENTIAL]
TemplateText = Annotated[str, TEMPLATE]
InputFile = Annotated[Path, FILE]
TemplatePath = Annotated[Path, TEMPLATE_FILE]
User = Annotated[str, USER]
Group = Annotated[str, GROUP]
Signal = Annotated[str, SIGNAL]
Url = Annotated[str, URL]
StoreAddress = Annotated[str, STORE_ADDRESS]
HostPort = Annotated[str, HOST_PORT]
FileName = Annotated[str, FILE_NAME]
BundleFile = Annotated[str, BUNDLE_FILE]
Variable = Annotated[str, VARIABLE]
Glob = Annotated[str, GLOB]
CredentialGlob = Annotated[str, CREDENTIAL_GLOB]
UnitGlob = Annotated[str, UNIT_GLOB]
Sha256 = Annotated[str, SHA256]
ContainerId = Annotated[str, CONTAINER_ID]
PodUid = Annotated[str, POD_UID]
VaultPath = Annotated[str, VAULT_PATH]
SocketName = Annotated[str, SOCKET_NAME]
LoopbackPort = Annotated[str, LOOPBACK_PORT]
Port = Annotated[int, Meta(ge=1, le=65535)]

"""One scalar's text to its value; each kind's reader is pure and says what would be permitted.

Text from the environment is never quoted in a message: `Text.written` is.
"""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.config import addresses, audit_scalars, kinds, listener_scalars
from agent.config.kinds import Kind
from agent.config.report import Unfit, permitted, quoted
from agent.config.shape import Limits, Scalar
from agent.config.tree import Text

MAX_DIGITS = 400
MAX_DURATION = 100 * 365 * 86400.0
_DURATION = re.compile(kinds.DURATION_PATTERN)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_QUOTED_MODE = re.compile(kinds.MODE.pattern)
_PLAIN_MODE = re.compile(r"0o?[0-7]{3}")
_NAME = re.compile(kinds.NAME_PATTERN)
_VARIABLE = re.compile(kinds.VARIABLE.pattern)
_SIGNALS = {each.name.removeprefix("SIG"): each for each in signal.Signals}
_OWN_WORDS = ("meta", "env", "secrets")
_JINJA_WORDS = ("true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is")
_JINJA_NAMES = ("if", "else", "loop", "self", "super", "caller", "varargs", "kwargs")
TEMPLATE_WORDS = frozenset((*_OWN_WORDS, *_JINJA_WORDS, *_JINJA_NAMES))


class CredentialText(str):
    """A credential from the environment. Its repr tells nothing; otherwise a str."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<credential>"


def read_scalar(text: Text, shape: Scalar) -> Any:
    """The value, within the shape's limits; `Unfit` says what is wrong and what is permitted."""
    reader = _KINDS[shape.kind] if shape.kind in _KINDS else _BASES[shape.base]
    value = reader(text)
    if shape.limits is not None and not shape.limits.admit(value):
        raise Unfit(f"{text.shown} {range_of(shape, shape.limits)}")
    return value


def range_of(shape: Scalar, limits: Limits) -> str:
    """`must be 1 to 65535`"""
    unit = "s" if shape.kind is kinds.DURATION else ""
    least, above, most = (
        "" if each is None else f"{each:.15g}{unit}"
        for each in (limits.least, limits.above, limits.most)
    )
    if least and most:
        return f"must be {least} to {most}"
    if above:
        return f"must be more than {above}" + (f", and at most {most}" if most else "")
    return f"must be at least {least}" if least else f"must be at most {most}"


def duration(text: Text) -> float:
    """Seconds. A number, or `30s`, `5m`, `1h30m`, `7d`, `250ms`."""
    written = text.text.strip()
    match = _DURATION.fullmatch(written)
    if _NUMBER.fullmatch(written):
        seconds = float(written)
    elif match:
        parts = zip(match.groups(), _UNITS, strict=True)
        seconds = math.fsum(float(number) * unit for number, unit in parts if number)
    else:
        why = "can't be negative" if written.startswith("-") else "is no duration"
        raise Unfit(f"{text.shown} {why}; permitted: seconds, or as 250ms, 30s, 5m, 1h30m, 7d")
    if seconds > MAX_DURATION:
        raise Unfit(f"{text.shown} is too long; permitted: up to 36500d")
    return seconds


def mode(text: Text) -> int:
    """A file mode. YAML 1.1 and 1.2 differ on 0440; written so, octal is what is meant."""
    pattern = _QUOTED_MODE if text.style or text.is_from_environment else _PLAIN_MODE
    if pattern.fullmatch(text.text):
        return int(text.text.removeprefix("0o"), 8)
    if pattern is _PLAIN_MODE and _QUOTED_MODE.fullmatch(text.text):
        octal = quoted("0" + text.text)
        raise Unfit(f"{text.text} may be meant as decimal; a file mode is written {octal}")
    raise Unfit(f'{text.shown} is no file mode; permitted: "0000" to "0777"')


def plain(text: Text) -> str:
    """Text, as it is written: `0440`, `no` and `1e3` are what they look like."""
    if "\0" in text.text:
        raise Unfit("has a NUL character")
    return text.text


def integer(text: Text) -> int:
    if text.is_plain and len(text.text) < MAX_DIGITS and _INTEGER.fullmatch(text.text):
        return int(text.text)
    raise _unfit(text, _INTEGER, "no whole number")


def number(text: Text) -> float:
    if text.is_plain and len(text.text) < MAX_DIGITS and _DECIMAL.fullmatch(text.text):
        value = float(text.text)
        if math.isfinite(value):
            return value
    raise _unfit(text, _DECIMAL, "no number")


def _unfit(text: Text, wanted: re.Pattern[str], what: str) -> Unfit:
    if not text.is_plain and wanted.fullmatch(text.text):
        return Unfit(f"{text.shown} is text; a number has no quotes")
    return Unfit(f"{text.shown} is {what}")


def boolean(text: Text) -> bool:
    if text.is_plain and text.text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.text.lower() == "true"
    raise Unfit(f"{text.shown} must be true or false")


def path(text: Text) -> Path:
    """Absolute; a relative one is relative to the file that it stands in."""
    if not plain(text):
        raise Unfit("is an empty path")
    folder = os.path.dirname(text.place.file)  # noqa: PTH120  # ten times as fast, for each value
    return Path(os.path.abspath(folder) if folder else os.getcwd(), text.text)  # noqa: PTH100, PTH109


def anything(text: Text) -> Any:
    """What JSON has: YAML 1.2's plain null, true, false and decimal numbers; all else is text."""
    if text.is_from_environment or text.style:
        return text.text
    if text.is_null:
        return None
    for reader in (boolean, integer, number):
        try:
            return reader(text)
        except Unfit:
            continue
    return text.text


def word(text: Text, words: tuple[str, ...]) -> str:
    if text.text in words:
        return text.text
    raise Unfit(f"{text.shown} is not known{permitted(text.written, words)}")


def name(text: Text) -> str:
    if _NAME.fullmatch(text.text):
        return text.text
    raise Unfit(f"{text.shown} is no name; permitted: a letter, then letters, digits, _ and -")


def secret_name(text: Text) -> str:
    if text.text in TEMPLATE_WORDS:
        raise Unfit(f"{text.shown} can't name a secret: the word has a meaning in templates")
    return name(text)


def variable(text: Text) -> str:
    if _VARIABLE.fullmatch(text.text):
        return text.text
    raise Unfit(f"{text.shown} is no name of a variable; permitted: letters, digits and _")


def file_name(text: Text) -> str:
    """A path below the bundle's directory; names that begin with `..` are the agent's own."""
    steps = plain(text).split("/")
    if text.text.startswith("/"):
        raise Unfit(f"{text.shown} must be relative: it is put into the bundle's directory")
    if any(step in ("", ".", "..") for step in steps):
        raise Unfit(f"{text.shown} must be a plain relative path, without empty steps, . and ..")
    if steps[0].startswith(".."):
        raise Unfit(f"{text.shown} begins with .., which is for the agent's own names")
    if any(len(step.encode(errors="surrogatepass")) > 255 for step in steps):
        raise Unfit(f"{text.shown} has a step longer than 255 bytes")
    return text.text


def signal_name(text: Text) -> str:
    """Without SIG."""
    found = text.text.removeprefix("SIG")
    if found in _SIGNALS:
        return found
    known = permitted(text.written.removeprefix("SIG"), _SIGNALS)
    raise Unfit(f"{text.shown} is no signal{known}")


def credential(text: Text) -> str:
    if text.is_literal:
        raise Unfit("a literal credential is refused: it comes from ${NAME} or a file")
    return CredentialText(plain(text))


_BASES: dict[type, Callable[[Text], Any]] = {
    str: plain,
    int: integer,
    float: number,
    bool: boolean,
    Path: path,
}
_KINDS: dict[Kind | None, Callable[[Text], Any]] = {
    kinds.DURATION: duration,
    kinds.MODE: mode,
    kinds.NAME: name,
    kinds.SECRET_NAME: secret_name,
    kinds.SECRET: plain,
    kinds.STORE: plain,
    kinds.VARIABLE: variable,
    kinds.FILE_NAME: file_name,
    kinds.SIGNAL: signal_name,
    kinds.CREDENTIAL: credential,
    kinds.URL: addresses.url,
    kinds.STORE_ADDRESS: addresses.store_address,
    kinds.HOST_PORT: addresses.host_port,
    kinds.GLOB: listener_scalars.glob,
    kinds.CREDENTIAL_GLOB: listener_scalars.credential_glob,
    kinds.UNIT_GLOB: listener_scalars.unit_glob,
    kinds.SHA256: listener_scalars.sha256,
    kinds.CONTAINER_ID: listener_scalars.container_id,
    kinds.POD_UID: listener_scalars.pod_uid,
    kinds.VAULT_PATH: listener_scalars.vault_path,
    kinds.SOCKET_NAME: listener_scalars.socket_name,
    kinds.LOOPBACK_PORT: listener_scalars.loopback_port,
    kinds.BYTES: audit_scalars.size,
    kinds.SYSLOG: audit_scalars.syslog,
}

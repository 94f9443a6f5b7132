"""Which resource a request means, and what it says besides.

A path is cut at its slashes first, and then each name is decoded, once: nothing that is encoded can
become a separator, and no name can become another one.
"""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from agent.config.report import Place
from agent.config.scalars import duration
from agent.config.tree import Text

LONGEST_WAIT = 600.0
"""Seconds; who asks for more gets this."""

_NUMBER = r"[0-9]{1,6}(?:\.[0-9]{1,3})?"
_PARTS = "".join(rf"(?:[0-9]{{1,4}}{unit})?" for unit in ("d", "h", "m(?!s)", "s", "ms"))
WAIT_PATTERN = rf"{_NUMBER}|(?=.){_PARTS}"
"""Durations as in the configuration, of a length that makes sense."""
_WAIT = re.compile(WAIT_PATTERN)

HUGE = 2**63
"""No generation comes near."""

T = TypeVar("T", bound=msgspec.Struct)


class BadQuestion(Exception):
    """A parameter or a body that can't be meant: 400, with this text."""


class Target(msgspec.Struct, frozen=True):
    """`kind` is the resource; a name that can't be decoded is None, which is nobody's."""

    kind: str
    name: str | None = None
    field: str | None = None


LISTING, EVENTS, OPENAPI = Target("secrets"), Target("events"), Target("openapi")
_FIXED = {"/v1/secrets": LISTING, "/v1/events": EVENTS, "/openapi.json": OPENAPI}

ALLOWED = {
    "secrets": "GET, HEAD",
    "events": "GET, HEAD",
    "openapi": "GET, HEAD",
    "secret": "GET, HEAD",
    "field": "GET, HEAD",
    "refused": "POST",
    "bundle": "GET, HEAD",
    "confirm": "POST",
}


def target(method: str, path: str) -> Target | None:
    """What is asked; None if there is no such resource. `path` is raw.

    `refused` is a field like any other to those who read.
    """
    if (fixed := _FIXED.get(path)) is not None:
        return fixed
    steps = path.split("/")
    match steps:
        case ["", "v1", "secrets", name]:
            return Target("secret", decoded(name))
        case ["", "v1", "secrets", name, "refused"] if method not in ("GET", "HEAD"):
            return Target("refused", decoded(name))
        case ["", "v1", "secrets", name, field]:
            return Target("field", decoded(name), decoded(field))
        case ["", "v1", "bundles", name]:
            return Target("bundle", decoded(name))
        case ["", "v1", "bundles", name, "confirm"]:
            return Target("confirm", decoded(name))
    return None


def decoded(step: str) -> str | None:
    """One step of a path; None if it is no text."""
    if step.isascii() and "%" not in step:
        return step
    try:
        return unquote_to_bytes(step.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None


def wait_seconds(query: str) -> float | None:
    """Of `wait=60s`, at most LONGEST_WAIT; None without. BadQuestion for anything else."""
    if not query:
        return None
    key, _, value = query.partition("=")
    if key != "wait" or "&" in value:
        raise BadQuestion("the only parameter here is wait, and only once")
    written = decoded(value)
    if not written or not _WAIT.fullmatch(written):
        raise BadQuestion("wait is seconds, or as 30s, 5m, 1h30m")
    return min(duration(Text(Place("wait", 0), written, None, written)), LONGEST_WAIT)


def no_parameters(query: str) -> None:
    """BadQuestion if there are any."""
    if query:
        raise BadQuestion("there are no parameters here")


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `refused`."""

    version: str


class Confirmed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `confirm`; with `error`, it is the opposite. JSON's 7.0 is 7."""

    generation: int | float
    error: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.generation, float):
            if not self.generation.is_integer() or abs(self.generation) >= HUGE:
                raise ValueError("generation is a whole number")
            msgspec.structs.force_setattr(self, "generation", int(self.generation))


def said(body: bytes, kind: type[T]) -> T:
    """The body of a POST. What was sent is not quoted: it may be anything."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = ", ".join(each.name for each in msgspec.structs.fields(kind))
        raise BadQuestion(f"the body must be a JSON object of: {fields}") from None

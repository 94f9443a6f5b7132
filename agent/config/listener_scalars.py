"""Scalars of the `listeners` section: patterns, places, and what a caller is known by."""

from __future__ import annotations

import re

from agent.config import kinds
from agent.config.addresses import host_and_port, host_port
from agent.config.report import Unfit
from agent.config.tree import Text

LONGEST_ABSTRACT_NAME = 107
"""Bytes after the `@` (sun_path without its leading NUL)."""
_GLOB = re.compile(kinds.GLOB.pattern)
_CREDENTIAL_GLOB = re.compile(kinds.CREDENTIAL_GLOB.pattern)
_UNIT = re.compile(kinds.UNIT_GLOB.pattern)
_SHA256 = re.compile(kinds.SHA256.pattern)
_CONTAINER = re.compile(kinds.CONTAINER_ID.pattern)
_POD_UID = re.compile(kinds.POD_UID.pattern)
_STEP = re.compile(r"[^\s*+\x00-\x1f\x7f]+")


def glob(text: Text) -> str:
    """A name, or a pattern with `*`, `?` and `[…]`."""
    if _GLOB.fullmatch(text.text) and _is_closed(text.text):
        return text.text
    why = "permitted: letters, digits, _ and -, with *, ? and [abc] as wildcards"
    raise Unfit(f"{text.shown} is no pattern of names; {why}")


def credential_glob(text: Text) -> str:
    """NAME or NAME.FIELD, with the same wildcards."""
    if _CREDENTIAL_GLOB.fullmatch(text.text) and _is_closed(text.text):
        return text.text
    why = "permitted: NAME or NAME.FIELD, with *, ? and [abc] as wildcards"
    raise Unfit(f"{text.shown} is no pattern of credentials; {why}")


def unit_glob(text: Text) -> str:
    if _UNIT.fullmatch(text.text) and _is_closed(text.text):
        return text.text
    why = "permitted: as app.service or app@*.service; of services, sockets, scopes …"
    raise Unfit(f"{text.shown} is no unit; {why}")


def sha256(text: Text) -> str:
    if _SHA256.fullmatch(text.text):
        return text.text.lower()
    raise Unfit(f"{text.shown} is no SHA-256; permitted: 64 hexadecimal digits")


def container_id(text: Text) -> str:
    if _CONTAINER.fullmatch(text.text):
        return text.text
    raise Unfit(f"{text.shown} is no id of a container; permitted: 12 to 64 hexadecimal digits")


def pod_uid(text: Text) -> str:
    if _POD_UID.fullmatch(text.text):
        return text.text.lower()
    raise Unfit(f"{text.shown} is no uid of a pod; permitted: as in metadata.uid")


def vault_path(text: Text) -> str:
    """Without leading slash; `+` for one step, `*` at the end only."""
    body = text.text.removesuffix("*").removesuffix("/")
    steps = body.split("/") if body else []
    is_sound = all(each == "+" or _STEP.fullmatch(each) for each in steps)
    if text.text and is_sound and not {".", ".."} & set(steps):
        return text.text
    why = "permitted: as kv/data/app, kv/+/app or kv/data/*, without a slash before it"
    raise Unfit(f"{text.shown} is no path of a vault; {why}")


def socket_name(text: Text) -> str:
    """An absolute path, or `@NAME` in the abstract namespace."""
    from agent.config.scalars import path

    if not text.text.startswith("@"):
        return str(path(text))
    name = text.text[1:].encode(errors="surrogateescape")
    if 0 < len(name) <= LONGEST_ABSTRACT_NAME and text.text.isprintable():
        return text.text
    limit = f"1 to {LONGEST_ABSTRACT_NAME} bytes after the @"
    raise Unfit(f"{text.shown} is no name of a socket; permitted: a path, or {limit}")


def loopback_port(text: Text) -> str:
    """HOST:PORT, of this host's own."""
    import ipaddress  # late: most configurations have no such address

    host, _ = host_and_port(host_port(text))
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if is_loopback:
        return text.text
    why = "permitted: 127.0.0.1:PORT, [::1]:PORT, localhost:PORT"
    raise Unfit(f"{text.shown} can be reached from other hosts; {why}")


def _is_closed(pattern: str) -> bool:
    """Every bracket has its other one: fnmatch would take a single one for itself."""
    rest = re.sub(r"\[!?[^\[\]]+\]", "", pattern)
    return "[" not in rest and "]" not in rest and "!" not in rest

"""What a single value is as text, and the one internal error of this room.

`Fault` texts may name secrets, fields and what stands in a template; they are told to people. Texts
of foreign exceptions (JSON, YAML, Jinja2, str.encode) quote what they choke on: never pass one on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

DEEPEST = 100
"""Levels of nesting that are rendered; more is hostile, and would end in a RecursionError."""


LONGEST = 16 * 1024 * 1024
"""Bytes that a rendered text may have."""


class Fault(Exception):
    """Why something can't be rendered, without a value; never leaves this room as it is."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class Binary(bytes):
    """Bytes that are no text: whoever takes them for text gets a Fault, not `b'…'`."""

    __slots__ = ()

    def __str__(self) -> str:
        raise Fault("binary data in a text; use b64encode, or let it be the whole file")

    def __format__(self, spec: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def text_or_binary(data: bytes) -> str | Binary:
    """Text where it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Binary(data)


def text_of(value: object) -> str:
    """The text of a field: true/false, null is empty, lists and mappings are compact JSON."""
    match value:
        case str():
            return str(value)
        case None:
            return ""
        case bool() | int() | float():
            return number_text(value)
        case bytes():
            return str(text_or_binary(value))
        case Mapping() | list() | tuple():
            return json_text(value)
    raise Fault(f"a {type(value).__name__} has no text; a filter such as join or list is missing")


def number_text(value: bool | int | float) -> str:
    """As JSON has it; NaN, the infinities and numbers of thousands of digits are refused."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise Fault("a number that is not finite")
    if isinstance(value, int) and value.bit_length() > 4096:
        raise Fault("a number of more than 4096 bits")
    return repr(value)


def encode(text: str) -> bytes:
    """UTF-8, of at most `LONGEST` bytes."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = None
    if data is None:
        raise Fault("a lone surrogate, which is no text")
    if len(data) > LONGEST:
        raise Fault(f"longer than {LONGEST} bytes")
    return data


def plain(value: object, depth: int = 0) -> Any:
    """The value as dict, list, str, int, float, bool, None only; what JSON has not is a Fault."""
    if depth > DEEPEST:
        raise Fault(f"nested deeper than {DEEPEST} levels")
    match value:
        case None:
            return None
        case bool() | int() | float():
            number_text(value)
            return value
        case str() | bytes():
            text = text_of(value)
            encode(text)
            return text
        case Mapping():
            return {_key(key): plain(each, depth + 1) for key, each in value.items()}
        case list() | tuple():
            return [plain(each, depth + 1) for each in value]
    raise Fault(f"a {type(value).__name__} is no data; a filter such as list is missing")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Fault("a mapping with a key that is not text")
    encode(key)
    return str(key)


def json_text(value: object, indent: int | None = None) -> str:
    """JSON in the order given; compact without `indent`. Nothing is escaped for HTML."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(plain(value), ensure_ascii=False, indent=indent, separators=separators)


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean password?`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """`a, b, c`, cut after twenty."""
    all_names = list(names)
    more = f" and {len(all_names) - 20} more" if len(all_names) > 20 else ""
    return ", ".join(all_names[:20]) + more

"""The chain: each line carries an HMAC over its own bytes and the line before's.

    {"seq":7,"at":…,…,"chain":"HMAC-SHA256(key, chain of 6 + {"seq":7,"at":…,…})"}⏎

Who has no key can neither change a line nor leave one out, nor put one in, nor exchange two. Pure.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

CHAIN_BYTES = 32
START = bytes(CHAIN_BYTES)
"""What the first record of all follows."""

HIGHEST = 2**53
_MARK = b',"chain":"'
_SUFFIX_BYTES = len(_MARK) + 2 * CHAIN_BYTES + len(b'"}')


class Link(msgspec.Struct, frozen=True):
    """A place in the chain: the number of a record, and its value."""

    seq: int = 0
    chain: bytes = START


class Keys:
    """The chain's key and that of what is remembered beside the file. Shows neither."""

    __slots__ = ("_chain", "_head")

    def __init__(self, root: bytes) -> None:
        self._chain = hmac.digest(root, b"leasehold audit 1 chain", "sha256")
        self._head = hmac.digest(root, b"leasehold audit 1 head", "sha256")

    def value(self, before: bytes, body: bytes) -> bytes:
        """The chain's value at a record."""
        return hmac.digest(self._chain, before + body, "sha256")

    def seal(self, content: bytes) -> bytes:
        """What proves that the key's owner has written this."""
        return hmac.digest(self._head, content, "sha256")

    def __repr__(self) -> str:
        return "<Keys of an audit>"


class Parsed(msgspec.Struct, frozen=True):
    """A line taken apart; nothing of it is believed yet."""

    seq: int
    body: bytes
    chain: bytes
    fields: dict[str, Any]

    def follows(self) -> Link | None:
        """What a head says that it goes on from; None for any other record."""
        if self.fields.get("event") != "head":
            return None
        try:
            return Link(_number(self.fields["last_seq"]), _value(self.fields["last_chain"]))
        except (KeyError, ValueError, TypeError):
            return None


def line_of(body: bytes, chain: bytes) -> bytes:
    """The line, with its end."""
    return b'%b,"chain":"%b"}\n' % (body[:-1], chain.hex().encode())


def parse(line: bytes) -> Parsed:
    """Take a line (without its end) apart; ValueError if it is no record."""
    suffix = line[-_SUFFIX_BYTES:]
    if not suffix.startswith(_MARK) or not suffix.endswith(b'"}'):
        raise ValueError("no chain")
    chain = _value(suffix[len(_MARK) : -2].decode("ascii", "replace"))
    body = line[:-_SUFFIX_BYTES] + b"}"
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("no JSON") from None
    return Parsed(_number(fields.get("seq")), body, chain, fields)


def _value(text: str) -> bytes:
    """64 lower-case hexadecimal digits, and nothing else that means the same."""
    value = bytes.fromhex(text)
    if len(value) != CHAIN_BYTES or value.hex() != text:
        raise ValueError("no chain value")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST:
        raise ValueError("no number of a record")
    return value

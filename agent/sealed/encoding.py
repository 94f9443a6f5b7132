"""A book as bytes (MessagePack), and back.

What comes back was authenticated, and is judged nevertheless: numbers that are none would make
arithmetic of leases meaningless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.msgpack import Ext
from msgspec.structs import replace

from agent.core.book import Book, KeptSecret, KeptValue
from agent.core.lease import Term

_INTEGER = 1
"""The extension type of whole numbers beyond 64 bits, in decimal."""
_MAX_DIGITS = 4300  # what Python itself is ready to read


def encode(book: Book) -> bytes:
    """ValueError, without any value in it, for what no store gives."""
    try:
        try:
            return msgspec.msgpack.encode(book)
        except OverflowError:
            return msgspec.msgpack.encode(_without_long_integers(book))
    except (UnicodeEncodeError, TypeError, RecursionError):
        raise ValueError("holds a value that can't be kept") from None


def decode(payload: bytes) -> Book:
    """ValueError if these are not the bytes of a book."""
    try:
        book = msgspec.msgpack.decode(payload, type=Book, ext_hook=_extension)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("does not hold what a cache of leasehold holds") from None
    if not all(math.isfinite(number) for number in _numbers(book)):
        raise ValueError("holds times that are none")
    return book


def _numbers(book: Book) -> Iterator[float]:
    yield from (book.now, book.wall)
    for secret in [*book.secrets.values(), *(each for _, each in book.departed)]:
        for value in _values(secret):
            yield from (value.read_at, value.proven_at, value.denied_since or 0.0)
            yield from (value.not_after or 0.0, value.read_again_after or 0.0)
            if value.lease is not None:
                yield from _of_term(value.lease.term)
    for store in book.stores.values():
        for token in store.tokens:
            yield from (token.increment, token.had_at)
            if token.term is not None:
                yield from _of_term(token.term)


def _values(secret: KeptSecret) -> Iterator[KeptValue]:
    if secret.current is not None:
        yield secret.current
    yield from secret.former


def _of_term(term: Term) -> Iterator[float]:
    yield from (term.began_at, term.lasts, term.full)


def _without_long_integers(book: Book) -> Book:
    secrets = {name: _of_short_integers(each) for name, each in book.secrets.items()}
    departed = [(name, _of_short_integers(each)) for name, each in book.departed]
    return replace(book, secrets=secrets, departed=departed)


def _of_short_integers(secret: KeptSecret) -> KeptSecret:
    def kept(value: KeptValue) -> KeptValue:
        return replace(value, fields=_shortened(value.fields))

    current = None if secret.current is None else kept(secret.current)
    return replace(secret, current=current, former=[kept(value) for value in secret.former])


def _shortened(value: Any) -> Any:
    match value:
        case int() if not -(2**63) <= value < 2**64:
            return Ext(_INTEGER, b"%d" % value)
        case dict():
            return {key: _shortened(each) for key, each in value.items()}
        case list() | tuple():
            return [_shortened(each) for each in value]
        case _:
            return value


def _extension(code: int, data: memoryview) -> int:
    if code != _INTEGER or len(data) > _MAX_DIGITS:
        raise ValueError("an unknown extension")
    return int(bytes(data))

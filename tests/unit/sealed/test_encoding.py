"""A book survives its journey, whatever stores may give; nothing of it shows on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book, KeptBundle, KeptSecret, KeptStore, KeptToken, KeptValue
from agent.core.lease import Lease, Term
from agent.sealed.encoding import decode, encode
from tests.rig.kept import VALUE, book

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | numbers | texts | st.binary(max_size=40)
fields = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
terms = st.builds(Term, numbers, numbers, st.booleans(), numbers)
leases = st.builds(Lease, texts, terms, st.none() | texts)
values = st.builds(
    KeptValue,
    revision=st.integers(0, 2**63),
    fields=st.dictionaries(texts, fields, max_size=4),
    version=texts,
    read_at=numbers,
    proven_at=numbers,
    lease=st.none() | leases,
    not_after=st.none() | numbers,
    read_again_after=st.none() | numbers,
    metadata=st.dictionaries(texts, texts, max_size=3),
    denied_since=st.none() | numbers,
)
secrets = st.builds(
    KeptSecret, texts, texts, st.none() | values, st.lists(values, max_size=3), st.booleans()
)
tokens = st.builds(KeptToken, texts, texts, st.none() | terms, numbers, st.booleans(), numbers)
stores = st.builds(KeptStore, texts, st.lists(tokens, max_size=3), st.none() | texts)
revisions = st.dictionaries(texts, st.integers(0, 2**63))
bundles = st.builds(KeptBundle, st.integers(0, 2**63), revisions)
books = st.builds(
    Book,
    host=texts,
    boot=texts,
    now=numbers,
    wall=numbers,
    secrets=st.dictionaries(texts, secrets, max_size=3),
    stores=st.dictionaries(texts, stores, max_size=2),
    bundles=st.dictionaries(texts, bundles, max_size=2),
    departed=st.lists(st.tuples(texts, secrets), max_size=2),
)


@given(books)
def test_every_book_comes_back(written: Book) -> None:
    assert decode(encode(written)) == written


@given(st.binary(max_size=200))
def test_bytes_are_no_book(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not hold what a cache"):
        decode(content)


@given(st.data())
def test_a_part_of_a_book_is_none(data: st.DataObject) -> None:
    whole = encode(book())
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match="does not hold what a cache"):
        decode(part)


def _holding(value: Any) -> Book:
    entry = book().secrets["database"]
    assert entry.current is not None
    current = replace(entry.current, fields={"secret": VALUE, "odd": value})
    return replace(book(), secrets={"database": replace(entry, current=current)})


def test_what_no_store_gives_is_refused_without_its_value() -> None:
    class Odd:
        pass

    nested: list[Any] = []
    nested.append(nested)
    for value in ("\ud800", Odd(), nested):
        with pytest.raises(ValueError, match="can't be kept") as caught:
            encode(_holding(value))
        assert VALUE not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_times_that_are_none_are_refused(number: float) -> None:
    entry = book().secrets["database"]
    assert entry.current is not None and entry.current.lease is not None
    term = replace(entry.current.lease.term, lasts=number)
    leased = replace(entry.current, lease=replace(entry.current.lease, term=term))
    [token] = book().stores["vault"].tokens
    store = replace(book().stores["vault"], tokens=[replace(token, had_at=number)])
    odd = [
        replace(book(), wall=number),
        replace(book(), secrets={"database": replace(entry, current=leased)}),
        replace(book(), secrets={"database": replace(entry, current=None, former=[leased])}),
        replace(book(), departed=[("gone", replace(entry, current=leased))]),
        replace(book(), stores={"vault": store}),
    ]
    for each in odd:
        with pytest.raises(ValueError, match="times that are none"):
            decode(encode(each))


def test_what_a_later_version_adds_is_no_obstacle() -> None:
    import msgspec

    content = msgspec.to_builtins(book(), builtin_types=(bytes,))
    content["later"] = {"x": 1}
    assert decode(msgspec.msgpack.encode(content)) == book()


def test_a_number_too_long_to_read_is_refused() -> None:
    from msgspec.msgpack import Ext

    with pytest.raises(ValueError, match="does not hold"):
        decode(encode(_holding(Ext(1, b"9" * 5000))))
    with pytest.raises(ValueError, match="does not hold"):
        decode(encode(_holding(Ext(2, b"9"))))

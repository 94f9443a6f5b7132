"""What the local store holds, as values: versions, JSON and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.stores.local.entries import KEPT_VERSIONS, Entries, decode, split

AT = 1_780_000_000.0

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
values = st.text(max_size=40) | st.binary(max_size=40)


@given(st.lists(st.tuples(names, st.text(min_size=1, max_size=9), values), max_size=30))
def test_entries_come_back_from_json_as_they_were(rows: list[tuple[str, str, str | bytes]]) -> None:
    entries, expected = Entries(), dict[str, dict[str, str | bytes]]()
    for name, field, value in rows:
        entries.set(name, field, value, AT)
        expected.setdefault(name, {})[field] = value
    back = decode(entries.encode())
    assert {name: each.current.values() for name, each in back.entries.items()} == expected


@given(st.integers(1, 40))
def test_the_last_versions_are_kept_and_numbers_go_on(writes: int) -> None:
    entries = Entries()
    for number in range(1, writes + 1):
        entries.set("app", "count", str(number), AT)
    kept = entries.entries["app"].versions
    assert [each.number for each in kept] == list(range(1, writes + 1))[-KEPT_VERSIONS:]
    assert all(each.fields == {"count": str(each.number)} for each in kept)


def test_one_field_changes_and_the_others_stay() -> None:
    entries = Entries()
    entries.set("app", "user", "u", AT)
    entries.set("app", "password", "p", AT)
    entries.set("app", "password", "q", AT)
    assert entries.entries["app"].current.values() == {"user": "u", "password": "q"}


def test_an_entry_without_fields_is_no_entry() -> None:
    entries = Entries()
    entries.set("app", "user", "u", AT)
    entries.set("app", "password", "p", AT)
    entries.remove_field("app", "user", AT)
    assert entries.entries["app"].current.values() == {"password": "p"}
    entries.remove_field("app", "password", AT)
    assert entries.entries == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"entries": {"app": {"versions": []}}}',
        b'{"entries": {"app": {"versions": [{"number": "hunter2"}]}}}',
        b'{"hunter2": 1}',
    ],
)
def test_a_payload_that_is_something_else_is_refused_without_showing_it(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"holds? ") as caught:
        decode(payload)
    assert "hunter2" not in str(caught.value)


def test_no_value_is_shown_by_a_repr() -> None:
    entries = Entries()
    entries.set("app", "text", "hunter2", AT)
    entries.set("app", "bytes", b"hunter2", AT)
    shown = repr([entries, entries.entries["app"], entries.entries["app"].current])
    assert "hunter2" not in shown
    assert "hunter2" not in repr(entries.entries["app"].current.fields["bytes"])


def test_a_target_is_a_name_and_perhaps_a_field() -> None:
    assert split("app") == ("app", None)
    assert split("my-db.user name") == ("my-db", "user name")
    assert split("app.tls.key") == ("app", "tls.key")


@pytest.mark.parametrize("target", ["", ".x", "1app", "a/b.x", "app.", "app.\n", "app.\x1b[2J"])
def test_a_target_that_is_neither_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="name"):
        split(target)

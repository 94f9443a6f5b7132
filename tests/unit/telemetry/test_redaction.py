"""A value that is held is in no text, in whatever form a text may have it."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.events import Reloaded, SecretRead, SecretRefused, SecretRestored
from agent.core.secret import Field
from agent.telemetry.known_values import SHORTEST, KnownValues
from agent.telemetry.redaction import MARK, Redactor

PASSWORD = 'pa ss/w+rd="\\é😀%\n'


def knowing(*values: Field) -> Redactor:
    redactor = Redactor()
    redactor.learn("owner", values)
    return redactor


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "url": quote,
    "url, everything": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "url, lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "json": json.dumps,
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "shell": shlex.quote,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 behind a user": lambda text: base64.b64encode(f"app:{text}:".encode()).decode(),
    "base64 behind a path": lambda text: "x/" + base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal behind a digit": lambda text: "0" + text.encode().hex().upper(),
}

values = st.text(st.characters(exclude_categories=["Cs"]), min_size=SHORTEST, max_size=40).filter(
    lambda text: len(text.strip()) >= SHORTEST and text.strip() not in MARK and "'" not in text
)
around = st.text(st.sampled_from(" .:,;()<>"), max_size=4)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(value=values, before=around, after=around)
@example(value=PASSWORD, before="", after="")
def test_a_value_is_never_in_the_output(encoding: str, value: str, before: str, after: str) -> None:
    text = before + ENCODINGS[encoding](value) + after
    redacted = knowing(value)(text)
    assert MARK in redacted
    assert ENCODINGS[encoding](value.strip()).strip("'\"=") not in redacted.replace(MARK, "")


@given(held=st.lists(values, min_size=1, max_size=5), text=st.text(max_size=30), data=st.data())
def test_of_many_values_none_is_left(held: list[str], text: str, data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.sampled_from(held), max_size=4))
    redacted = knowing(*held)(text.join(shown))
    assert not any(value.strip() in redacted.replace(MARK, "\0") for value in held)


@given(st.text(max_size=200), st.lists(values, max_size=3))
def test_any_text_can_be_redacted_and_one_without_values_stays(text: str, held: list[str]) -> None:
    redacted = knowing(*held)(text)
    if redacted == text:
        assert not any(value.strip() in text for value in held)
    else:
        assert MARK in redacted


def test_the_words_around_a_value_stay() -> None:
    redacted = knowing("hunter2hunter2")("FATAL: password hunter2hunter2 is wrong (hunter2)")
    assert redacted == f"FATAL: password {MARK} is wrong (hunter2)"


def test_values_that_overlap_leave_nothing() -> None:
    assert knowing("abcdefgh", "efghijkl")("-abcdefghijkl-") == f"-{MARK}-"


def test_the_longer_of_two_values_with_one_beginning_is_taken() -> None:
    assert knowing("hunter2", "hunter2hunter2")("hunter2hunter2.") == f"{MARK}."


@pytest.mark.parametrize("value", ["app", "5432", True, None, 12345, "      ", ""])
def test_what_would_blank_everything_is_not_looked_for(value: str | int | None) -> None:
    text = f"app at db:5432 is {value!s} 12345      "
    assert knowing(value)(text) == text


@pytest.mark.parametrize("value", [12345678, ["x", "12345678"], {"pin": "12345678"}, b"12345678"])
def test_numbers_bytes_and_what_is_nested_are_values(value: Field) -> None:
    assert knowing(value)("it is 12345678") == f"it is {MARK}"


def test_bytes_that_are_no_text_are_found_in_base64_and_repr() -> None:
    key = bytes(range(120, 152))
    redact = knowing(key)
    assert redact(f"key={base64.b64encode(key).decode()};") == f"key={MARK};"
    assert MARK in redact(repr(key))


def test_each_line_of_a_value_is_one() -> None:
    key = "-----BEGIN KEY-----\nMIIBVgIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"
    redact = knowing(key)
    assert redact("bad line: '  BgkqhkiG9w0B'") == f"bad line: '  {MARK}'"
    assert redact("no -----BEGIN KEY----- found") == "no -----BEGIN KEY----- found"
    assert redact(json.dumps(key)) == f'"{MARK}\\n"'


def test_the_strings_inside_of_a_value_that_is_json_are_values() -> None:
    account = json.dumps({"type": "x", "private_key": "-----BEGIN\nMIIBVgIBADAN\n-----END\n"})
    assert knowing(account)("can't load MIIBVgIBADAN") == f"can't load {MARK}"


def test_a_value_that_only_looks_like_json_is_one() -> None:
    for value in ("{not json}", "[" * 100_000):
        assert knowing(value)(f"<{value}>") == f"<{MARK}>"


def test_new_values_are_asked_for_when_a_text_is_redacted() -> None:
    held: dict[str, list[Field]] = {"web": ["first-value"]}
    asked = []

    def fields(name: str) -> list[Field]:
        asked.append(name)
        return held.get(name, [])

    redact = Redactor(fields)
    redact.note(SecretRead(secret="web", version="1", is_changed=True))
    redact.note(SecretRead(secret="web", version="1", is_changed=False))
    assert asked == []
    assert redact("first-value") == MARK
    assert redact("first-value") == MARK
    assert asked == ["web"]


def test_the_value_before_is_known_until_the_next_change() -> None:
    held: dict[str, list[Field]] = {}
    redact = Redactor(lambda name: held.get(name, []))
    for number in (1, 2, 3):
        held["web"] = [f"value-number-{number}"]
        redact.note(SecretRead(secret="web", version=str(number), is_changed=True))
        redact("some text")
    assert redact("value-number-3 value-number-2") == f"{MARK} {MARK}"
    assert redact("value-number-1") == "value-number-1"


def test_values_that_come_from_the_cache_or_are_put_back_are_known() -> None:
    held: dict[str, list[Field]] = {"web": ["value-number-1"]}
    redact = Redactor(lambda name: held.get(name, []))
    redact.note(SecretRestored(secret="web", version="1", age_seconds=60))
    assert redact("value-number-1") == MARK
    for number in (2, 3):
        held["web"] = [f"value-number-{number}"]
        redact.note(SecretRead(secret="web", version=str(number), is_changed=True))
        assert redact(f"value-number-{number} value-number-1") == f"{MARK} {MARK}"
        held["web"] = ["value-number-1"]
        redact.note(
            SecretRefused(
                secret="web", version=str(number), restored="1", reason="why", retry_after=5
            )
        )
        redact("some text")


def test_a_secret_that_a_reload_removes_is_forgotten_after_its_last_value() -> None:
    held: dict[str, list[Field]] = {"web": ["last-value"]}
    redact = Redactor(lambda name: held.get(name, []))
    redact.note(SecretRead(secret="web", version="1", is_changed=True))
    assert redact("last-value") == MARK
    held.clear()
    redact.note(Reloaded(added=[], changed=[], removed=["web"]))
    assert redact("last-value") == MARK
    redact.note(Reloaded(added=[], changed=[], removed=["web"]))
    assert redact("last-value") == "last-value"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["aaaaaa", "aaaaaab", "bbbbbbb"]))))
def test_what_was_added_is_known_until_it_was_discarded_as_often(
    steps: list[tuple[bool, str]],
) -> None:
    known, expected = KnownValues(), {"aaaaaa": 0, "aaaaaab": 0, "bbbbbbb": 0}
    for is_added, value in steps:
        if is_added:
            known.add(value)
        elif expected[value]:
            known.discard(value)
        else:
            continue
        expected[value] += 1 if is_added else -1
    for value, times in expected.items():
        assert ((0, len(value)) in known.spans(value)) == (times > 0)
    assert bool(known) == any(expected.values())


def test_one_of_ten_thousand_values_that_begin_alike_is_found() -> None:
    tokens = [f"eyJhbGciOiJI{secrets.token_urlsafe(40 + number % 50)}" for number in range(10_000)]
    redact = knowing(*tokens)
    line = f"read failed at https://vault.example:8200/v1/database: {tokens[77]} (eyJhbGciOiJI)"
    assert redact(line).count(MARK) == 1
    assert redact(line.replace(tokens[77], "eyJhbGciOiJI")) == line.replace(
        tokens[77], "eyJhbGciOiJI"
    )

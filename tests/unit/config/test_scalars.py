"""Durations, modes and addresses, against arithmetic and against each other."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import kinds
from agent.config.addresses import host_port, store_address, url
from agent.config.report import Place, Unfit
from agent.config.scalars import MAX_DURATION, anything, duration, file_name, mode, signal_name
from agent.config.tree import Text

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def quoted(text: str) -> Text:
    return Text(Place("a.yaml", 1), text, '"', text)


def plain(text: str) -> Text:
    return Text(Place("a.yaml", 1), text, None, text)


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 9999), min_size=1))
def test_a_duration_is_the_sum_of_its_parts(parts: dict[str, int]) -> None:
    ordered = [(unit, parts[unit]) for unit in UNITS if unit in parts]
    total = math.fsum(number * UNITS[unit] for unit, number in ordered)
    assert duration(quoted("".join(f"{number}{unit}" for unit, number in ordered))) == total


@given(st.floats(0, MAX_DURATION))
def test_a_number_is_seconds(seconds: float) -> None:
    assert duration(plain(repr(seconds))) == seconds


@given(st.text(st.sampled_from("0123456789dhms.- "), max_size=12))
def test_a_duration_is_refused_or_finite_and_never_negative(text: str) -> None:
    try:
        seconds = duration(quoted(text))
    except Unfit:
        return
    assert 0 <= seconds <= MAX_DURATION
    assert re.fullmatch(kinds.DURATION.pattern, text.strip())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "-5s",
        "1m1h",
        "1h 30m",
        "5x",
        "1.s",
        ".5s",
        "٣s",
        "1e400",
        "9" * 500 + "d",
        "inf",
        "nan",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Unfit):
        duration(quoted(text))


@given(st.integers(0, 0o777))
def test_every_octal_mode_is_read(value: int) -> None:
    for text in (f"{value:03o}", f"{value:04o}", f"0o{value:03o}"):
        assert mode(quoted(text)) == value
    assert mode(plain(f"{value:04o}")) == value
    assert mode(plain(f"0o{value:03o}")) == value


@given(st.integers(0, 100_000))
def test_a_number_without_the_leading_zero_is_refused(value: int) -> None:
    text = str(value)
    if re.fullmatch("0[0-7]{3}", text):
        return
    with pytest.raises(Unfit):
        mode(plain(text))


@pytest.mark.parametrize("text", ["1777", "0888", "rw-r--r--", "", "-440", "00440", "44"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(Unfit, match="0000"):
        mode(quoted(text))


@given(st.text(max_size=30))
def test_a_file_name_stays_below_its_directory(text: str) -> None:
    try:
        name = file_name(quoted(text))
    except Unfit:
        return
    assert not name.startswith("/") and not name.startswith("..") and "\0" not in name
    assert all(step not in ("", ".", "..") for step in name.split("/"))
    assert re.fullmatch(kinds.FILE_NAME.pattern, name, re.DOTALL)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://vault.example:8200", "https://vault.example:8200"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("unix:/run/vault.sock", "unix:/run/vault.sock"),
        ("unix:///run/vault.sock", "unix:/run/vault.sock"),
    ],
)
def test_addresses_of_stores(text: str, address: str) -> None:
    assert store_address(quoted(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault",
        "https://",
        "https://a:0",
        "https://a:70000",
        "https://[::1",
        "https://a b",
        "unix:",
        *("unix:a", "unix://host/a", "https://u@a", "https://a/?q", "ftp://a", "https://a\n"),
    ],
)
def test_what_is_no_address_of_a_store(text: str) -> None:
    with pytest.raises(Unfit) as caught:
        store_address(quoted(text))
    assert "u@" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://u:hunter2@h:99999/", "https://hunter2@h/"])
def test_a_url_with_a_password_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(Unfit) as caught:
        url(quoted(text))
    assert "hunter2" not in str(caught.value)


@given(st.text(st.sampled_from("htps:/[]@.a0+unix"), max_size=20))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for reader in (url, store_address, host_port):
        try:
            assert reader(quoted(text))
        except Unfit as unfit:
            assert str(unfit)


def test_signals_go_without_their_prefix() -> None:
    assert [signal_name(plain(each)) for each in ("HUP", "SIGHUP", "USR1")] == [
        "HUP",
        "HUP",
        "USR1",
    ]
    for text in ("hup", "1", "SIG", "SIGSIGHUP", ""):
        with pytest.raises(Unfit):
            signal_name(plain(text))


@given(st.integers(-(10**18), 10**18) | st.booleans() | st.none())
def test_plain_json_scalars_in_data_keep_their_value(value: object) -> None:
    read = anything(plain(json.dumps(value)))
    assert read == value and type(read) is type(value)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_decimal_fractions_in_data_are_numbers(whole: int, fraction: int) -> None:
    text = f"{whole}.{fraction}"
    assert anything(plain(text)) == float(text)
    assert anything(quoted(text)) == text

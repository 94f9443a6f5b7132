"""What was sealed comes back whole, for its key and its purpose, or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.errors import SealedFileError
from agent.core.sealing import Scrypt, SealingKey, new_scrypt, seal, unseal

KEY = SealingKey(bytes(range(32)))
QUICK = Scrypt(salt=b"s" * 32, n=2, r=1, p=1)
SEALED = seal(b"payload", KEY, purpose="test", sequence=3)


def opened(content: bytes, key: SealingKey = KEY, purpose: str = "test") -> bytes:
    return unseal(content, key, purpose=purpose, name="F").payload


def refusal(content: bytes, key: SealingKey = KEY, purpose: str = "test") -> str:
    with pytest.raises(SealedFileError) as caught:
        unseal(content, key, purpose=purpose, name="F")
    assert caught.value.is_lasting
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_header(**changes: object) -> bytes:
    line, _, body = SEALED.partition(b"\n")
    magic, _, header = line.partition(b" ")
    fields = json.loads(header) | changes
    return magic + b" " + json.dumps(fields).encode() + b"\n" + body


@given(payload=st.binary(max_size=300), key=st.binary(min_size=32, max_size=32))
def test_what_was_sealed_comes_back(payload: bytes, key: bytes) -> None:
    content = seal(payload, SealingKey(key), purpose="test", sequence=9)
    result = unseal(content, SealingKey(key), purpose="test", name="F")
    assert (result.payload, result.sequence) == (payload, 9)


@given(passphrase=st.binary(min_size=1, max_size=40), payload=st.binary(max_size=50))
def test_a_passphrase_keeps_its_scrypt_from_one_writing_to_the_next(
    passphrase: bytes, payload: bytes
) -> None:
    key = SealingKey(passphrase, is_passphrase=True)
    first = unseal(
        seal(b"", key, purpose="test", sequence=1, kdf=QUICK), key, purpose="test", name="F"
    )
    again = seal(payload, key, purpose="test", sequence=2, kdf=first.kdf)
    fresh = SealingKey(passphrase, is_passphrase=True)
    assert first.kdf == QUICK
    assert opened(again, fresh) == payload


@settings(max_examples=400)
@given(
    position=st.integers(0, len(SEALED) - 1),
    change=st.integers(1, 255),
)
def test_a_byte_altered_anywhere_is_refused(position: int, change: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= change
    refusal(bytes(altered))


def test_a_bit_altered_at_each_position_is_refused() -> None:
    for position in range(len(SEALED)):
        altered = bytearray(SEALED)
        altered[position] ^= 1
        refusal(bytes(altered))


def test_each_truncation_is_refused_as_cut_short() -> None:
    for length in range(1, len(SEALED)):
        assert "cut short" in refusal(SEALED[:length])
    assert refusal(b"") == "F: is empty"


@given(st.binary(min_size=1, max_size=40))
def test_an_appendix_is_refused(appendix: bytes) -> None:
    assert "altered" in refusal(SEALED + appendix)


@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_without_another_error(content: bytes) -> None:
    refusal(content)
    refusal(b"leasehold-sealed/1 " + content)
    refusal(b"leasehold-sealed/1 " + content + b"\n" + content)


def test_the_wrong_key_is_called_so() -> None:
    assert refusal(SEALED, SealingKey(b"x" * 32)).startswith("F: wrong key")
    sealed = seal(
        b"", SealingKey(b"right", is_passphrase=True), purpose="test", sequence=1, kdf=QUICK
    )
    assert refusal(sealed, SealingKey(b"wrong", is_passphrase=True)).startswith(
        "F: wrong passphrase"
    )


def test_a_key_is_not_a_passphrase() -> None:
    passphrase = SealingKey(b"p" * 32, is_passphrase=True)
    assert "with a key file" in refusal(SEALED, passphrase)
    sealed = seal(b"", passphrase, purpose="test", sequence=1, kdf=QUICK)
    assert "with a passphrase" in refusal(sealed, SealingKey(b"p" * 32))


def test_a_file_for_another_purpose_is_refused() -> None:
    assert refusal(SEALED, purpose="other") == "F: is a 'test', not a 'other'"
    assert "\\n" in refusal(with_header(purpose="two\nlines"))
    forged = with_header(purpose="other")
    assert "wrong key" in refusal(forged, purpose="other")


def test_a_newer_format_and_a_foreign_file_are_told_apart() -> None:
    assert "has format 2; this leasehold knows format 1" in refusal(b"leasehold-sealed/2 {}\nabc")
    assert "not an encrypted file of leasehold" in refusal(b"database: hunter2\n")


@pytest.mark.parametrize(
    "costs",
    [
        {"n": 2**30, "r": 8, "p": 1},
        {"n": 2**17, "r": 9, "p": 1},
        {"n": 2**15, "r": 8, "p": 2**20},
        {"n": 3, "r": 1, "p": 1},
        {"n": 0, "r": 0, "p": 0},
        {"n": -2, "r": -8, "p": 1},
    ],
)
def test_scrypt_that_would_eat_the_machine_is_refused_before_it_runs(
    costs: dict[str, int],
) -> None:
    salt = "c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ="
    hostile = with_header(kdf={"salt": salt, **costs})
    key = SealingKey(b"p", is_passphrase=True)
    assert "asks for what no leasehold writes" in refusal(hostile, key)


def test_the_default_scrypt_is_within_its_own_bounds() -> None:
    assert new_scrypt().is_sane()
    assert new_scrypt().salt != new_scrypt().salt


def test_nothing_of_two_sealings_is_the_same() -> None:
    again = seal(b"payload", KEY, purpose="test", sequence=3)
    assert again.partition(b"\n")[2] != SEALED.partition(b"\n")[2]


def test_neither_key_nor_payload_is_shown() -> None:
    key = SealingKey(b"hunter2", is_passphrase=True)
    assert "hunter2" not in repr(key)
    assert "payload" not in repr(unseal(SEALED, KEY, purpose="test", name="F"))


def test_a_key_of_another_length_is_no_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealingKey(b"short")

"""What the agent checks by itself: pairs of certificate and key, chains, dates, formats."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.config.model import (
    Bundle,
    CertificateCheck,
    Check,
    FileEntry,
    FormatFile,
    InlineFile,
    JsonCheck,
    TomlCheck,
    Validate,
    YamlCheck,
)
from agent.core.errors import ValidateError
from agent.delivery.validate.checks import check_files
from tests.rig.certificates import Certified, certified, rsa_key
from tests.rig.descriptors import open_descriptors

NOW = 1_764_003_127.0
DAY = 86400.0

ROOT = certified("root")
MIDDLE = certified("middle", ROOT)
LEAF = certified("www.example", MIDDLE)
OTHER = certified("www.example", MIDDLE)

KV = json.dumps({"a": [1, {"b": "hunter2"}]})


def refusal(
    files: dict[str, str],
    *checks: Check,
    wall: float = NOW,
    formats: Mapping[str, FormatFile] = {},
) -> str:
    """Why these files are refused, or ""; those without a format are templates."""
    every: dict[str, FileEntry] = {name: InlineFile(content="") for name in files}
    every |= formats
    validate = Validate(checks=checks) if checks else None
    spec = Bundle(directory=Path("/run/web"), files=every, validate=validate)
    try:
        check_files(spec, {name: text.encode() for name, text in files.items()}, wall)
    except ValidateError as error:
        return str(error)
    return ""


# --- certificates that are listed -----------------------------------------------------------------

NGINX = CertificateCheck(certificate="tls.crt", key="tls.key")
HAPROXY = CertificateCheck(certificate="all.pem")
POSTGRESQL = CertificateCheck(certificate="server.crt", key="server.key", chain="ca.crt")


def test_what_nginx_haproxy_and_postgresql_are_given_is_accepted() -> None:
    assert not refusal({"tls.crt": LEAF.pem + MIDDLE.pem, "tls.key": LEAF.key}, NGINX)
    for order in ((LEAF.pem, MIDDLE.pem, ROOT.pem, LEAF.key), (LEAF.key, LEAF.pem, MIDDLE.pem)):
        assert not refusal({"all.pem": "".join(order)}, HAPROXY)
    postgresql = {"server.crt": LEAF.pem, "server.key": LEAF.key, "ca.crt": MIDDLE.pem + ROOT.pem}
    assert not refusal(postgresql, POSTGRESQL)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (LEAF, OTHER),
        (certified("x", private=rsa_key()), certified("x", private=rsa_key())),
        (LEAF, certified("x", private=rsa_key())),
        (certified("x", private=rsa_key()), LEAF),
        (certified("x", private=Ed25519PrivateKey.generate()), OTHER),
    ],
    ids=["ec", "rsa", "rsa for ec", "ec for rsa", "ec for ed25519"],
)
def test_the_key_of_another_certificate_is_refused(mine: Certified, other: Certified) -> None:
    wrong = "the private key is not the certificate's"
    assert not refusal({"tls.crt": mine.pem, "tls.key": mine.key}, NGINX)
    assert refusal({"tls.crt": mine.pem, "tls.key": other.key}, NGINX) == f"tls.key: {wrong}"
    assert refusal({"all.pem": mine.pem + other.key}, HAPROXY) == f"all.pem: {wrong}"


def test_without_a_key_there_is_nothing_to_compare() -> None:
    assert not refusal({"all.pem": LEAF.pem}, HAPROXY)


def test_a_key_that_is_encrypted_or_none_is_refused_where_it_is_to_be_compared() -> None:
    encrypted = refusal({"tls.crt": LEAF.pem, "tls.key": LEAF.encrypted_key("hunter2")}, NGINX)
    assert encrypted == "tls.key: the private key is encrypted, so it can't be compared"
    for nothing in ("", "hunter2", LEAF.pem, LEAF.key[:80] + LEAF.key[90:]):
        reason = refusal({"tls.crt": LEAF.pem, "tls.key": nothing}, NGINX)
        assert reason == "tls.key: OpenSSL can't read the certificate and its private key"


@pytest.mark.parametrize("text", ["", "hunter2", LEAF.key, LEAF.pem[:99] + LEAF.pem[109:]])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    reason = refusal({"tls.crt": text, "tls.key": LEAF.key}, NGINX)
    assert reason == "tls.crt: has no certificate in PEM, or one that can't be read"


def test_each_certificate_is_signed_by_the_next() -> None:
    for text in (LEAF.pem + ROOT.pem, LEAF.pem + certified("middle", ROOT).pem):
        assert refusal({"all.pem": text}, HAPROXY) == (
            "all.pem: certificate 2 has not signed the one before it"
        )
    assert refusal({"all.pem": LEAF.pem + MIDDLE.pem + MIDDLE.pem}, HAPROXY) == (
        "all.pem: certificate 3 has not signed the one before it"
    )
    files = {"server.crt": LEAF.pem, "server.key": LEAF.key, "ca.crt": ROOT.pem}
    assert refusal(files, POSTGRESQL) == "ca.crt: issuer 1 has not signed the one before it"


def test_where_a_chain_is_wanted_the_issuer_is_there() -> None:
    missing = refusal(
        {"server.crt": LEAF.pem, "server.key": LEAF.key, "ca.crt": LEAF.pem}, POSTGRESQL
    )
    assert missing == "ca.crt: the certificate's issuer is not there"
    full = CertificateCheck(certificate="all.pem", chain="all.pem")
    assert refusal({"all.pem": LEAF.pem}, full) == "all.pem: the certificate's issuer is not there"
    assert not refusal({"all.pem": LEAF.pem + MIDDLE.pem}, full)
    assert not refusal({"all.pem": ROOT.pem}, full), "a root is its own issuer"


def test_every_certificate_is_current() -> None:
    short = certified("middle", ROOT, begins_at=NOW - DAY, ends_at=NOW + DAY)
    leaf = certified("www.example", short)
    files = {"all.pem": leaf.pem + short.pem}
    for wall in (NOW - DAY, NOW, NOW + DAY):
        assert not refusal(files, HAPROXY, wall=wall)
    assert refusal(files, HAPROXY, wall=NOW + DAY + 1) == (
        "all.pem: certificate 2 has expired at 2025-11-25T16:52:07Z"
    )
    assert refusal(files, HAPROXY, wall=NOW - DAY - 1) == (
        "all.pem: certificate 2 is not valid before 2025-11-23T16:52:07Z"
    )


# --- what `format: pem` writes --------------------------------------------------------------------

PEM = FormatFile(format="pem", secrets=("web",))
CHAIN = FormatFile(format="pem", secrets=("web",), parts=("certificate", "chain"))
KEY = FormatFile(format="pem", secrets=("web",), parts=("private_key",))


def test_a_pair_that_we_write_ourselves_is_compared_unasked() -> None:
    wrong = "the private key is not the certificate's"
    together = {"tls.pem": LEAF.pem + MIDDLE.pem + OTHER.key}
    apart = {"tls.crt": LEAF.pem + MIDDLE.pem, "tls.key": OTHER.key}
    assert refusal(together, formats={"tls.pem": PEM}) == f"tls.pem: {wrong}"
    assert refusal(apart, formats={"tls.crt": CHAIN, "tls.key": KEY}) == f"tls.key: {wrong}"
    apart["tls.key"] = LEAF.key
    assert not refusal(apart, formats={"tls.crt": CHAIN, "tls.key": KEY})


def test_of_a_pair_that_is_not_listed_nothing_else_is_judged() -> None:
    """Old certificates, open chains and encrypted keys may be what an app wants."""
    old = certified("www.example", ROOT, ends_at=NOW - DAY)
    assert not refusal({"tls.pem": old.pem + MIDDLE.pem + old.key}, formats={"tls.pem": PEM})
    assert not refusal({"tls.pem": LEAF.pem + OTHER.encrypted_key("x")}, formats={"tls.pem": PEM})


def test_files_of_different_secrets_are_no_pair() -> None:
    key = FormatFile(format="pem", secrets=("client",), parts=("private_key",))
    files = {"ca.crt": LEAF.pem, "client.key": OTHER.key}
    assert not refusal(files, formats={"ca.crt": CHAIN, "client.key": key})
    first = FormatFile(format="pem", secrets=("web",), parts=("chain", "certificate"))
    assert not refusal(files, formats={"ca.crt": first, "client.key": KEY}), (
        "its first is an issuer's"
    )


def test_files_without_a_pair_cost_no_import() -> None:
    """x509 takes longer to import than the rest of the agent to start."""
    program = (
        "import sys\n"
        "from agent.delivery import validate\n"
        "from agent.delivery.validate import key_pair\n"
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    root = Path(__file__).parents[4]
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, check=True)
    assert ran.stdout == b"[]\n"


def test_what_openssl_was_given_to_read_is_gone() -> None:
    before = open_descriptors()
    assert not refusal({"tls.crt": LEAF.pem, "tls.key": LEAF.key}, NGINX)
    assert refusal({"tls.crt": LEAF.pem, "tls.key": OTHER.key}, NGINX)
    assert open_descriptors() == before


# --- formats --------------------------------------------------------------------------------------

JSON, YAML, TOML = JsonCheck(json="f"), YamlCheck(yaml="f"), TomlCheck(toml="f")


@pytest.mark.parametrize(
    ("check", "text", "reason"),
    [
        (JSON, KV, ""),
        (JSON, '{"n": ' + "9" * 5000 + "}", ""),
        (JSON, KV + "}", "is no JSON: line 1, column 29"),
        (JSON, '{\n"password": hunter2}', "is no JSON: line 2, column 13"),
        (JSON, "", "is no JSON: line 1, column 1"),
        (JSON, '{"n": NaN}', "is no JSON: it has NaN or Infinity"),
        (JSON, "[" * 200_000, "is nested too deeply for JSON"),
        (YAML, "a: !vault\n  - &x 1\n  - *x\n---\nb: 2\n", ""),
        (YAML, "", ""),
        (YAML, "a: *hunter2", "is no YAML: line 1, column 4: an alias without its anchor"),
        (YAML, "a: &x 1\n---\nb: *x", "is no YAML: line 3, column 4: an alias without its anchor"),
        (YAML, "password: %hunter2", "is no YAML: line 1, column 11"),
        (YAML, "password: [hunter2", "is no YAML: line 2, column 1"),
        (YAML, "a: b: hunter2", "is no YAML: line 1, column 5"),
        (YAML, "a: \x00hunter2", "is no YAML: it has control characters"),
        (YAML, "[" * 400 + "]" * 400, ""),
        (YAML, "[" * 200_000, "is nested too deeply for YAML"),
        (TOML, 'a = "b"\n[c]\nd = 1.5\n', ""),
        (TOML, "password = hunter2", "is no TOML: line 1, column 12"),
        (TOML, 'a = "', "is no TOML: end of document"),
        (TOML, "a = " + "9" * 5000, "is no TOML: it has a value that is none"),
        (TOML, "a = " + "[" * 200_000, "is nested too deeply for TOML"),
    ],
)
def test_a_file_is_in_its_format(check: Check, text: str, reason: str) -> None:
    """A refusal tells the place, and nothing of what is there."""
    found = refusal({"f": text}, check)
    assert found == (f"f: {reason}" if reason else "")
    assert "hunter2" not in found


@pytest.mark.parametrize("check", [JSON, YAML, TOML])
def test_a_file_that_is_no_text_is_in_no_format(check: Check) -> None:
    spec = Bundle(
        directory=Path("/run/app"),
        files={"f": InlineFile(content="")},
        validate=Validate(checks=(check,)),
    )
    with pytest.raises(ValidateError, match="f: is not UTF-8 at byte 3"):
        check_files(spec, {"f": b"ab\xff"}, NOW)


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii")), VALUES))
def test_what_a_serializer_writes_is_accepted(content: dict[str, Any]) -> None:
    assert not refusal({"f": json.dumps(content)}, JSON)
    assert not refusal({"f": yaml.safe_dump(content)}, YAML)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_judgement_is_the_parsers_own(text: str) -> None:
    for check, parse, error in (
        (JSON, json.loads, ValueError),
        (TOML, tomllib.loads, tomllib.TOMLDecodeError),
    ):
        try:
            parse(text)
        except error:
            assert refusal({"f": text}, check)
        else:
            assert not refusal({"f": text}, check) or text.strip().lstrip("-") in (
                "NaN",
                "Infinity",
            )

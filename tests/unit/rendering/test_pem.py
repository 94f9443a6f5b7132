"""PEM parts and PKCS #12 stores, read back by cryptography and by openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12 as reference
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from agent.config.model import FormatFile
from agent.core.errors import RenderError
from agent.rendering.formats import render_format
from agent.rendering.pem import pem_text
from agent.rendering.pkcs12 import pkcs12
from agent.rendering.templates import compile_template
from agent.rendering.text import Fault
from tests.rig.held import held
from tests.rig.tls import Authority

Fields = Mapping[str, Any]


def rendered(fields: Fields, *parts: str) -> bytes:
    entry = FormatFile(format="pem", secrets=("web",), **({"parts": parts} if parts else {}))  # type: ignore[arg-type]
    return render_format(entry, held({"web": fields}), "app.pem")


def templated(source: str, fields: Fields) -> bytes:
    return compile_template(source, "app.file").render(held({"web": fields}), {})


def test_a_pki_answer_gives_certificate_chain_and_key(issued: Fields) -> None:
    data = rendered(issued)
    own, authority = load_pem_x509_certificates(data)
    own.verify_directly_issued_by(authority)
    key = serialization.load_pem_private_key(data, None)
    assert key.public_key() == own.public_key()
    assert data.endswith(b"\n") and b"\n\n" not in data


def test_parts_come_in_the_order_asked_for(issued: Fields) -> None:
    order = rendered(issued, "private_key", "certificate").decode()
    assert order == f"{issued['private_key']}\n{issued['certificate']}\n"
    assert rendered(issued, "chain").decode() == f"{issued['issuing_ca']}\n"


def fullchain(issued: Fields) -> str:
    return f"{issued['certificate']}\n{issued['issuing_ca']}\n"


def test_other_shapes_give_the_same(issued: Fields) -> None:
    own, authority, key = (str(issued[n]) for n in ("certificate", "issuing_ca", "private_key"))
    shapes: tuple[Fields, ...] = (
        {"certificate": own, "issuing_ca": authority, "private_key": key, "ca_chain": []},
        {
            "certificate": f"{key}\n{own}\n{authority}",
            "issuing_ca": "",
            "private_key": key,
        },  # pem_bundle
        {"tls.crt": fullchain(issued), "tls.key": key + "\n\n"},
        {"tls.crt": fullchain(issued).encode(), "tls.key": key.encode()},
        {"certificate": own, "chain": fullchain(issued), "private_key": key},
        {"certificate": own.replace("\n", "\r\n"), "chain": [authority], "private_key": f" {key} "},
        {"bundle": None, "cert": own, "ca.crt": authority, "key": key},
    )
    for fields in shapes:
        assert rendered(fields) == rendered(issued)


def test_a_missing_part_is_an_error(issued: Fields) -> None:
    for part, words in [("certificate", "certificate"), ("private_key", "private key")]:
        fields = {name: value for name, value in issued.items() if name != part}
        with pytest.raises(RenderError, match=f"^app.pem: web: there is no {words} in PEM$"):
            rendered(fields)
    with pytest.raises(RenderError, match="there is no chain in PEM"):
        rendered({"certificate": issued["certificate"], "private_key": issued["private_key"]})


def test_many_beginnings_without_an_end_take_no_time() -> None:
    hostile = "-----BEGIN CERTIFICATE-----\n" * 200_000
    with pytest.raises(Fault):
        pem_text(hostile, ["certificate"])


def test_the_filter_takes_secrets_and_bundles(issued: Fields) -> None:
    own, key = issued["certificate"], issued["private_key"]
    assert templated('{{ web | pem("certificate") }}', issued).decode() == f"{own}\n"
    assert templated("{{ web | pem }}", issued) == rendered(issued)
    bundle = {"all": fullchain(issued) + str(key)}
    assert templated("{{ web.all | pem }}", bundle) == rendered(issued)
    with pytest.raises(RenderError, match="no such part of a PEM; there are certificate, chain"):
        templated('{{ web | pem("cert") }}', issued)


# --- PKCS #12 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["changeit", "pässwörd €", "x" * 100])
def test_cryptography_reads_the_store(issued: Fields, password: str) -> None:
    store = reference.load_pkcs12(pkcs12(issued, password, name="wéb"), password.encode())
    assert store.cert is not None
    assert store.cert.friendly_name == "wéb".encode()
    assert store.cert.certificate == load_pem_x509_certificate(str(issued["certificate"]).encode())
    chain = load_pem_x509_certificate(str(issued["issuing_ca"]).encode())
    assert [each.certificate for each in store.additional_certs] == [chain]
    assert store.key is not None
    pem = store.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert pem.decode().strip() == issued["private_key"]
    with pytest.raises(ValueError, match="Invalid password"):
        reference.load_pkcs12(pkcs12(issued, password), b"another")


def test_openssl_reads_the_store(issued: Fields, tmp_path: Path) -> None:
    (tmp_path / "web.p12").write_bytes(pkcs12(issued, "changeit"))
    read = ["openssl", "pkcs12", "-in", str(tmp_path / "web.p12"), "-noenc", "-passin", "stdin"]
    done = subprocess.run(read, input=b"changeit\n", capture_output=True, check=True)
    certificates = load_pem_x509_certificates(done.stdout)
    assert len(certificates) == 2
    key = serialization.load_pem_private_key(done.stdout, None)
    assert key.public_key() == certificates[0].public_key()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_other_kinds_of_keys_are_stored(kind: str, tmp_path: Path) -> None:
    key = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    form = serialization.PrivateFormat
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if kind == "rsa" else form.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = Authority(tmp_path).issue("x").cert_file.read_text()
    with pytest.raises(Fault, match="pkcs12: the key is not the certificate's"):
        pkcs12({"certificate": certificate, "private_key": pem.decode()}, "changeit")


def test_a_template_of_just_a_store_gives_its_bytes(issued: Fields) -> None:
    fields = {**issued, "password": "changeit"}
    data = templated("{{ web | pkcs12(password=web.password) }}\n", fields)
    assert reference.load_pkcs12(data, b"changeit").key is not None
    text = templated("store: {{ web | pkcs12(password=web.password) | b64encode }}\n", fields)
    assert text.startswith(b"store: MII")


def test_the_same_content_gives_the_same_store(issued: Fields) -> None:
    assert pkcs12(issued, "changeit") == pkcs12(dict(issued), "changeit")
    assert pkcs12(issued, "changeit")[-40:-20] != pkcs12(issued, "changed")[-40:-20]


def test_a_key_that_can_not_be_read_is_refused(issued: Fields) -> None:
    for broken in (
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
    ):
        with pytest.raises(Fault, match="the certificate or the key can't be read"):
            pkcs12({**issued, "private_key": broken}, "changeit")

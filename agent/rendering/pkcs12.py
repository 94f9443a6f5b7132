"""PKCS #12 key stores (RFC 7292), for Java and Windows: the same input gives the same bytes.

The writers there are draw random salts, so that each rendering would be a new generation and reload
the app. Here salts come from the content itself by HMAC, keyed with key and password: distinct
contents have distinct salts, and nobody without the key can tell them from random.

AES-256-CBC with PBKDF2-HMAC-SHA256, and an HMAC-SHA256 over all: OpenSSL from 1.1, Java from 8u301.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.rendering.pem import pem_blocks, pem_text
from agent.rendering.text import Binary, Fault, text_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
    from cryptography.x509 import Certificate

ITERATIONS = 10_000

_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_CERT_BAG = "1.2.840.113549.1.12.10.1.3"
_KEY_BAG = "1.2.840.113549.1.12.10.1.2"
_X509 = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID = "1.2.840.113549.1.9.21"
_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
_HMAC_SHA256 = "1.2.840.113549.2.9"
_AES256_CBC = "2.16.840.1.101.3.4.1.42"
_SHA256 = "2.16.840.1.101.3.4.2.1"


def pkcs12(source: object, password: object, name: str = "1") -> Binary:
    """A key store of a secret's (or bundle's) key, certificate and chain; `name` is its alias."""
    fields = source if isinstance(source, Mapping) else {"certificate": source}
    key, certificates = _load(fields)
    store = _Store(text_of(password), key, certificates)
    return Binary(store.write(name))


def _load(fields: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    """The key as PKCS #8 and the certificates, all in DER; key and certificate must match."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.x509 import load_pem_x509_certificates

    own = pem_blocks(fields, "certificate") + _chain(fields)
    key_pem = pem_text(fields, ["private_key"]).encode()
    try:
        key: Any = form.load_pem_private_key(key_pem, password=None)
        certificates = load_pem_x509_certificates("\n".join(own).encode())
        matches = _matches(key, certificates[0])
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: the key is encrypted
        matches = None
    if matches is None:
        raise Fault("pkcs12: the certificate or the key can't be read")
    if not matches:
        raise Fault("pkcs12: the key is not the certificate's")
    der = form.Encoding.DER
    pkcs8 = key.private_bytes(der, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pkcs8, [each.public_bytes(der) for each in certificates]


def _chain(fields: Mapping[str, Any]) -> list[str]:
    try:
        return pem_blocks(fields, "chain")
    except Fault:
        return []


def _matches(key: CertificateIssuerPrivateKeyTypes, certificate: Certificate) -> bool:
    return bool(key.public_key() == certificate.public_key())


class _Store:
    """One file in the making."""

    def __init__(self, password: str, key: bytes, certificates: Sequence[bytes]) -> None:
        self._password = password
        self._key, self._certificates = key, certificates
        content = _sequence(_octets(password.encode()), _octets(key), *map(_octets, certificates))
        self._seed = hashlib.sha256(content).digest()

    def write(self, name: str) -> bytes:
        safe = _sequence(self._certificate_safe(name), self._key_safe(name))
        return _sequence(_integer(3), _data(safe), self._mac(safe))

    def _salt(self, purpose: str) -> bytes:
        return hmac.digest(self._seed, purpose.encode(), "sha256")[:16]

    def _certificate_safe(self, name: str) -> bytes:
        own, *chain = (
            _explicit(_sequence(_oid(_X509), _explicit(_octets(each))))
            for each in self._certificates
        )
        bags = _sequence(
            _sequence(_oid(_CERT_BAG), own, self._attributes(name)),
            *(_sequence(_oid(_CERT_BAG), each) for each in chain),
        )
        algorithm, ciphertext = self._encrypt(bags, "certificates")
        content = _sequence(_oid(_DATA), algorithm, _tagged(0x80, ciphertext))
        return _sequence(_oid(_ENCRYPTED_DATA), _explicit(_sequence(_integer(0), content)))

    def _key_safe(self, name: str) -> bytes:
        algorithm, ciphertext = self._encrypt(self._key, "key")
        bag = _explicit(_sequence(algorithm, _octets(ciphertext)))
        return _data(_sequence(_sequence(_oid(_KEY_BAG), bag, self._attributes(name))))

    def _attributes(self, name: str) -> bytes:
        """The alias, and what ties the key to its certificate."""
        key_id = hashlib.sha256(self._certificates[0]).digest()[:20]
        alias = _tagged(0x1E, _two_byte_text(name))
        return _set(
            _sequence(_oid(_FRIENDLY_NAME), _set(alias)),
            _sequence(_oid(_LOCAL_KEY_ID), _set(_octets(key_id))),
        )

    def _encrypt(self, content: bytes, purpose: str) -> tuple[bytes, bytes]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        salt, vector = self._salt(f"salt of {purpose}"), self._salt(f"vector of {purpose}")
        secret = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, ITERATIONS)
        encryptor = Cipher(algorithms.AES256(secret), modes.CBC(vector)).encryptor()
        padding = 16 - len(content) % 16
        ciphertext = encryptor.update(content + bytes([padding]) * padding) + encryptor.finalize()
        digest = _sequence(_oid(_HMAC_SHA256), _tagged(0x05, b""))
        derivation = _sequence(_octets(salt), _integer(ITERATIONS), digest)
        scheme = _sequence(_oid(_AES256_CBC), _octets(vector))
        return _sequence(
            _oid(_PBES2), _sequence(_sequence(_oid(_PBKDF2), derivation), scheme)
        ), ciphertext

    def _mac(self, safe: bytes) -> bytes:
        salt = self._salt("salt of the mac")
        secret = _mac_key(_two_byte_text(self._password) + b"\0\0", salt)
        digest = _sequence(_oid(_SHA256), _tagged(0x05, b""))
        mac = _sequence(digest, _octets(hmac.digest(secret, safe, "sha256")))
        return _sequence(mac, _octets(salt), _integer(ITERATIONS))


def _mac_key(password: bytes, salt: bytes) -> bytes:
    """RFC 7292, appendix B.2, for one block of SHA-256 (u = 32, v = 64) and ID 3."""

    def filled(text: bytes) -> bytes:
        size = 64 * -(-len(text) // 64)
        return (text * size)[:size] if text else b""

    result = b"\3" * 64 + filled(salt) + filled(password)
    for _ in range(ITERATIONS):
        result = hashlib.sha256(result).digest()
    return result


def _two_byte_text(text: str) -> bytes:
    return text.encode("utf-16-be")


# --- DER --------------------------------------------------------------------------------------


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*items: bytes) -> bytes:
    return _tagged(0x30, b"".join(items))


def _set(*items: bytes) -> bytes:
    return _tagged(0x31, b"".join(sorted(items)))


def _explicit(content: bytes) -> bytes:
    return _tagged(0xA0, content)


def _octets(content: bytes) -> bytes:
    return _tagged(0x04, content)


def _integer(number: int) -> bytes:
    return _tagged(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def _data(content: bytes) -> bytes:
    return _sequence(_oid(_DATA), _explicit(_octets(content)))


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    return _tagged(0x06, bytes([40 * first + second]) + b"".join(map(_base128, rest)))


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))

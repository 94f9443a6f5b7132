"""The check of certificates: is each current, signed by the next, and the key the first one's?

Whom an app's clients trust is not known here, so a chain may end anywhere: with a root, or with a
certificate whose issuer they have.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from agent.config.model import CertificateCheck
from agent.core.clock import rfc3339
from agent.core.errors import ValidateError
from agent.delivery.validate import key_pair

Certificates = list[x509.Certificate]


def check_certificate(check: CertificateCheck, files: Mapping[str, bytes], wall: float) -> None:
    """ValidateError for what is wrong at the wall time `wall`."""
    certificates = _read(check.certificate, files)
    issuers = [] if check.chain is None else _read(check.chain, files)
    line = certificates + [each for each in issuers if each not in certificates]
    if check.chain is not None and len(line) == 1 and not _has_signed(line[0], line[0]):
        raise ValidateError(check.chain, "the certificate's issuer is not there")
    for number, certificate in enumerate(line, start=1):
        where = _where(check, number, len(certificates))
        _be_current(*where, certificate, wall)
        if number < len(line) and not _has_signed(line[number], certificate):
            file, ordinal = _where(check, number + 1, len(certificates))
            raise ValidateError(file, f"{ordinal} has not signed the one before it")
    _compare_key(check, files)


def _read(name: str, files: Mapping[str, bytes]) -> Certificates:
    try:
        return x509.load_pem_x509_certificates(files[name])
    except ValueError:
        raise ValidateError(name, "has no certificate in PEM, or one that can't be read") from None


def _where(check: CertificateCheck, number: int, own: int) -> tuple[str, str]:
    """The file of the certificate with this number, and how the certificate is called there."""
    if number <= own or check.chain is None:
        return check.certificate, f"certificate {number}"
    return check.chain, f"issuer {number - own}"


def _be_current(name: str, ordinal: str, certificate: x509.Certificate, wall: float) -> None:
    begins_at = certificate.not_valid_before_utc.timestamp()
    ends_at = certificate.not_valid_after_utc.timestamp()
    if ends_at < wall:
        raise ValidateError(name, f"{ordinal} has expired at {rfc3339(ends_at)}")
    if begins_at > wall:
        raise ValidateError(name, f"{ordinal} is not valid before {rfc3339(begins_at)}")


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _compare_key(check: CertificateCheck, files: Mapping[str, bytes]) -> None:
    """With the key's file, or the key in the certificate's own if there is one."""
    name = check.key or check.certificate
    if check.key is None and b"PRIVATE KEY-----" not in files[name]:
        return
    try:
        key_pair.compare(files[check.certificate], files[name])
    except key_pair.Encrypted:
        reason = "the private key is encrypted, so it can't be compared"
        raise ValidateError(name, reason) from None
    except ssl.SSLError as error:
        raise ValidateError(name, key_pair.reason_of(error)) from None

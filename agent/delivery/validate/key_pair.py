"""Whether a private key is a certificate's, by OpenSSL's own loading: what a server does with them.

It reads files only, so it is given memory under a name of /proc.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

OF_ANOTHER = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""OpenSSL's reasons for a key that is not the certificate's; the last is one of another kind."""


class Encrypted(Exception):
    """The key is encrypted: nothing is known of it."""


def compare(certificates: bytes, key: bytes) -> None:
    """Return if the first key is the first certificate's; ssl.SSLError if not, or unreadable.

    Both are PEM, and may be the same text. Weak keys are none of our business.
    """

    def asked_for_password() -> str:
        raise Encrypted

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with _readable(certificates) as certificate_file, _readable(key) as key_file:
        context.load_cert_chain(certificate_file, key_file, password=asked_for_password)


def reason_of(error: ssl.SSLError) -> str:
    """In words, without a word of the files."""
    if error.reason in OF_ANOTHER:
        return "the private key is not the certificate's"
    return "OpenSSL can't read the certificate and its private key"


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """A name under which OpenSSL reads this, for as long as it is entered."""
    with open(os.memfd_create("leasehold-check", os.MFD_CLOEXEC), "wb") as file:  # noqa: PTH123
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"

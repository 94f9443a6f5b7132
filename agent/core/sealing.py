"""The container of an encrypted file: bytes in, bytes out.

    leasehold-sealed/1 {"purpose":…,"sequence":…,"salt":…,"nonce":…,"check":…,"length":…,"kdf":…}⏎
    ciphertext and tag of AES-256-GCM

The first line is authenticated with the content. Each sealing draws a new salt, from which HKDF
makes a subkey of its own, so that a nonce never meets the same key twice, however often a file is
written and wherever copies of it are restored. `check`, from the same HKDF, tells a wrong key from
altered content, and binds the file to one key. A passphrase becomes a key by scrypt, whose salt
stays with the file: the costly step is done once for all its versions.

Everything read here is hostile until the tag has been verified.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from agent.core.errors import SealedFileError, WrongKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"leasehold-sealed/"
FORMAT = 1
KEY_BYTES = 32
SALT_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MAX_HEADER_BYTES = 1024
MAX_SCRYPT_MEMORY = 128 * 1024 * 1024
MAX_SCRYPT_WORK = 4 * 2**17 * 8


class Scrypt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The memory-hard step from a passphrase to a key; 32 MiB and a quarter of a second by default.

    The default is one of OWASP's equivalents of n=2^17, p=1, in a quarter of the memory: the agent
    lives in small containers.
    """

    salt: bytes
    n: int = 2**15
    r: int = 8
    p: int = 3

    def is_sane(self) -> bool:
        """A hostile file can take neither the memory nor the time of the machine."""
        return (
            len(self.salt) == SALT_BYTES
            and min(self.n, self.r, self.p) >= 1
            and self.n >= 2
            and self.n & (self.n - 1) == 0
            and 128 * self.n * self.r <= MAX_SCRYPT_MEMORY
            and self.n * self.r * self.p <= MAX_SCRYPT_WORK
        )


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line. Bytes are base64 in JSON."""

    purpose: str
    sequence: int
    salt: bytes
    nonce: bytes
    check: bytes
    length: int
    kdf: Scrypt | None = None


class SealingKey:
    """A key of 32 bytes, or a passphrase. Shows neither."""

    def __init__(self, material: bytes, *, is_passphrase: bool = False) -> None:
        if not is_passphrase and len(material) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._material = material
        self.is_passphrase = is_passphrase
        self._derived: dict[Scrypt, bytes] = {}

    def root(self, kdf: Scrypt | None) -> bytes:
        """The key proper; the slow step is done once for each `kdf`."""
        if kdf is None:
            return self._material
        if kdf not in self._derived:
            self._derived = {kdf: self._stretch(kdf)}
        return self._derived[kdf]

    def _stretch(self, kdf: Scrypt) -> bytes:
        return hashlib.scrypt(
            self._material,
            salt=kdf.salt,
            n=kdf.n,
            r=kdf.r,
            p=kdf.p,
            maxmem=2 * MAX_SCRYPT_MEMORY,
            dklen=KEY_BYTES,
        )

    def __repr__(self) -> str:
        return f"<SealingKey of a {'passphrase' if self.is_passphrase else 'key file'}>"


@dataclass(frozen=True, slots=True)
class Opened:
    """What an encrypted file held. `sequence` counts its writings; `kdf` is for the next one."""

    payload: bytes
    sequence: int
    kdf: Scrypt | None

    def __repr__(self) -> str:
        return f"<Opened {len(self.payload)} bytes, sequence {self.sequence}>"


def new_scrypt() -> Scrypt:
    """Parameters for a file that is sealed with a passphrase for the first time."""
    return Scrypt(salt=secrets.token_bytes(SALT_BYTES))


def seal(
    payload: bytes, key: SealingKey, *, purpose: str, sequence: int, kdf: Scrypt | None = None
) -> bytes:
    """The file's content. `kdf`: what the file had before; None: a passphrase gets a new one."""
    if key.is_passphrase and kdf is None:
        kdf = new_scrypt()
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    subkey, check = _derive(key.root(kdf), salt, purpose)
    header = Header(purpose, sequence, salt, nonce, check, len(payload) + TAG_BYTES, kdf)
    line = MAGIC + b"%d " % FORMAT + msgspec.json.encode(header) + b"\n"
    return line + _cipher(subkey).encrypt(nonce, payload, line)


def unseal(content: bytes, key: SealingKey, *, purpose: str, name: str) -> Opened:
    """What was sealed; `SealedFileError` about `name`, and nothing else, if anything is amiss."""
    line, header = _header(content, name)
    if header.purpose != purpose:
        raise SealedFileError(name, f"is a {header.purpose!r}, not a {purpose!r}")
    if key.is_passphrase != (header.kdf is not None):
        was = "a key file" if key.is_passphrase else "a passphrase"
        raise WrongKey(name, f"was encrypted with {was}: `key` must name that")
    body = memoryview(content)[len(line) :]
    if len(body) < header.length:
        raise SealedFileError(name, f"is cut short: {len(body)} of {header.length} bytes are there")
    subkey, check = _derive(key.root(header.kdf), header.salt, purpose)
    if not hmac.compare_digest(check, header.check):
        what = "passphrase" if key.is_passphrase else "key"
        raise WrongKey(name, f"wrong {what} (or the first line was altered)")
    payload = _decrypt(subkey, header.nonce, body, line, name)
    return Opened(payload, header.sequence, header.kdf)


def _header(content: bytes, name: str) -> tuple[bytes, Header]:
    line, newline, _ = content[:MAX_HEADER_BYTES].partition(b"\n")
    number, _, fields = line.removeprefix(MAGIC).partition(b" ")
    if not line.startswith(MAGIC) or not number.isdigit():
        is_start = MAGIC.startswith(content) or (line.startswith(MAGIC) and not newline)
        reason = "is cut short" if is_start else "is not an encrypted file of leasehold"
        raise SealedFileError(name, "is empty" if not content else reason)
    if number != b"%d" % FORMAT and newline:
        shown = number[:9].decode()
        raise SealedFileError(name, f"has format {shown}; this leasehold knows format {FORMAT}")
    if not newline:
        raise SealedFileError(name, "is cut short in its first line")
    try:
        header = msgspec.json.decode(fields, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise SealedFileError(name, "its first line is damaged") from None
    if not _is_sane(header):
        raise SealedFileError(name, "its first line asks for what no leasehold writes")
    return line + newline, header


def _is_sane(header: Header) -> bool:
    return (
        (len(header.salt), len(header.nonce)) == (SALT_BYTES, NONCE_BYTES)
        and header.sequence >= 0
        and header.length >= TAG_BYTES
        and (header.kdf is None or header.kdf.is_sane())
    )


def _derive(root: bytes, salt: bytes, purpose: str) -> tuple[bytes, bytes]:
    """The subkey of one sealing, and the check that it is the right one."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"leasehold sealed 1 " + purpose.encode()
    derived = HKDF(SHA256(), KEY_BYTES * 2, salt, info).derive(root)
    return derived[:KEY_BYTES], derived[KEY_BYTES:]


def _cipher(subkey: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(subkey)


def _decrypt(subkey: bytes, nonce: bytes, body: memoryview, line: bytes, name: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(subkey).decrypt(nonce, body, line)
    except InvalidTag:
        raise SealedFileError(name, "was altered or is damaged") from None

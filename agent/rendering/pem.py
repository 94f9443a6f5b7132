"""Certificates, chains and private keys out of a secret, as PEM.

Understood are an answer of a PKI (`certificate`, `ca_chain` or `issuing_ca`, `private_key`), KV
entries with the names of a Kubernetes TLS secret (`tls.crt`, `tls.key`, `ca.crt`) or with
`certificate`, `chain`, `private_key`, and bundles: several blocks in one text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.rendering.text import Fault, text_of

PARTS = ("certificate", "chain", "private_key")

_BLOCK = re.compile(
    r"-----BEGIN (?P<label>[A-Z0-9 ]{1,64})-----(?:(?!-----)[\s\S])*-----END (?P=label)-----"
)
_CERTIFICATE_FIELDS = ("certificate", "tls.crt", "cert", "crt")
_CHAIN_FIELDS = ("ca_chain", "chain", "issuing_ca", "ca.crt")
_KEY_FIELDS = ("private_key", "tls.key", "key")


def pem_text(source: object, parts: Iterable[str] = PARTS) -> str:
    """The parts in order, each block with one newline after it; a missing part is a Fault.

    `source` is a secret's fields, or a bundle as text.
    """
    if not isinstance(source, Mapping):
        source = {"certificate": source}
    return "".join(block + "\n" for part in parts for block in pem_blocks(source, part))


def pem_blocks(fields: Mapping[str, Any], part: str) -> list[str]:
    """The blocks of one part, at least one."""
    finder = _FINDERS.get(part)
    if finder is None:
        raise Fault(f"there is no such part of a PEM; there are {', '.join(PARTS)}")
    blocks = finder(fields)
    if not blocks:
        raise Fault(f"there is no {part.replace('_', ' ')} in PEM")
    return blocks


def _certificate(fields: Mapping[str, Any]) -> list[str]:
    return _certificates(fields, _CERTIFICATE_FIELDS)[:1]


def _chain(fields: Mapping[str, Any]) -> list[str]:
    own = _certificates(fields, _CERTIFICATE_FIELDS)
    chain = _certificates(fields, _CHAIN_FIELDS) or own[1:]
    return [block for block in chain if block not in own[:1]]


def _private_key(fields: Mapping[str, Any]) -> list[str]:
    for name in (*_KEY_FIELDS, *_CERTIFICATE_FIELDS):
        keys = [b for b in _blocks(fields.get(name)) if b.split("\n")[0].endswith("KEY-----")]
        if keys:
            return keys[:1]
    return []


_FINDERS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "certificate": _certificate,
    "chain": _chain,
    "private_key": _private_key,
}


def _certificates(fields: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The certificates of the first field that has any."""
    for name in names:
        blocks = [b for b in _blocks(fields.get(name)) if b.startswith("-----BEGIN CERTIFICATE-")]
        if blocks:
            return blocks
    return []


def _blocks(value: Any) -> list[str]:
    """All PEM blocks of a text or a list of texts, without trailing space in their lines."""
    text = "\n".join(map(text_of, value)) if isinstance(value, list | tuple) else text_of(value)
    found = (match[0] for match in _BLOCK.finditer(text))
    return ["\n".join(line.strip() for line in block.splitlines()) for block in found]

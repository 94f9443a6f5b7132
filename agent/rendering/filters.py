"""The filters of templates, beside Jinja2's own; `docs/templates.md` shows each.

A filter takes what a field can be (text, number, list, mapping, bytes) or a whole secret, and
fails with a Fault that quotes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

from agent.rendering.data import from_json, from_yaml, toml_text, yaml_text
from agent.rendering.pem import PARTS, pem_text
from agent.rendering.pkcs12 import pkcs12
from agent.rendering.shell import shell_quote
from agent.rendering.text import Fault, encode, json_text, text_of, text_or_binary


def b64encode(value: object) -> str:
    """Base64 of the text's UTF-8, or of the bytes."""
    return base64.b64encode(_bytes(value)).decode()


def b64decode(value: object) -> str | bytes:
    """Text where it is UTF-8, else bytes. Line breaks and missing padding are borne."""
    text = "".join(text_of(value).split()).rstrip("=")
    try:
        return text_or_binary(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError:
        pass
    raise Fault("b64decode: this is not base64")


def sha256(value: object) -> str:
    """The hexadecimal SHA-256 of the text's UTF-8, or of the bytes."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def to_json(value: object, indent: int | None = None) -> str:
    """JSON, not escaped for HTML."""
    return json_text(value, indent)


def to_json_pretty(value: object) -> str:
    """JSON over several lines."""
    return json_text(value, 2)


def parse_json(value: object) -> Any:
    """The value that a JSON text stands for."""
    return from_json(text_of(value))


def parse_yaml(value: object) -> Any:
    """The value that a YAML text stands for."""
    return from_yaml(text_of(value))


def indent(value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """Every line but the first moved in, blank ones only if `blank`; only a newline ends a line."""
    prefix = width if isinstance(width, str) else " " * min(width, 1000)
    head, *lines = text_of(value).split("\n")
    lines = [prefix + line if line or blank else line for line in lines]
    return "\n".join([prefix + head if first else head, *lines])


def envquote(value: object) -> str:
    """One word for a POSIX shell."""
    return shell_quote(text_of(value))


def pem(value: object, *parts: str) -> str:
    """The parts of a secret or PEM bundle, in the order asked for; all three if none is named."""
    return pem_text(value, parts or PARTS)


def regex_replace(value: object, pattern: str, replacement: str = "") -> str:
    """Every match of the (Python) pattern replaced; `\\1` is its first group."""
    return re.sub(pattern, replacement, text_of(value))


def trim_space(value: object) -> str:
    """Without space at both ends."""
    return text_of(value).strip()


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes) else encode(text_of(value))


FILTERS: dict[str, Callable[..., Any]] = {
    "b64encode": b64encode,
    "base64Encode": b64encode,
    "b64decode": b64decode,
    "base64Decode": b64decode,
    "sha256": sha256,
    "sha256Hex": sha256,
    "tojson": to_json,
    "to_json": to_json,
    "toJSON": to_json,
    "toJSONPretty": to_json_pretty,
    "from_json": parse_json,
    "parseJSON": parse_json,
    "to_yaml": yaml_text,
    "toYAML": yaml_text,
    "from_yaml": parse_yaml,
    "parseYAML": parse_yaml,
    "to_toml": toml_text,
    "toTOML": toml_text,
    "indent": indent,
    "envquote": envquote,
    "pem": pem,
    "pkcs12": pkcs12,
    "regex_replace": regex_replace,
    "trimSpace": trim_space,
}

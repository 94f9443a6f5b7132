"""Whole secrets in a known format: env, json, yaml, toml, properties, pem, raw.

One secret gives its fields; several give `NAME_FIELD` (env), `NAME.FIELD` (properties), a mapping
by name (json, yaml, toml). Fields keep the order in which the store gave them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from agent.config.model import FormatFile
from agent.core.errors import RenderError
from agent.rendering.data import toml_text, yaml_text
from agent.rendering.pem import pem_text
from agent.rendering.shell import shell_quote, variable_name
from agent.rendering.text import Fault, encode, json_text, listed, text_of
from agent.rendering.values import Held, Scope, View

Secrets = Mapping[str, View]
T = TypeVar("T")


def render_format(entry: FormatFile, held: Mapping[str, Held], place: str) -> bytes:
    """The file's bytes, or a RenderError at `place`."""
    try:
        scope = Scope(held, {})
        return _FORMATS[entry.format](entry, {name: scope.secret(name) for name in entry.secrets})
    except Fault as fault:
        error = RenderError(place, fault.reason)
    raise error


def _env(entry: FormatFile, secrets: Secrets) -> bytes:
    variables: dict[str, str] = {}
    lines = []
    for name, where, value in _flat(secrets, "_"):
        variable = _at(where, variable_name, name, is_upper=entry.keys == "upper")
        if variable in variables:
            raise Fault(f"{variables[variable]} and {where} would both be {variable}")
        variables[variable] = where
        text = _at(where, _text, value)
        # an empty value needs no quotes, and some readers would take them for its text
        lines.append(f"{variable}={text and _at(where, shell_quote, text)}\n")
    return encode("".join(lines))


def _json(entry: FormatFile, secrets: Secrets) -> bytes:
    return encode(json_text(_tree(secrets), indent=2) + "\n")


def _yaml(entry: FormatFile, secrets: Secrets) -> bytes:
    return encode(yaml_text(_tree(secrets)))


def _toml(entry: FormatFile, secrets: Secrets) -> bytes:
    return encode(toml_text(_tree(secrets)))


def _properties(entry: FormatFile, secrets: Secrets) -> bytes:
    lines = (
        f"{_property_text(name, ' :=#!')}={_property_text(_at(where, _text, value), '')}\n"
        for name, where, value in _flat(secrets, ".")
    )
    return encode("".join(lines))


def _pem(entry: FormatFile, secrets: Secrets) -> bytes:
    return encode("".join(_at(name, pem_text, secrets[name], entry.parts) for name in secrets))


def _raw(entry: FormatFile, secrets: Secrets) -> bytes:
    if len(secrets) != 1:
        raise Fault("raw takes one secret")
    ((name, fields),) = secrets.items()
    if entry.field is None and len(fields) != 1:
        raise Fault(
            f"{name} has not one field but {listed(fields) or 'none'}; say which in `field`"
        )
    value = fields.field(entry.field if entry.field is not None else next(iter(fields)))
    return bytes(value) if isinstance(value, bytes) else encode(text_of(value))


_FORMATS: dict[str, Callable[[FormatFile, Secrets], bytes]] = {
    "env": _env,
    "json": _json,
    "yaml": _yaml,
    "toml": _toml,
    "properties": _properties,
    "pem": _pem,
    "raw": _raw,
}


def _flat(secrets: Secrets, joint: str) -> Iterator[tuple[str, str, Any]]:
    """Name, place for errors, and value of each field."""
    for name, fields in secrets.items():
        for field, value in fields.items():
            yield (f"{name}{joint}{field}" if len(secrets) > 1 else field), f"{name}.{field}", value


def _text(value: object) -> str:
    text = text_of(value)
    encode(text)
    return text


def _tree(secrets: Secrets) -> Mapping[str, Any]:
    """The one secret's fields, or all by name; what no format of data can hold is a Fault."""
    for _, where, value in _flat(secrets, "."):
        _at(where, json_text, value)
    return next(iter(secrets.values())) if len(secrets) == 1 else secrets


def _at(where: str, action: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """What the action returns; its Fault says where it was."""
    try:
        return action(*arguments, **options)
    except Fault as fault:
        reason = fault.reason
    raise Fault(f"{where}: {reason}")


_PROPERTY_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


def _property_text(text: str, also: str) -> str:
    """Escaped for java.util.Properties: ASCII only, and a backslash before what is in `also`."""
    encode(text)
    escaped = re.sub(r"[^ -\[\]-~]", lambda match: _property_escape(match[0]), text)
    if also:
        return re.sub(f"[{re.escape(also)}]", r"\\\g<0>", escaped)
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def _property_escape(char: str) -> str:
    if char in _PROPERTY_ESCAPES:
        return _PROPERTY_ESCAPES[char]
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))

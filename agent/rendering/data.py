"""JSON, YAML and TOML, written and read: what filters and formats share.

Written so that other parsers than Python's understand the same: text in YAML is quoted where any
dialect might take it for something else, TOML has basic strings only. Read strictly: NaN, aliases
(a kilobyte of which can stand for a gigabyte) and tags are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from agent.rendering.text import Fault, number_text, plain

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_YAML_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
_BLOCK = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?\n)+(?:[!-~](?:[ -~]*[!-~])?)?")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOML_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_TOML_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')


def from_json(text: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        pass
    raise Fault("this is not JSON")


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def yaml_text(value: object) -> str:
    """Block YAML in the order given, without a marker; text is quoted unless a mere word."""
    import yaml

    text: str = yaml.dump(
        plain(value),
        Dumper=_yaml_dumper(),
        allow_unicode=True,
        default_flow_style=False,
        sort_keys=False,
        width=2**31 - 1,
    )
    return text.removesuffix("...\n")


@cache
def _yaml_dumper() -> Any:
    import yaml

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper = type("Dumper", (base,), {"ignore_aliases": lambda self, data: True})
    dumper.add_representer(str, _represent_text)  # type: ignore[attr-defined]
    return dumper


def _represent_text(dumper: Any, text: str) -> Any:
    if _WORD.fullmatch(text) and text.lower() not in _YAML_WORDS:
        style = None
    else:
        style = "|" if _BLOCK.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def from_yaml(text: str) -> Any:
    """The value of a YAML text; dates stay text."""
    import yaml

    try:
        return plain(yaml.load(text, Loader=_yaml_loader()))  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        pass
    raise Fault("this is not YAML, or has aliases or tags, which are not read here")


@cache
def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Without aliases and timestamps."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("alias")
            return super().compose_node(parent, index)

    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    Loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if not pair[0].endswith(":timestamp")]
        for first, pairs in resolvers.items()
    }
    return Loader


def toml_text(value: object) -> str:
    """TOML 1.0: values first, then a table for each mapping, both in the order given."""
    fields = plain(value)
    if not isinstance(fields, dict):
        raise Fault("TOML is made of a mapping only")
    scalars = {key: each for key, each in fields.items() if not isinstance(each, dict)}
    tables = {key: each for key, each in fields.items() if isinstance(each, dict)}
    blocks = ["".join(_toml_lines(scalars, ""))] if scalars else []
    blocks += [
        f"[{_toml_key(key)}]\n" + "".join(_toml_lines(each, f"{key}."))
        for key, each in tables.items()
    ]
    return "\n".join(blocks)


def _toml_lines(fields: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, value in fields.items():
        yield f"{_toml_key(key)} = {_toml_value(value, where + key)}\n"


def _toml_value(value: Any, where: str) -> str:
    match value:
        case None:
            raise Fault(f"{where} is null, which TOML has not")
        case str():
            return _toml_string(value)
        case int() if not -(2**63) <= value < 2**63:
            raise Fault(f"{where} is a number of more than 64 bits, which TOML has not")
        case bool() | int() | float():
            return number_text(value)
        case list():
            return "[" + ", ".join(_toml_value(each, f"{where}[]") for each in value) + "]"
    pairs = (f"{_toml_key(key)} = {_toml_value(value[key], f'{where}.{key}')}" for key in value)
    return "{" + ", ".join(pairs) + "}"


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_string(key)


def _toml_string(text: str) -> str:
    return '"' + _TOML_ESCAPED.sub(_toml_escape, text) + '"'


def _toml_escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    return _TOML_ESCAPES.get(char, f"\\u{ord(char):04X}")

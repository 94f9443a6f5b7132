"""What the agent checks by itself in a candidate: PEM, JSON, YAML, TOML. Pure, and not quick.

Files are what was rendered, not what is read back from a folder that others may write to. A refusal
names the file and what is wrong with it, at which line or in which certificate; never what stands
there, since it may be the secret.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from agent.config.model import (
    Bundle,
    CertificateCheck,
    Check,
    FormatFile,
    JsonCheck,
    TomlCheck,
    YamlCheck,
)
from agent.core.errors import ValidateError
from agent.delivery.validate import key_pair

Files = Mapping[str, bytes]

DEEPEST = 500
"""Collections within collections in YAML; libyaml's time grows with the square of them."""

_TOML_PLACE = re.compile(r"\(at (line [0-9]+, column [0-9]+|end of document)\)")


class Mark(Protocol):
    """A place of PyYAML's, or of libyaml's; from 0."""

    line: int
    column: int


class _Unparsable(Exception):
    """Not in the format; the text is the place where it ends to be."""


def check_files(spec: Bundle, files: Files, wall: float) -> None:
    """ValidateError for the first file that is not as it must be.

    Listed checks are made as they stand; certificate and key of a secret that `format: pem` writes
    are compared in any case. `wall` is the wall time by which certificates are judged.
    """
    for certificate, key in pairs(spec):
        try:
            key_pair.compare(files[certificate], files[key])
        except key_pair.Encrypted:
            continue
        except ssl.SSLError as error:
            raise ValidateError(key, key_pair.reason_of(error)) from None
    for check in () if spec.validate is None else spec.validate.checks:
        _made(check, files, wall)


def pairs(spec: Bundle) -> Iterator[tuple[str, str]]:
    """The files of `format: pem` with a certificate, and with its key: one pair a secret."""
    certificates: dict[str, str] = {}
    keys: dict[str, str] = {}
    for name, entry in spec.files.items():
        if isinstance(entry, FormatFile) and entry.format == "pem":
            secret = entry.secrets[0]
            if [each for each in entry.parts if each != "private_key"][:1] == ["certificate"]:
                certificates.setdefault(secret, name)
            if "private_key" in entry.parts:
                keys.setdefault(secret, name)
    return ((name, keys[secret]) for secret, name in certificates.items() if secret in keys)


def _made(check: Check, files: Files, wall: float) -> None:
    match check:
        case CertificateCheck():
            from agent.delivery.validate.certificates import check_certificate

            check_certificate(check, files, wall)
        case JsonCheck():
            _parsed(check.json, files, "JSON", _json)
        case YamlCheck():
            _parsed(check.yaml, files, "YAML", _yaml)
        case TomlCheck():
            _parsed(check.toml, files, "TOML", _toml)


def _parsed(name: str, files: Files, language: str, parse: Callable[[str], None]) -> None:
    try:
        parse(files[name].decode())
    except UnicodeDecodeError as error:
        raise ValidateError(name, f"is not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise ValidateError(name, f"is nested too deeply for {language}") from None
    except _Unparsable as error:
        raise ValidateError(name, f"is no {language}: {error}") from None


# --- formats ----------------------------------------------------------------------------------


def _json(text: str) -> None:
    from json import JSONDecodeError, loads

    def refuse(_: str) -> None:
        raise _Unparsable("it has NaN or Infinity")

    try:
        loads(text, parse_int=str, parse_float=str, parse_constant=refuse)
    except JSONDecodeError as error:
        raise _Unparsable(_place(error.lineno, error.colno)) from None


def _yaml(text: str) -> None:
    """By events: composing recurses without a limit, and constructing would refuse own tags."""
    import yaml

    anchors: set[str] = set()
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise RecursionError
            if isinstance(event, yaml.DocumentStartEvent):
                anchors.clear()
            elif isinstance(event, yaml.AliasEvent) and event.anchor not in anchors:
                raise _Unparsable(f"{_marked(event.start_mark)}: an alias without its anchor")
            elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                anchors.add(event.anchor)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):  # newer libyaml counts, too, and looks ahead
            raise RecursionError from None
        raise _Unparsable(_marked(error.problem_mark or error.context_mark)) from None
    except yaml.YAMLError:
        raise _Unparsable("it has control characters") from None


def _toml(text: str) -> None:
    from tomllib import loads

    try:
        loads(text, parse_float=str)
    except ValueError as error:  # its own, and of a number with very many digits
        found = _TOML_PLACE.search(str(error))
        raise _Unparsable(found[1] if found else "it has a value that is none") from None


def _marked(mark: Mark | None) -> str:
    return "at its end" if mark is None else _place(mark.line + 1, mark.column + 1)


def _place(line: int, column: int) -> str:
    return f"line {line}, column {column}"

"""A configuration written as YAML, with comments; `config.load` reads the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.migrating.findings import one_line

KeyPath = tuple[str | int, ...]

_PLAIN = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./@-]*|[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)"
    r"|(?:https?|unix):[A-Za-z0-9_./:-]*[A-Za-z0-9_/]"
)
_WORDS = re.compile(r"(?:y|n|yes|no|on|off|true|false|null|~)", re.IGNORECASE)
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Verbatim(str):
    """Text with `${NAME}` in it that is meant: taken from the environment when it is loaded."""

    __slots__ = ()


def yaml_text(tree: Mapping[str, Any], comments: Mapping[KeyPath, str]) -> str:
    """Mappings and lists of mappings as blocks, lists of values on one line.

    Values are str, bool, int, float, list and dict. A comment stands above its key.
    """
    sections = ["\n".join(_mapping({key: value}, (), 0, comments)) for key, value in tree.items()]
    return "\n\n".join(sections) + "\n"


def _mapping(
    tree: Mapping[str, Any], path: KeyPath, depth: int, comments: Mapping[KeyPath, str]
) -> Iterator[str]:
    space = "  " * depth
    for key, value in tree.items():
        here = (*path, key)
        yield from (f"{space}# {line}".rstrip() for line in _lines(comments.get(here, "")))
        name = f"{space}{_scalar(key)}:"
        match value:
            case dict() if value:
                yield name
                yield from _mapping(value, here, depth + 1, comments)
            case list() if value and isinstance(value[0], dict):
                yield name
                yield from _items(value, here, depth + 1, comments)
            case _:
                yield f"{name} {_value(value, depth + 1)}"


def _items(
    items: list[Any], path: KeyPath, depth: int, comments: Mapping[KeyPath, str]
) -> Iterator[str]:
    space = "  " * depth
    for index, item in enumerate(items):
        yield from (f"{space}# {line}" for line in _lines(comments.get((*path, index), "")))
        first, *rest = "\n".join(_mapping(item, (*path, index), depth + 1, comments)).split("\n")
        yield f"{space}- {first.strip()}"
        yield from rest


def _value(value: Any, depth: int) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:.15g}" if isinstance(value, float) else str(value)
        case list():
            return f"[{', '.join(_scalar(each) for each in value)}]"
        case dict():
            return "{}"
        case str() if "\n" in value.rstrip("\n") and _is_plain_block(value):
            return _block(_expandable(value), depth)
    return _scalar(value)


def _block(text: str, depth: int) -> str:
    """A literal block: its lines are the text's."""
    ends = "-" if not text.endswith("\n") else "+" if text.endswith("\n\n") else ""
    space = "  " * depth
    lines = (f"{space}{line}" if line else "" for line in text.removesuffix("\n").split("\n"))
    return f"|2{ends}\n" + "\n".join(lines) if text[0] in " \n" else f"|{ends}\n" + "\n".join(lines)


def _is_plain_block(text: str) -> bool:
    """Nothing in it that YAML would not keep: blanks only in lines with more, no controls."""
    is_clear = all(each == "\n" or each.isprintable() for each in text)
    return (
        is_clear
        and "\ufeff" not in text
        and all(line.strip() or not line for line in text.split("\n"))
    )


def _expandable(text: str) -> str:
    return text if isinstance(text, Verbatim) else text.replace("${", "$${")


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return _value(value, 0)
    text = _expandable(value)
    if _PLAIN.fullmatch(text) and not _WORDS.fullmatch(text):
        return str(text)
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable() and character != "\ufeff":
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _lines(comment: str) -> list[str]:
    """Nothing in a comment may end its line."""
    return [one_line(line) for line in comment.split("\n")] if comment else []

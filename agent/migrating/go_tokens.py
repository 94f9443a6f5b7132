"""Go's text/template, first step: a template becomes texts and actions, an action its tokens.

`{{-` and `-}}` are carried out here, so that what follows sees texts as they come out. Lines are
the template's, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from agent.migrating.findings import Unreadable

_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<character>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+))
    |(?P<field>\.[^\W\d]\w*)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>:=|[=|(),.])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))"
)
_LETTERS = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


class Token(NamedTuple):
    """`kind` is a group's name of the pattern; texts and characters are without their quotes."""

    kind: str
    text: str
    line: int


class Text(NamedTuple):
    """What goes out as it is."""

    text: str
    line: int


class Comment(NamedTuple):
    """`{{/* … */}}`"""

    text: str
    line: int


class Action(NamedTuple):
    """What stands between two delimiters."""

    tokens: tuple[Token, ...]
    line: int


Piece = Text | Comment | Action


def pieces(source: str, left: str = "{{", right: str = "}}") -> list[Piece]:
    """The template in order, without empty texts. `Unreadable` names the line."""
    found: list[Piece] = []
    at, trims = 0, False
    while (begin := source.find(left, at)) >= 0:
        inner = begin + len(left)
        trims_before = source.startswith("-", inner) and source[inner + 1 : inner + 2] in (
            *_SPACE,
            *("/" if source.startswith("/*", inner + 1) else ""),
        )
        text = source[at:begin]
        line = source.count("\n", 0, at) + 1
        found += _text(text, line, trims, trims_before)
        at, trims, piece = _action(source, inner + trims_before, right)
        found.append(piece)
    found += _text(source[at:], source.count("\n", 0, at) + 1, trims, False)
    return found


def _text(text: str, line: int, trims_begin: bool, trims_end: bool) -> Iterator[Text]:
    if trims_begin:
        shorter = text.lstrip(_SPACE)
        line += text.count("\n", 0, len(text) - len(shorter))
        text = shorter
    text = text.rstrip(_SPACE) if trims_end else text
    if text:
        yield Text(text, line)


def _action(source: str, at: int, right: str) -> tuple[int, bool, Piece]:
    """Where the rest begins, whether its space is trimmed, and the action or comment."""
    line = source.count("\n", 0, at) + 1
    body = re.compile(r"[ \t\r\n]*/\*(.*?)\*/", re.DOTALL).match(source, at)
    if body:
        end, trims = _end(source, body.end(), right, line)
        return end, trims, Comment(body[1].strip(), line)
    tokens: list[Token] = []
    while not (ending := _ending(source, at, right)):
        match = _TOKEN.match(source, at)
        if match is None:
            raise Unreadable(line, _why(source, at))
        tokens.append(_token(match, line))
        at = match.end()
    return ending[0], ending[1], Action(tuple(tokens), line)


def _ending(source: str, at: int, right: str) -> tuple[int, bool] | None:
    if source.startswith(right, at):
        return at + len(right), False
    trimmed = re.compile(r"[ \t\r\n]+-").match(source, at)
    if trimmed and source.startswith(right, trimmed.end()):
        return trimmed.end() + len(right), True
    return None


def _end(source: str, at: int, right: str, line: int) -> tuple[int, bool]:
    ending = _ending(source, at, right)
    if ending is None:
        raise Unreadable(line, "a comment is not ended")
    return ending


def _why(source: str, at: int) -> str:
    if at >= len(source):
        return "an action is not ended"
    return "an action has something that is no part of a template"


def _token(match: re.Match[str], line: int) -> Token:
    kind, text = str(match.lastgroup), match[0]
    if kind == "text":
        text = text[1:-1].replace("\r", "") if text[0] == "`" else _unquoted(text[1:-1], line)
    elif kind in ("field", "variable"):
        text = text[1:]
    return Token(kind, text, line)


def _unquoted(text: str, line: int) -> str:
    def character(match: re.Match[str]) -> str:
        letter, octal, *hexadecimal, bad = match.groups()
        if letter:
            return _LETTERS[letter]
        if bad is not None:
            raise Unreadable(line, "a text has an escape that does not exist")
        number = int(octal, 8) if octal else int("".join(filter(None, hexadecimal)), 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise Unreadable(line, "a text has an escape that is no character")
        return chr(number)

    return _ESCAPE.sub(character, text)

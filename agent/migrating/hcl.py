"""HCL as Vault Agent and consul-template read it: version 1, or JSON. A file becomes an `Object`.

HCL 2 is another language: it takes `${…}` for its own, and `0640` for six hundred and forty.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from agent.migrating.findings import Unreadable

DEEPEST = 50
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_KEY = re.compile(r"[^\W\d][\w.-]*")
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.])")
_HEREDOC = re.compile(r"<<(-?)([^\W\d]\w*|\w+)\r?\n")
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
)
_LETTERS = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


class Item(NamedTuple):
    """`key "label" {…}` or `key = value`."""

    key: str
    labels: tuple[str, ...]
    value: Any
    line: int


class Object(msgspec.Struct):
    """A block, or the file: its items in order, keys may come several times."""

    items: list[Item]
    line: int


def parse_hcl(text: str) -> Object:
    """Values are str, bool, int, float, list and Object. `Unreadable` names the line."""
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        return _from_json(text)
    return _Parser(text).file()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    def file(self) -> Object:
        items = self._items()
        if self._at < len(self._text):
            raise self._wrong("a key was expected")
        return Object(items, 1)

    def _items(self) -> list[Item]:
        items: list[Item] = []
        self._skip()
        while (key := self._key()) is not None:
            items.append(self._item(*key))
            self._skip()
            if self._take(","):
                self._skip()
        return items

    def _key(self) -> tuple[str, int] | None:
        line = self._line()
        if self._peek() == '"':
            return self._string(), line
        match = self._match(_KEY)
        return (match[0], line) if match else None

    def _item(self, key: str, line: int) -> Item:
        labels: list[str] = []
        self._skip()
        while (label := self._key()) is not None:
            labels.append(label[0])
            self._skip()
        if self._take("="):
            if labels:
                raise self._wrong('a key before "=" has no labels')
            self._skip()
            return Item(key, (), self._value(), line)
        if self._peek() != "{":
            raise self._wrong(f'"=" or a block was expected after {key}')
        return Item(key, tuple(labels), self._object(), line)

    def _value(self) -> Any:
        match self._peek():
            case "{":
                return self._object()
            case "[":
                return self._list()
            case '"':
                return self._string()
            case "<":
                return self._heredoc()
        if number := self._match(_NUMBER):
            return _number(number[0])
        match (word := self._match(_KEY)) and word[0]:
            case "true":
                return True
            case "false":
                return False
        raise self._wrong("a value was expected")

    def _object(self) -> Object:
        line = self._line()
        self._deeper()
        self._at += 1
        items = self._items()
        if not self._take("}"):
            raise self._wrong('a key or "}" was expected')
        self._depth -= 1
        return Object(items, line)

    def _list(self) -> list[Any]:
        self._deeper()
        self._at += 1
        found: list[Any] = []
        self._skip()
        while not self._take("]"):
            found.append(self._value())
            self._skip()
            if not self._take(",") and self._peek() != "]":
                raise self._wrong('"," or "]" was expected')
            self._skip()
        self._depth -= 1
        return found

    def _string(self) -> str:
        """Escapes are undone, except inside of `${…}`, which goes through as it is."""
        self._at += 1
        parts: list[str] = []
        while (character := self._peek()) != '"':
            if character in ("", "\n"):
                raise self._wrong("a text is not ended")
            if self._text.startswith("${", self._at):
                parts.append(self._interpolation())
            elif character == "\\":
                parts.append(self._escape())
            else:
                parts.append(character)
                self._at += 1
        self._at += 1
        return "".join(parts)

    def _interpolation(self) -> str:
        begin, depth = self._at, 0
        for place in range(begin + 1, len(self._text)):
            depth += {"{": 1, "}": -1}.get(self._text[place], 0)
            if depth == 0:
                self._at = place + 1
                return self._text[begin : self._at]
        raise self._wrong('"${" in a text is not ended')

    def _escape(self) -> str:
        match = self._match(_ESCAPE)
        if match is None:
            raise self._wrong("a text has an escape that does not exist")
        letter, octal, *hexadecimal = match.groups()
        if letter:
            return _LETTERS[letter]
        number = int(octal, 8) if octal else int("".join(filter(None, hexadecimal)), 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self._wrong("a text has an escape that is no character")
        return chr(number)

    def _heredoc(self) -> str:
        match = self._match(_HEREDOC)
        if match is None:
            raise self._wrong("a value was expected")
        space = r"[ \t]*" if match[1] else ""
        end = re.compile(rf"^({space}){re.escape(match[2])}\r*$", re.MULTILINE)
        closed = end.search(self._text, self._at)
        if closed is None:
            raise self._wrong(f"the text up to {match[2]} is not ended")
        text, self._at = self._text[self._at : closed.start()], closed.end()
        return _moved_out(text, closed[1])

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong("nested too deeply")

    def _skip(self) -> None:
        self._match(_SPACE)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> bool:
        is_there = self._peek() == character
        self._at += is_there
        return is_there

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _wrong(self, reason: str) -> Unreadable:
        return Unreadable(self._line(), reason)


def _number(text: str) -> int | float:
    """Whole numbers as the agents read them: with a leading 0 they are octal."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if digits[:2].lower() == "0x":
        return sign * int(digits, 16)
    if re.fullmatch("0[0-7]+", digits):
        return sign * int(digits, 8)
    return sign * int(digits) if digits.isdigit() and len(digits) < 20 else sign * float(digits)


def _moved_out(text: str, indentation: str) -> str:
    """`<<-`: by the end mark's own indentation, if every line has that much."""
    lines = text.splitlines(keepends=True)
    if indentation and all(line.startswith(indentation) for line in lines):
        return "".join(line[len(indentation) :] for line in lines)
    return text


def _from_json(text: str) -> Object:
    try:
        tree = json.loads(text)
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise Unreadable(line, "this is not JSON") from None
    except RecursionError:
        raise Unreadable(0, "nested too deeply") from None
    return _object_of(tree, 0)


def _object_of(tree: dict[str, Any], depth: int) -> Object:
    """A list of mappings is a block that comes several times."""
    if depth > DEEPEST:
        raise Unreadable(0, "nested too deeply")
    items: list[Item] = []
    for key, value in tree.items():
        blocks = value if isinstance(value, list) and value else [value]
        if all(isinstance(each, dict) for each in blocks):
            items += [Item(key, (), _object_of(each, depth + 1), 0) for each in blocks]
        elif value is not None:
            items.append(Item(key, (), value, 0))
    return Object(items, 0)

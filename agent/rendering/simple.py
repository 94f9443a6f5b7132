"""Templates of mere text and `{{ name.field }}`: most of them are, and need no Jinja2.

`parse` answers None for anything else. What it accepts renders, and fails, exactly as Jinja2 would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from agent.rendering.text import Fault, encode, text_of
from agent.rendering.values import Scope

OWN_NAMES = frozenset({"secrets", "meta", "env"})
"""Names that are the agent's in every template; a secret so named is `secrets["env"]`."""

JINJA_NAMES = frozenset({"range", "dict", "namespace"})
"""Functions of Jinja2 that are there; the rest of its globals is not."""

_SYNTAX = re.compile(
    "[tT]rue|[fF]alse|[nN]one|and|or|not|in|is|if|else|self|super|loop|caller|varargs|kwargs"
)

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_STRING = r""""[^"\\{}\n]*"|'[^'\\{}\n]*'"""
_KEY = rf"(?:\.{_NAME}|\[\s*(?:{_STRING})\s*\])"
_REFERENCE = re.compile(rf"\{{\{{\s*({_NAME})({_KEY})({_KEY})?\s*\}}\}}", re.ASCII)
_OTHER = re.compile(r"\{[{%#]|\{\Z")


class Reference(msgspec.Struct, frozen=True):
    """A field of a secret, and the template's line that asks for it."""

    secret: str
    field: str
    line: int

    def value(self, scope: Scope) -> object:
        """The field's value."""
        try:
            return scope.secret(self.secret).field(self.field)
        except Fault as fault:
            reason = fault.reason
        raise Fault(reason, self.line)

    def text(self, scope: Scope) -> str:
        """Its text."""
        value = self.value(scope)
        try:
            return text_of(value)
        except Fault as fault:
            reason = fault.reason
        raise Fault(reason, self.line)


class SimpleBody:
    """Texts and references, in order."""

    problems: tuple[Fault, ...] = ()

    def __init__(self, parts: list[str | Reference]) -> None:
        self._parts = parts
        self.uses = tuple((p.secret, p.line) for p in parts if isinstance(p, Reference))

    def render(self, scope: Scope) -> bytes:
        scope.require(self.uses)
        match self._parts:
            case [Reference() as only] | [Reference() as only, str("\n")]:
                value = only.value(scope)
                if isinstance(value, bytes):
                    return bytes(value)
        return encode("".join(p if isinstance(p, str) else p.text(scope) for p in self._parts))


def parse(source: str) -> SimpleBody | None:
    """The template, if it is this simple."""
    if "\r" in source:
        return None
    parts: list[str | Reference] = []
    end = 0
    for match in _REFERENCE.finditer(source):
        reference = _reference(match)
        if reference is None:
            return None
        parts += [*_text(source[end : match.start()]), reference]
        end = match.end()
    parts += _text(source[end:])
    if any(isinstance(part, str) and _OTHER.search(part) for part in parts):
        return None
    return SimpleBody(parts)


def _text(text: str) -> Iterator[str]:
    if text:
        yield text


def _reference(match: re.Match[str]) -> Reference | None:
    name, first, second = match[1], _key(match[2]), _key(match[3])
    line = match.string.count("\n", 0, match.start(3 if second is not None else 2)) + 1
    if name == "secrets" and first is not None and second is not None:
        return Reference(first, second, line)
    is_taken = name in OWN_NAMES or name in JINJA_NAMES or _SYNTAX.fullmatch(name)
    if second is not None or first is None or is_taken:
        return None
    return Reference(name, first, line)


def _key(text: str | None) -> str | None:
    if text is None or text.startswith("."):
        return text and text[1:]
    return text[1:-1].strip()[1:-1]

"""Text without secrets: every value that is held, in whatever form, becomes `[redacted]`.

The net below the rule that nobody writes a value into a text: it is for the words of others, an
error of a server, a library or a command. A text is looked at as it is and as what it decodes to
(base64, hexadecimal, %-quoted, escaped as JSON, Python and shells do), so that a value need only be
known as itself. Of a value with several lines each line is known; of one that is JSON, each string.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from agent.core.events import Event, Reloaded, SecretRead, SecretRefused, SecretRestored
from agent.core.secret import Field
from agent.telemetry.known_values import SHORTEST, KnownValues, Span

MARK = "[redacted]"

KEPT = 2
"""Readings of one secret that are known: an old credential works until it is retired."""


class Redactor:
    """`redactor(text)` is the text without values. Fit for any thread.

    `fields(name)` are the values of a secret, as held now. Which secrets have new ones is told by
    the events that `note` is called with: let it listen before the log does. They are asked for
    when the next text is redacted and no sooner.
    """

    def __init__(self, fields: Callable[[str], Iterable[Field]] = lambda name: ()) -> None:
        self._fields = fields
        self._known = KnownValues()
        self._readings: dict[str, list[list[str]]] = {}
        self._outdated: set[str] = set()
        self._lock = Lock()

    def note(self, event: Event) -> None:
        """Listen: a secret with a new value, or one that is gone."""
        if isinstance(event, SecretRead):
            if event.is_changed:
                self._outdated.add(event.secret)
        elif isinstance(event, SecretRefused | SecretRestored):
            self._outdated.add(event.secret)
        elif isinstance(event, Reloaded):
            self._outdated.update(event.removed)

    def learn(self, owner: str, values: Iterable[Field]) -> None:
        """Values that are in no ledger (a token, a passphrase); KEPT sets of an owner are known."""
        with self._lock:
            self._learn(owner, values)

    def __call__(self, text: str) -> str:
        if len(text) < SHORTEST:
            return text
        with self._lock:
            while self._outdated:
                name = self._outdated.pop()
                self._learn(name, self._fields(name))
            spans = self._spans(text) if self._known else []
        return _blanked(text, spans) if spans else text

    def _learn(self, owner: str, values: Iterable[Field]) -> None:
        readings = self._readings.setdefault(owner, [])
        readings.append([form for value in values for form in _forms(value)])
        for form in readings[-1]:
            self._known.add(form)
        if len(readings) > KEPT:
            for form in readings.pop(0):
                self._known.discard(form)

    def _spans(self, text: str) -> list[Span]:
        spans = self._known.spans(text)
        for view in _views(text):
            spans += [view.origin(span) for span in self._known.spans(view.text)]
        for run, decoded in _decoded_runs(text):
            if self._known.is_in(decoded):
                spans.append(run)
        return spans


def _blanked(text: str, spans: list[Span]) -> str:
    """The text with each stretch of overlapping or adjacent spans replaced by one mark."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not parts:
            parts += [text[done:start], MARK]
        done = max(done, end)
    return "".join([*parts, text[done:]])


# --- a value, as what is looked for -----------------------------------------------------------


def _forms(value: Field) -> Iterator[str]:
    """The strings of a value that are long enough to be looked for."""
    for text in _texts(value):
        for part in (text, *_lines(text)):
            if len(part) >= SHORTEST:
                yield part


def _texts(value: Field) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("latin-1").strip()
        try:
            yield from _texts(value.decode())
        except UnicodeDecodeError:
            return
    elif isinstance(value, str):
        yield value.strip()
        if not value.isascii():  # as bytes, which is what encoded text decodes to
            yield value.strip().encode("utf-8", "surrogatepass").decode("latin-1")
        yield from _strings_of_json(value)
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text of several, but for a PEM file's first and last."""
    if "\n" in text:
        for line in text.splitlines():
            if not line.startswith("-----"):
                yield line.strip()


def _strings_of_json(text: str) -> Iterator[str]:
    """What is inside of a value such as a service account's key."""
    if not text.lstrip().startswith(("{", "[")):
        return
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from _texts(decoded)


# --- a text, as what it decodes to ------------------------------------------------------------


class _View:
    """A text with its escapes decoded, and where each character of it comes from."""

    def __init__(self, text: str, escape: re.Pattern[str], decode: Callable[[str], str]) -> None:
        pieces: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        for match in escape.finditer(text):
            piece = match[0] if match.lastgroup is None else decode(match[0])
            pieces.append(piece)
            self._starts += [match.start()] * len(piece)
            self._ends += [match.end()] * len(piece)
        self.text = "".join(pieces)

    def origin(self, span: Span) -> Span:
        """The span of the text that a span of the view comes from."""
        return self._starts[span[0]], self._ends[span[1] - 1]


_PERCENT = re.compile(r"(?P<e>%[0-9A-Fa-f]{2})|.", re.DOTALL)
_FORM = re.compile(r"(?P<e>%[0-9A-Fa-f]{2}|\+)|.", re.DOTALL)
_BACKSLASH = re.compile(
    r"(?P<e>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
    r"|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[0-7]{3}|\\[^\n])|.",
    re.DOTALL,
)
_LETTERS = dict(zip("abefnrtv0", "\a\b\x1b\f\n\r\t\v\0", strict=True))


def _views(text: str) -> Iterator[_View]:
    if "%" in text:
        yield _View(text, _PERCENT, _from_percent)
    if "+" in text:
        yield _View(text, _FORM, _from_percent)
    if "\\" in text:
        yield _View(text, _BACKSLASH, _from_backslash)


def _from_percent(escape: str) -> str:
    return " " if escape == "+" else chr(int(escape[1:], 16))


def _from_backslash(escape: str) -> str:
    letter, digits = escape[1], escape[2:]
    if letter in "uUx" and digits:
        codes = [int(each, 16) for each in re.split(r"\\u", digits)]
        units = b"".join(code.to_bytes(2, "big") for code in codes if code <= 0xFFFF)
        if len(codes) == 2:
            return units.decode("utf-16-be")
        return chr(codes[0]) if codes[0] <= 0x10FFFF else escape
    if digits:
        return chr(int(escape[1:], 8))
    return _LETTERS.get(letter, letter)


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{12,}")


def _decoded_runs(text: str) -> Iterator[tuple[Span, str]]:
    """Stretches that may be encoded bytes, each with what it decodes to from each of its first
    characters: what stands before (a path, a key) may look like a part of it."""
    for match in _BASE64.finditer(text):
        digits = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        for shift in range(4):
            yield match.span(), _from_base64(digits[shift:])
    for match in _HEXADECIMAL.finditer(text):
        for shift in range(2):
            digits = match[0][shift:]
            yield match.span(), bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("latin-1")


def _from_base64(digits: str) -> str:
    whole = digits[:-1] if len(digits) % 4 == 1 else digits
    return binascii.a2b_base64(whole + "=" * (-len(whole) % 4)).decode("latin-1")

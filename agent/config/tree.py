"""YAML to a tree of positioned nodes.

Built from libyaml's events, not by its composer, which recurses without a limit. Scalars stay text:
what `0440`, `no` or `1e3` is depends on the type wanted, and is decided where that is known.
Hostile input is bounded: depth, and nodes that come from anchors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml

from agent.config.report import KeyPath, Place, Report, quoted

MAX_DEPTH = 64
MAX_ALIASED_NODES = 100_000
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TEXT_TAG = "tag:yaml.org,2002:str"
_NODES = (yaml.AliasEvent, yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)


class Text(msgspec.Struct):
    """A scalar. `written` is what stands in the file and may be shown; `text` is what is meant.

    The two differ once `${…}` is expanded: then `text` is never shown.
    """

    place: Place
    text: str
    style: str | None
    written: str
    is_from_environment: bool = False
    is_literal: bool = True
    is_broken: bool = False

    @property
    def is_plain(self) -> bool:
        """Written without quotes, or to be read as if it were: `"${PORT}"` may be a number."""
        return self.style is None or self.is_from_environment

    @property
    def shown(self) -> str:
        """What stands in the file, in quotes unless it is a number."""
        is_number = self.style is None and self.written.replace(".", "", 1).isdecimal()
        return self.written if is_number else quoted(self.written)

    @property
    def is_null(self) -> bool:
        if self.is_from_environment:
            return self.text == "" and not self.is_broken
        return self.style is None and self.text in _NULLS

    def __repr__(self) -> str:
        """Without `text`, and without `written`: somebody may have put a credential there."""
        return f"<Text {self.place.file}:{self.place.line}>"


class List(msgspec.Struct):
    """A sequence."""

    place: Place
    items: list[Node]


class Mapping(msgspec.Struct):
    """A mapping; its place is that of its key."""

    place: Place
    entries: dict[str, Node]


Node = Text | List | Mapping


class Refused(Exception):
    """The rest of the file can't be read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


def read_tree(file: str, content: bytes, report: Report) -> Node | None:
    """The one document of a file; None if it is empty. `Refused` if it can't be read to its end."""
    return _Tree(file, content, report).read()


class _Tree:
    """One file's events to nodes."""

    def __init__(self, file: str, content: bytes, report: Report) -> None:
        self._file, self._content, self._report = file, content, report
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0

    def read(self) -> Node | None:
        """The document; None if there is none."""
        try:
            self._events = iter(yaml.parse(self._content, Loader=yaml.CSafeLoader))
            return self._document()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            what = ": ".join(each for each in (error.context, error.problem) if each)
            raise Refused(line, f"is no YAML: {what}") from None
        except yaml.reader.ReaderError as error:
            line = self._content.count(b"\n", 0, error.position) + 1
            raise Refused(line, f"is no YAML: {error.reason}") from None

    def _document(self) -> Node | None:
        tree: Node | None = None
        for event in self._events:
            if not isinstance(event, _NODES):
                continue
            if tree is not None:
                raise Refused(_line(event), "has a second document; one is permitted")
            tree = self._node(event, (), 1)
        return tree

    def _node(self, event: Any, path: KeyPath, line: int) -> Node:
        if len(path) > MAX_DEPTH:
            raise Refused(_line(event), f"is nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._text(event, path)
        elif isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        else:
            node = self._collection(event, path, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _text(self, event: Any, path: KeyPath) -> Text:
        place = Place(self._file, _line(event))
        self._refuse_tag(event, place, path)
        style = event.style or ("!" if event.tag else None)
        return Text(place, event.value, style, event.value)

    def _collection(self, event: Any, path: KeyPath, line: int) -> Node:
        place = Place(self._file, line)
        self._refuse_tag(event, place, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            return Mapping(place, self._entries(path))
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            line = _line(event)
            items.append(self._node(event, (*path, len(items)), line))
        return List(place, items)

    def _entries(self, path: KeyPath) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        bases: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise Refused(line, "has a key that is no text")
            key = event.value
            node = self._node(next(self._events), (*path, key), line)
            if key == "<<" and not event.style:
                bases.append(node)
            elif key in entries:
                self._report.problem(
                    Place(self._file, line), path, f"key {quoted(key)} is there twice"
                )
            else:
                entries[key] = node
        return entries if not bases else self._with_bases(entries, bases, path)

    def _with_bases(
        self, entries: dict[str, Node], bases: Iterable[Node], path: KeyPath
    ) -> dict[str, Node]:
        """`<<: *base` or `<<: [*one, *two]`: what the mapping doesn't say itself."""
        for base in bases:
            for each in base.items if isinstance(base, List) else [base]:
                if isinstance(each, Mapping):
                    entries = {**each.entries, **entries}
                else:
                    self._report.problem(each.place, (*path, "<<"), "must be a mapping")
        return entries

    def _alias(self, event: Any) -> Node:
        line = _line(event)
        if event.anchor not in self._anchors:
            raise Refused(line, f"has an alias without its anchor: *{event.anchor}")
        node = self._anchors[event.anchor]
        if node is None:
            raise Refused(line, f"has an alias inside its own anchor: *{event.anchor}")
        return self._copy(node, line)

    def _copy(self, node: Node, line: int) -> Node:
        """A copy for each use: what is known of a node (its `${…}`) is known of one place."""
        self._aliased += 1
        if self._aliased > MAX_ALIASED_NODES:
            raise Refused(line, f"has aliases that make more than {MAX_ALIASED_NODES} nodes")
        if isinstance(node, Text):
            return Text(node.place, node.text, node.style, node.written)
        if isinstance(node, List):
            return List(node.place, [self._copy(each, line) for each in node.items])
        entries = {key: self._copy(each, line) for key, each in node.entries.items()}
        return Mapping(node.place, entries)

    def _refuse_tag(self, event: Any, place: Place, path: KeyPath) -> None:
        if event.tag not in (None, "!", _TEXT_TAG):
            self._report.problem(place, path, f"has the tag {event.tag}; tags have no meaning here")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1

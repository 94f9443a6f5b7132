"""From a tree of nodes to the model's objects, by the model's shapes alone.

Everything that fits is read, whatever else doesn't: what is wrong goes to the report and its place
in the value takes the default. What the shapes can't say is said by the two callbacks of `Walk`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import msgspec

from agent.config.kinds import Kind, Model
from agent.config.report import KeyPath, Place, Report, Unfit, listed, nearest, quoted
from agent.config.scalars import anything, read_scalar, word
from agent.config.shape import (
    Anything,
    Choice,
    Field,
    Many,
    Named,
    OneOf,
    Scalar,
    Section,
    Shape,
    fields_of,
)
from agent.config.tree import List, Mapping, Node, Text

NOT_YET = "is not available yet in this version"
M = TypeVar("M", bound=Model)


class _Broken:
    """Stands for a value that could not be read; the report says why."""


BROKEN = _Broken()


class Site(msgspec.Struct, frozen=True):
    """Where a value of some kind stands."""

    node: Text
    path: KeyPath
    report: Report

    def problem(self, text: str) -> None:
        self.report.problem(self.node.place, self.path, text)

    def warning(self, text: str) -> None:
        self.report.warning(self.node.place, self.path, text)


class Reading(msgspec.Struct):
    """A section just read. `values` are those that could be; a check may change them."""

    model: type[Model]
    node: Mapping
    path: KeyPath
    values: dict[str, Any]
    report: Report
    given: Collection[str]
    """The keys that are there, with a value that could be read or not."""

    def get(self, key: str) -> Any:
        """The value, or its default; None for what could not be read."""
        return self.values[key] if key in self.values else fields_of(self.model)[key].default

    def problem(self, text: str, key: str | None = None) -> None:
        self.report.problem(*self._at(key), text)

    def warning(self, text: str, key: str | None = None) -> None:
        self.report.warning(*self._at(key), text)

    def _at(self, key: str | None) -> tuple[Place, KeyPath]:
        if key is None or key not in self.node.entries:
            return self.node.place, self.path
        return self.node.entries[key].place, (*self.path, key)


Observers = dict[Kind, Callable[[Any, Site], None]]
Checks = dict[type[Model], Callable[[Reading], None]]


class Walk(msgspec.Struct):
    """One reading of a tree. `on_value` is told of each scalar of a kind, `checks` of a section."""

    report: Report
    on_value: Observers = msgspec.field(default_factory=dict)
    checks: Checks = msgspec.field(default_factory=dict)

    def section(self, model: type[M], node: Node, path: KeyPath = ()) -> M | _Broken:
        """An object of `model`, or BROKEN where a key that must be there isn't (readable)."""
        if not isinstance(node, Mapping):
            return self._unfit(node, path, "a mapping")
        fields, values, given = fields_of(model), {}, set()
        for key, child in node.entries.items():
            known = fields.get(key)
            if known is None:
                self._unknown(model, key, child, path)
            elif not (isinstance(child, Text) and child.is_null):
                given.add(key)
                value = self.value(known.shape, child, (*path, key))
                if value is not BROKEN:
                    values[key] = value
        self._require(model, node, path, given)
        reading = Reading(model, node, path, values, self.report, given)
        if check := self.checks.get(model):
            check(reading)
        if any(each.is_required and name not in values for name, each in fields.items()):
            return BROKEN
        return model(**values)

    def value(self, shape: Shape, node: Node, path: KeyPath) -> Any:
        """What stands at the node, or BROKEN."""
        match shape:
            case Scalar():
                return self._scalar(shape, node, path)
            case Section():
                return self.section(shape.model, node, path)
            case Named():
                return self._named(shape, node, path)
            case Many():
                return self._many(shape, node, path)
            case OneOf():
                return self._one_of(shape, node, path)
            case Choice():
                return self._word(shape.words, node, path)
            case Anything():
                return self._anything(node, path)

    def _scalar(self, shape: Scalar, node: Node, path: KeyPath) -> Any:
        if not isinstance(node, Text):
            return self._unfit(node, path, _described(shape))
        if node.is_broken:
            return BROKEN
        try:
            value = read_scalar(node, shape)
        except Unfit as unfit:
            return self._refused(node, path, str(unfit))
        if shape.kind and (observe := self.on_value.get(shape.kind)):
            observe(value, Site(node, path, self.report))
        return value

    def _named(self, shape: Named, node: Node, path: KeyPath) -> Any:
        if not isinstance(node, Mapping):
            return self._unfit(node, path, "a mapping")
        values = {}
        for key, child in node.entries.items():
            inside = (*path, key)
            name = self._name(shape.name, key, child.place, path)
            value = self._item(shape.item, child, inside)
            if name is not BROKEN and value is not BROKEN:
                values[name] = value
        if len(node.entries) < shape.least:
            return self._refused(node, path, f"must have at least {shape.least} entry")
        return values

    def _name(self, shape: Scalar, key: str, place: Place, path: KeyPath) -> Any:
        return self._scalar(shape, Text(place, key, '"', key), path)

    def _many(self, shape: Many, node: Node, path: KeyPath) -> Any:
        if isinstance(node, Text):
            example = f", as [{node.written}]" if _is_short(node) else ""
            return self._refused(node, path, f"must be a list{example}, not a single text")
        if isinstance(node, Mapping):
            return self._unfit(node, path, "a list")
        if len(node.items) < shape.least:
            return self._refused(node, path, f"must have at least {shape.least} entry")
        values = [self._item(shape.item, each, (*path, n)) for n, each in enumerate(node.items)]
        return BROKEN if any(each is BROKEN for each in values) else tuple(values)

    def _item(self, shape: Shape, node: Node, path: KeyPath) -> Any:
        is_empty = isinstance(node, Text) and node.is_null and not node.is_from_environment
        if is_empty and not isinstance(shape, Anything):
            return self._refused(node, path, "is empty")
        return self.value(shape, node, path)

    def _one_of(self, shape: OneOf, node: Node, path: KeyPath) -> Any:
        if isinstance(node, Text) and shape.short is not None:
            return self._short(shape.short, dict(shape.sections)[shape.short], node, path)
        if isinstance(node, Text) and shape.words:
            return self._word(shape.words, node, path)
        if not isinstance(node, Mapping):
            return self._unfit(node, path, "a mapping")
        return (
            self._tagged(shape, node, path) if shape.tag else self._told_by_key(shape, node, path)
        )

    def _short(self, key: str, model: type[Model], node: Text, path: KeyPath) -> Any:
        value = self.value(fields_of(model)[key].shape, node, path)
        return BROKEN if value is BROKEN else model(**{key: value})

    def _tagged(self, shape: OneOf, node: Mapping, path: KeyPath) -> Any:
        sections, tag = dict(shape.sections), shape.tag or ""
        said = node.entries.get(tag)
        if said is None or (isinstance(said, Text) and said.is_null):
            text = f"key {quoted(tag)} is missing; permitted: {listed(sections)}"
            return self._refused(node, path, text)
        inside = (*path, tag)
        if isinstance(said, Text) and said.text in shape.not_yet:
            return self._refused(said, inside, f"{quoted(said.text)} {NOT_YET}")
        word = self._word(tuple(sections), said, inside)
        return word if isinstance(word, _Broken) else self.section(sections[word], node, path)

    def _told_by_key(self, shape: OneOf, node: Mapping, path: KeyPath) -> Any:
        sections = dict(shape.sections)
        told = [key for key in sections if key in node.entries]
        if len(told) == 1:
            return self.section(sections[told[0]], node, path)
        if len(told) > 1:
            both = " and ".join(map(quoted, told))
            text = f"{both} exclude each other; permitted: one of {listed(sections)}"
            return self._refused(node, path, text)
        near = [(key, name) for key in node.entries if (name := nearest(key, sections))]
        hint = f"; did {quoted(near[0][0])} mean {quoted(near[0][1])}?" if near else ""
        return self._refused(node, path, f"needs one of the keys {listed(sections)}{hint}")

    def _word(self, words: tuple[str, ...], node: Node, path: KeyPath) -> Any:
        if not isinstance(node, Text):
            return self._unfit(node, path, f"one of {listed(words)}")
        if node.is_broken:
            return BROKEN
        try:
            return word(node, words)
        except Unfit as unfit:
            return self._refused(node, path, str(unfit))

    def _anything(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, Text):
            return BROKEN if node.is_broken else anything(node)
        if isinstance(node, List):
            return [self._anything(each, (*path, n)) for n, each in enumerate(node.items)]
        return {key: self._anything(each, (*path, key)) for key, each in node.entries.items()}

    def _unknown(self, model: type[Model], key: str, node: Node, path: KeyPath) -> None:
        if key != model.__struct_config__.tag_field:
            self.report.unknown_key(node.place, path, key, _keys(model))

    def _require(
        self, model: type[Model], node: Mapping, path: KeyPath, given: Collection[str]
    ) -> None:
        for name, each in fields_of(model).items():
            if each.is_required and name not in given:
                self.report.problem(node.place, path, _missing(each, node))
        for group in model.exactly_one:
            there = [key for key in group if key in given]
            empty = [key for key in group if key in node.entries and key not in given]
            if len(there) != 1:
                found = f"{' and '.join(there)} are there" if there else "none is there"
                found = f"{empty[0]} is empty" if empty and not there else found
                text = f"needs exactly one of {', '.join(group)}; {found}"
                self.report.problem(node.place, path, text)

    def _unfit(self, node: Node, path: KeyPath, wanted: str) -> _Broken:
        was = {Text: "a single text", List: "a list", Mapping: "a mapping"}[type(node)]
        return self._refused(node, path, f"must be {wanted}, not {was}")

    def _refused(self, node: Node, path: KeyPath, text: str) -> _Broken:
        self.report.problem(node.place, path, text)
        return BROKEN


def _keys(model: type[Model]) -> list[str]:
    tag = model.__struct_config__.tag_field
    return [*([tag] if tag else []), *fields_of(model)]


def _missing(field: Field, node: Mapping) -> str:
    is_empty = field.name in node.entries
    return f"key {quoted(field.name)} is {'empty' if is_empty else 'missing'}"


def _described(shape: Scalar) -> str:
    if shape.kind is not None:
        return f"a {shape.kind.hint}"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(shape.base, "text")


def _is_short(node: Text) -> bool:
    return not node.is_from_environment and node.written.isprintable() and len(node.written) < 40

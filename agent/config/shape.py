"""The shape of a type of the model: what the loader, the schema and the reference have in common.

`shape_of(hint)` reads a type hint once; `fields_of(model)` has the keys of a section. Everything is
kept, so a configuration of any length costs this only once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from agent.config.kinds import Kind, Model, NotYet, Short


class Limits(msgspec.Struct, frozen=True):
    """Permitted numbers: `least` and `most` included, `above` excluded."""

    least: float | None = None
    above: float | None = None
    most: float | None = None

    def admit(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )


class Scalar(msgspec.Struct, frozen=True):
    """One value: a Python type, a meaning, limits."""

    base: type
    kind: Kind | None = None
    limits: Limits | None = None


class Anything(msgspec.Struct, frozen=True):
    """Whatever JSON has."""


class Choice(msgspec.Struct, frozen=True):
    """One of some words."""

    words: tuple[str, ...]


class Many(msgspec.Struct, frozen=True):
    """A list."""

    item: Shape
    least: int = 0


class Named(msgspec.Struct, frozen=True):
    """A mapping with names of the user's own."""

    name: Scalar
    item: Shape
    least: int = 0


class Section(msgspec.Struct, frozen=True):
    """A mapping with known keys."""

    model: type[Model]


class OneOf(msgspec.Struct, frozen=True):
    """One of several sections (or `words`).

    They are told apart by the value of `tag`, or (None) by which of the keys in `sections` is
    there. `short`: a bare text stands for the section that has it under this key.
    """

    tag: str | None
    sections: tuple[tuple[str, type[Model]], ...]
    words: tuple[str, ...] = ()
    short: str | None = None
    not_yet: tuple[str, ...] = ()


Shape = Scalar | Anything | Choice | Many | Named | Section | OneOf


class Field(msgspec.Struct, frozen=True):
    """A key of a section."""

    name: str
    shape: Shape
    is_required: bool
    default: Any
    description: str


@cache
def fields_of(model: type[Model]) -> dict[str, Field]:
    """The keys of a section, in order; without the tag that tells it apart."""
    hints = get_type_hints(model, include_extras=True)
    return {each.name: _field(each, hints[each.name]) for each in msgspec.structs.fields(model)}


@cache
def shape_of(hint: Any) -> Shape:
    """The shape of a type hint of the model."""
    notes: list[Any] = []
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        notes += more
    members = _members(hint)
    if len(members) == 1 and members[0] is not hint:  # X | None
        return _noted(shape_of(members[0]), notes)
    return _noted(_bare(hint, members), notes)


def _field(field: msgspec.structs.FieldInfo, hint: Any) -> Field:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    texts = [note.description for note in get_args(hint)[1:] if isinstance(note, Meta)]
    return Field(field.name, shape_of(hint), field.required, default, "".join(filter(None, texts)))


def _members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, UnionType):
        return tuple(each for each in get_args(hint) if each is not NoneType)
    return (hint,)


def _bare(hint: Any, members: tuple[Any, ...]) -> Shape:
    if len(members) > 1:
        return _one_of(members)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return Anything()
    if origin is Literal:
        return Choice(arguments)
    if origin is tuple:
        return Many(shape_of(arguments[0]))
    if origin is dict:
        name = shape_of(arguments[0])
        assert isinstance(name, Scalar)  # noqa: S101  # a mistake in the model, not in a configuration
        return Named(name, shape_of(arguments[1]))
    if isinstance(hint, type) and issubclass(hint, Model):
        return Section(hint)
    if hint in (str, int, float, bool, Path):
        return Scalar(hint)
    raise TypeError(f"the model can't have {hint!r}")


def _one_of(members: tuple[Any, ...]) -> OneOf:
    sections = [each for each in members if get_origin(each) is not Literal]
    words = [word for each in members if get_origin(each) is Literal for word in get_args(each)]
    tag = sections[0].__struct_config__.tag_field
    return OneOf(tag, tuple((_key(each), each) for each in sections), tuple(words))


def _key(model: type[Model]) -> str:
    """What a member of a union is told by: its tag, or the first key that it can't be without."""
    config = model.__struct_config__
    if config.tag_field is not None:
        return str(config.tag)
    return next(name for name, field in fields_of(model).items() if field.is_required)


def _noted(shape: Shape, notes: list[Any]) -> Shape:
    for note in notes:
        match shape, note:
            case Scalar(), Kind():
                shape = replace(shape, kind=note)
            case Scalar(), Meta() if (note.ge, note.gt, note.le) != (None, None, None):
                shape = replace(shape, limits=Limits(note.ge, note.gt, note.le))
            case ((Many() | Named()), Meta()) if note.min_length:
                shape = replace(shape, least=note.min_length)
            case OneOf(), Short():
                shape = replace(shape, short=note.key)
            case OneOf(), NotYet():
                shape = replace(shape, not_yet=note.names)
            case _:
                pass
    return shape

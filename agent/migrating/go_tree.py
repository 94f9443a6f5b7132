"""What a Go template is made of, once it is parsed. Lines are the template's."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Literal(NamedTuple):
    """A text, a number (as it is written), true, false or nil."""

    kind: str
    text: str


class Dot(NamedTuple):
    """`.`"""


class Variable(NamedTuple):
    """`$name`; `$` has no name."""

    name: str


class Function(NamedTuple):
    """A name that is called."""

    name: str


class Chain(NamedTuple):
    """`base.field.field`"""

    base: Term
    fields: tuple[str, ...]


class Command(NamedTuple):
    """The first is called with the rest, or stands alone."""

    terms: tuple[Term, ...]


class Pipeline(NamedTuple):
    """`$a, $b := first | second`; `assigns`: it was `=`."""

    commands: tuple[Command, ...]
    line: int
    variables: tuple[str, ...] = ()
    assigns: bool = False


Term = Literal | Dot | Variable | Function | Chain | Pipeline


class TextNode(NamedTuple):
    text: str


class CommentNode(NamedTuple):
    text: str


class Output(NamedTuple):
    """`{{ pipeline }}`; one with variables puts out nothing."""

    pipeline: Pipeline


class Branch(msgspec.Struct):
    """if, with or range."""

    kind: str
    pipeline: Pipeline
    body: list[Node]
    otherwise: list[Node]


class Foreign(NamedTuple):
    """A construct that is known, and that we have not: define, block, template, break, continue."""

    word: str
    line: int


Node = TextNode | CommentNode | Output | Branch | Foreign

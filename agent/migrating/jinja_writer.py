"""Go's text/template, third step: the tree becomes a Jinja template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from agent.migrating.expressions import Expressions
from agent.migrating.findings import Unreadable
from agent.migrating.functions import format_parts
from agent.migrating.go_parser import parse_go
from agent.migrating.go_tree import (
    Branch,
    Command,
    CommentNode,
    Foreign,
    Function,
    Node,
    Output,
    Pipeline,
    TextNode,
)
from agent.migrating.jinja_text import JinjaText
from agent.migrating.secret_book import SecretBook
from agent.migrating.symbols import (
    Certificate,
    Code,
    Data,
    Fields,
    Metadata,
    Nothing,
    Secret,
    Symbol,
    Untranslatable,
    code_of,
)

FOREIGN = {
    "define": "parts of templates are not shared; write them out",
    "block": "parts of templates are not shared; write them out",
    "template": "parts of templates are not shared; write them out",
    "break": "leave the loop by a condition in it",
    "continue": "leave out the rest of the loop by a condition in it",
}


class Problem(NamedTuple):
    """A construct that was not translated, at the template's line."""

    line: int
    text: str


class Translated(msgspec.Struct):
    """`text` is whole only where there are no `problems`. `remarks`: other bytes, same data."""

    text: str
    problems: list[Problem]
    remarks: list[str]


def translate(
    source: str, book: SecretBook, *, place: str = "", left: str = "{{", right: str = "}}"
) -> Translated:
    """A template of consul-template as Jinja; `place` is where its secrets are asked for."""
    try:
        nodes = parse_go(source, left, right)
    except Unreadable as error:
        return Translated("", [Problem(error.line, error.reason)], [])
    writer = _Writer(book, place, _assigned(nodes))
    writer.nodes(nodes)
    remarks = list(dict.fromkeys(writer.expressions.remarks))
    return Translated(writer.out.whole(), writer.problems, remarks)


class _Writer:
    def __init__(self, book: SecretBook, place: str, assigned: frozenset[str]) -> None:
        self._book, self._assigned = book, assigned
        self.expressions = Expressions(book, place)
        self.out = JinjaText()
        self.problems: list[Problem] = []

    def nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            match node:
                case TextNode(text):
                    self.out.add(text)
                case CommentNode(text):
                    self.out.comment(text)
                case Foreign(word, line):
                    self.problems.append(Problem(line, f"{word}: {FOREIGN[word]}"))
                case Output(pipeline):
                    with self._noted(pipeline.line):
                        self._output(pipeline)
                case Branch():
                    self._branch(node)

    @contextmanager
    def _noted(self, line: int) -> Iterator[None]:
        try:
            yield
        except Untranslatable as error:
            self.problems.append(Problem(line, str(error)))

    # --- what is put out ----------------------------------------------------------------------

    def _output(self, pipeline: Pipeline) -> None:
        if pipeline.variables:
            self._declare(pipeline)
            return
        for part in self._parts(pipeline):
            if part.literal is not None and part.kind != "number":
                self.out.add(part.literal)
            else:
                self.out.tag(f"{{{{ {part.text} }}}}")

    def _parts(self, pipeline: Pipeline) -> list[Code]:
        """One value; a printf that is put out need not be an expression."""
        match pipeline.commands:
            case (Command((Function("printf"), form, *values)),):
                shown = tuple(_shown(self.expressions.term(each)) for each in values)
                return format_parts(code_of(self.expressions.term(form)), shown)
        return [_shown(self.expressions.value(pipeline))]

    # --- branches -----------------------------------------------------------------------------

    def _branch(self, node: Branch) -> None:
        before = self.expressions.enter()
        with self._noted(node.pipeline.line):
            {"if": self._if, "with": self._with, "range": self._range}[node.kind](node)
        self.expressions.leave(before)

    def _if(self, node: Branch) -> None:
        self._conditional(node, self._condition(node.pipeline), self.expressions.dot)

    def _with(self, node: Branch) -> None:
        value = self._condition(node.pipeline)
        if isinstance(value, Code) and not node.pipeline.variables:
            value = self._local("value", value)
        self._conditional(node, value, value)

    def _condition(self, pipeline: Pipeline) -> Symbol:
        if pipeline.variables:
            return self._declare(pipeline)
        return self.expressions.value(pipeline)

    def _conditional(self, node: Branch, value: Symbol, dot: Symbol) -> None:
        if isinstance(value, Secret | Certificate | Metadata):  # had before anything is rendered
            self._body(node.body, dot)
            return
        self.out.tag(f"{{% if {code_of(value).truth} %}}")
        self._body(node.body, dot)
        self._else_if(node)
        self.out.tag("{% endif %}")

    def _else_if(self, node: Branch) -> None:
        match node.otherwise:
            case [Branch("if", pipeline, body) as again] if not pipeline.variables:
                value = code_of(self.expressions.value(pipeline))
                self.out.tag(f"{{% elif {value.truth} %}}")
                self._body(body, self.expressions.dot)
                self._else_if(again)
            case _:
                self._otherwise(node)

    def _body(self, nodes: list[Node], dot: Symbol) -> None:
        before = self.expressions.enter()
        self.expressions.dot = dot
        self.nodes(nodes)
        self.expressions.leave(before)

    def _otherwise(self, node: Branch) -> None:
        if node.otherwise:
            self.out.tag("{% else %}")
            self._body(node.otherwise, self.expressions.dot)

    def _range(self, node: Branch) -> None:
        names = node.pipeline.variables
        if node.pipeline.assigns or len(names) > 2 or self._assigned & {*names}:
            raise Untranslatable("range: only with := and one or two variables of its own")
        value = self.expressions.value(node.pipeline)
        if not isinstance(value, Code | Data | Fields):
            raise Untranslatable("range: only over fields, lists and mappings")
        each = self._book.local(names[-1] if names else "each")
        key = self._book.local(names[0]) if len(names) == 2 else ""
        self._loop(code_of(value), each, key)
        for name, local in zip(reversed(names), (each, key), strict=False):
            self.expressions.bind(name, Code(local))
        self._body(node.body, Code(each))
        self._otherwise(node)
        self.out.tag("{% endfor %}")

    def _loop(self, over: Code, each: str, key: str) -> None:
        """Go goes over a mapping in the order of its keys, and gives its values."""
        if over.kind == "any":
            local = self._book.local("items")
            self.out.tag(f"{{% set {local} = {over.text} | default([], true) %}}")
            over = Code(local)
        elif over.optional:
            over = Code(f"({over.text} | default([], true))", kind=over.kind)
        for tag in _loop_tags(over, each, key, self._book):
            self.out.tag(f"{{% {tag} %}}")

    # --- variables ----------------------------------------------------------------------------

    def _declare(self, pipeline: Pipeline) -> Symbol:
        if len(pipeline.variables) != 1:
            raise Untranslatable("one variable at a time is set")
        (name,) = pipeline.variables
        value = self.expressions.value(pipeline)
        if pipeline.assigns:
            return self._assign(name, value)
        if isinstance(value, Code | Nothing):
            value = self._local(name, code_of(value))
        elif name in self._assigned:
            raise Untranslatable(f"${name} is set to something else")
        self.expressions.bind(name, value)
        return value

    def _assign(self, name: str, value: Symbol) -> Symbol:
        target = self.expressions.variable(name)
        if not isinstance(target, Code):
            raise Untranslatable(f"${name} is set to something else")
        self.out.tag(f"{{% set {target.text} = {code_of(value).truth} %}}")
        return target

    def _local(self, name: str, code: Code) -> Code:
        """A variable of Jinja; one that a loop inside may set again has to be in a namespace."""
        local = self._book.local(name)
        if name in self._assigned:
            self.out.tag(f"{{% set {local} = namespace(now={code.truth}) %}}")
            return Code(f"{local}.now")
        self.out.tag(f"{{% set {local} = {code.truth} %}}")
        return Code(local, kind=code.kind, fixed=code.fixed)


def _shown(symbol: Symbol) -> Code:
    if isinstance(symbol, Data | Fields):
        raise Untranslatable("a secret as a whole, in Go's own notation; use toJSON")
    code = code_of(symbol)
    if code.kind in ("list", "pairs"):
        raise Untranslatable("a list or mapping, in Go's own notation; use range, join or toJSON")
    return code


def _loop_tags(over: Code, each: str, key: str, book: SecretBook) -> Iterator[str]:
    source, pairs = over.atom, over.filtered("dictsort(true)")
    values = pairs.filtered("map(attribute=1)").text
    match over.kind, bool(key):
        case "list", False:
            yield f"for {each} in {source}"
        case "list", True:
            yield f"for {each} in {source}"
            yield f"set {key} = loop.index0"
        case "pairs", True:
            yield f"for {key}, {each} in {pairs.text}"
        case "pairs", False:
            yield f"for {each} in {values}"
        case _, False:
            yield f"for {each} in ({values} if {source} is mapping else {source})"
        case _:
            item = book.local("item")
            yield f"for {item} in ({pairs.text} if {source} is mapping else {source})"
            yield f"set {key} = {item}[0] if {source} is mapping else loop.index0"
            yield f"set {each} = {item}[1] if {source} is mapping else {item}"


def _assigned(nodes: Iterable[Node]) -> frozenset[str]:
    """The variables that are set again somewhere."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case Output(pipeline):
                found.update(pipeline.variables if pipeline.assigns else ())
            case Branch():
                found.update(node.pipeline.variables if node.pipeline.assigns else ())
                found |= _assigned(node.body) | _assigned(node.otherwise)
    return frozenset(found)

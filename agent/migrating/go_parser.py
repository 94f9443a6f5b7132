"""Go's text/template, second step: a recursive descent from pieces to a tree."""

from __future__ import annotations

from agent.migrating.findings import Unreadable
from agent.migrating.go_tokens import Action, Comment, Piece, Text, Token, pieces
from agent.migrating.go_tree import (
    Branch,
    Chain,
    Command,
    CommentNode,
    Dot,
    Foreign,
    Function,
    Literal,
    Node,
    Output,
    Pipeline,
    Term,
    TextNode,
    Variable,
)

DEEPEST = 40
BRANCHES = ("if", "with", "range")
_ENDS = ("else", "end")
_WITH_BODY = ("define", "block")
_ALONE = ("template", "break", "continue")
_CONSTANTS = ("true", "false", "nil")


def parse_go(source: str, left: str = "{{", right: str = "}}") -> list[Node]:
    """The tree of a template. `Unreadable` names the line; nothing of the text is quoted."""
    parser = _Nodes(pieces(source, left, right))
    nodes, end = parser.nodes(0)
    if end is not None:
        raise Unreadable(end.line, f"{end.tokens[0].text} without a beginning")
    return nodes


class _Nodes:
    """Texts and blocks."""

    def __init__(self, found: list[Piece]) -> None:
        self._pieces = iter(found)

    def nodes(self, depth: int) -> tuple[list[Node], Action | None]:
        """Up to an else or end, which is given back; None at the template's end."""
        nodes: list[Node] = []
        for piece in self._pieces:
            match piece:
                case Text(text):
                    nodes.append(TextNode(text))
                case Comment(text):
                    nodes.append(CommentNode(text))
                case Action():
                    action = Action(_trimmed(piece.tokens), piece.line)
                    if _word(action) in _ENDS:
                        return nodes, action
                    nodes.append(self._node(action, depth))
        return nodes, None

    def _node(self, action: Action, depth: int) -> Node:
        word = _word(action)
        if depth > DEEPEST:
            raise Unreadable(action.line, "nested too deeply")
        if word in BRANCHES:
            return self._branch(word, action, depth)
        if word in _WITH_BODY:
            self._branch_body(action, depth)
            return Foreign(word, action.line)
        if word in _ALONE:
            return Foreign(word, action.line)
        return Output(_Terms(action.tokens, action.line).whole())

    def _branch(self, kind: str, action: Action, depth: int) -> Branch:
        pipeline = _Terms(action.tokens[1:], action.line).whole()
        body, end = self._branch_body(action, depth)
        if _word(end) == "end":
            return Branch(kind, pipeline, body, [])
        rest = Action(_trimmed(end.tokens[1:]), end.line)
        if rest.tokens:  # else if, else with: its own end is ours
            if depth >= DEEPEST:
                raise Unreadable(end.line, "nested too deeply")
            if _word(rest) not in BRANCHES:
                raise Unreadable(end.line, "after else nothing, if or with was expected")
            return Branch(kind, pipeline, body, [self._branch(_word(rest), rest, depth + 1)])
        otherwise, last = self._branch_body(action, depth)
        if _word(last) != "end" or last.tokens[1:]:
            raise Unreadable(last.line, "end was expected")
        return Branch(kind, pipeline, body, otherwise)

    def _branch_body(self, action: Action, depth: int) -> tuple[list[Node], Action]:
        body, end = self.nodes(depth + 1)
        if end is None:
            raise Unreadable(action.line, f"{_word(action)} without an end")
        return body, end


class _Terms:
    """One action's tokens."""

    def __init__(self, tokens: tuple[Token, ...], line: int) -> None:
        self._tokens, self._at, self._line, self._depth = tokens, 0, line, 0

    def whole(self) -> Pipeline:
        pipeline = self._pipeline()
        if self._at < len(self._tokens):
            raise self._wrong("something follows that does not belong there")
        return pipeline

    def _pipeline(self) -> Pipeline:
        variables, assigns = self._declaration()
        commands = [self._command()]
        while self._takes("|"):
            commands.append(self._command())
        return Pipeline(tuple(commands), self._line, variables, assigns)

    def _declaration(self) -> tuple[tuple[str, ...], bool]:
        begin = self._at
        names: list[str] = []
        self._space()
        while self._kind() == "variable":
            names.append(self._next().text)
            self._space()
            if self._takes(":="):
                return tuple(names), False
            if self._takes("="):
                return tuple(names), True
            if not self._takes(","):
                break
            self._space()
        self._at = begin
        return (), False

    def _command(self) -> Command:
        terms: list[Term] = []
        self._space()
        while self._kind() is not None and not self._is_sign("|", ")"):
            terms.append(self._operand())
            if not self._space() and self._kind() is not None and not self._is_sign("|", ")"):
                raise self._wrong("two terms without a space between")
        if not terms:
            raise self._wrong("a value is missing")
        return Command(tuple(terms))

    def _operand(self) -> Term:
        term, fields = self._term(), []
        while self._kind() == "field":
            fields.append(self._next().text)
        if not fields:
            return term
        if isinstance(term, Literal):
            raise self._wrong("a constant has no fields")
        if isinstance(term, Chain):
            return Chain(term.base, (*term.fields, *fields))
        return Chain(term, tuple(fields))

    def _term(self) -> Term:
        token = self._next()
        match token:
            case Token("sign", "("):
                return self._nested()
            case Token("sign", "."):
                return Dot()
            case Token("field", name):
                return Chain(Dot(), (name,))
            case Token("variable", name):
                return Variable(name)
            case Token("word", name):
                return Literal(name, name) if name in _CONSTANTS else Function(name)
            case Token("text" | "number" as kind, text):
                return Literal(kind, text)
        raise self._wrong("a value was expected")

    def _nested(self) -> Pipeline:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong("nested too deeply")
        pipeline = self._pipeline()
        self._space()
        if not self._takes(")"):
            raise self._wrong('")" is missing')
        self._depth -= 1
        return pipeline

    def _kind(self) -> str | None:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else None

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is_sign(self, *signs: str) -> bool:
        return self._kind() == "sign" and self._tokens[self._at].text in signs

    def _takes(self, sign: str) -> bool:
        is_there = self._is_sign(sign)
        self._at += is_there
        return is_there

    def _space(self) -> bool:
        is_there = self._kind() == "space"
        self._at += is_there
        return is_there

    def _wrong(self, reason: str) -> Unreadable:
        return Unreadable(self._line, reason)


def _trimmed(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    begin = 1 if tokens and tokens[0].kind == "space" else 0
    end = len(tokens) - (len(tokens) > begin and tokens[-1].kind == "space")
    return tokens[begin:end]


def _word(action: Action) -> str:
    first = action.tokens[0] if action.tokens else None
    return first.text if first is not None and first.kind == "word" else ""

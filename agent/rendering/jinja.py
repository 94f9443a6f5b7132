"""Templates that need Jinja2: one sandboxed environment, compiled bodies. Imported late.

A template is written by whoever configures the agent, its values are not: the sandbox, the limits
on sizes and the silence of errors are there for what values can do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.runtime import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from agent.rendering import filters
from agent.rendering.needs import Needs, find_needs
from agent.rendering.simple import JINJA_NAMES, OWN_NAMES
from agent.rendering.text import LONGEST, Fault, encode, text_of
from agent.rendering.values import Scope, View

# Whatever an expression of a template may raise; told by its type only.
TEMPLATE_ERRORS = (
    Fault,
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)
_VALUE = "_value"


class Unknown(StrictUndefined):
    """Something that is not there; used in any way, it is a Fault."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[Exception] = Fault,
    ) -> None:
        if exc is not Fault:  # Jinja2's own words may quote a value
            hint = "this is not permitted in a template"
        elif obj is missing and hint is None:
            hint = f"{name} is not defined here"
        super().__init__(hint or "there is no such thing here", obj, name, Fault)  # type: ignore[arg-type]


class Environment(ImmutableSandboxedEnvironment):
    """Looks for fields before methods, and multiplies with measure.

    `literals` are words that stand in templates: only those are repeated in errors.
    """

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(
            undefined=Unknown,
            autoescape=False,
            keep_trailing_newline=True,
            finalize=text_of_output,
            cache_size=0,
        )
        self.literals: set[str] = set()
        self.globals = {name: self.globals[name] for name in JINJA_NAMES}
        for dropped in ("random", "attr"):  # not deterministic; goes past the fields
            del self.filters[dropped]
        self.filters.update(filters.FILTERS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, View):
            return obj[attribute] if attribute in obj else self._lack(obj, attribute)
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        value = super().getattr(obj, attribute)
        return self._lack(obj, attribute) if isinstance(value, Unknown) else value

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        match operator, left, right:
            case ("*", int(times), str() | list() | tuple() as repeated) | (
                "*",
                str() | list() | tuple() as repeated,
                int(times),
            ):
                size = times * len(repeated)
            case "**", int(), int():
                size = left.bit_length() * right
            case _:
                size = 0
        if size > LONGEST:
            raise Fault(f"a result larger than {LONGEST}")
        return super().call_binop(context, operator, left, right)

    def _lack(self, obj: Any, name: str) -> Unknown:
        told = name if name in self.literals else None
        if isinstance(obj, View):
            return Unknown(obj.lack(told))
        return Unknown(f"there is no {'such element' if told is None else told} in this value")


def text_of_output(value: object) -> str:
    """What `{{ … }}` puts into the file; a secret as a whole is refused by its View."""
    return str(value) if isinstance(value, View | Unknown) else text_of(value)


@cache
def environment() -> Environment:
    """The one environment."""
    return Environment()


class JinjaBody:
    """A compiled template. `problems` that the syntax tree shows leave nothing to render."""

    def __init__(self, source: str) -> None:
        tree = _parse(source)
        needs = find_needs(tree)
        environment().literals |= needs.literals
        self.uses = tuple(needs.uses)
        self.problems = tuple(sorted(needs.problems, key=lambda fault: fault.line or 0))
        self._sole = _make_sole(tree)
        self._template = None if self.problems else _compile(tree, needs)

    def render(self, scope: Scope) -> bytes:
        if self._template is None:
            raise self.problems[0]
        scope.require(self.uses)
        try:
            return self._render(self._template, scope)
        except TEMPLATE_ERRORS as error:
            fault = self._fault(error)
        raise fault

    def _render(self, template: jinja2.Template, scope: Scope) -> bytes:
        context = template.new_context(self._variables(scope))
        text = "".join(_bounded(template.root_render_func(context)))
        if self._sole is not None:
            value = context.vars[_VALUE]
            if isinstance(value, bytes):
                return bytes(value)
            text = text_of_output(value) + self._sole.tail
        return encode(text)

    def _variables(self, scope: Scope) -> dict[str, Any]:
        secrets = {name: scope.secret(name) for name, _ in self.uses}
        bare = {name: view for name, view in secrets.items() if name not in OWN_NAMES}
        return {
            **bare,
            "secrets": View("secrets", secrets),
            "meta": scope.meta,
            "env": scope.env,
        }

    def _fault(self, error: BaseException) -> Fault:
        line = self._line(error.__traceback__) or (self._sole and self._sole.line)
        if isinstance(error, Fault):
            return Fault(error.reason, error.line or line)
        if isinstance(error, jinja2.exceptions.SecurityError):
            return Fault("this is not permitted in a template", line)
        kind = type(error).__name__
        return Fault(f"{kind}; its text is withheld, because it may hold a value", line)

    def _line(self, traceback: TracebackType | None) -> int | None:
        """The template's line where it went wrong: the innermost of its frames."""
        line: int | None = None
        template: Any = self._template
        while traceback is not None:
            if traceback.tb_frame.f_globals.get("__jinja_template__", self) is template:
                line = template.get_corresponding_lineno(traceback.tb_lineno)
            traceback = traceback.tb_next
        return line


def _parse(source: str) -> nodes.Template:
    try:
        return environment().parse(source)
    except jinja2.TemplateSyntaxError as error:
        fault = Fault(error.message or "wrong syntax", error.lineno)
    except (RecursionError, MemoryError):
        fault = Fault("nested too deeply")
    raise fault


def _compile(tree: nodes.Template, needs: Needs) -> jinja2.Template | None:
    try:
        return environment().from_string(tree)
    except jinja2.TemplateSyntaxError as error:
        fault = Fault(error.message or "wrong syntax", error.lineno)
    except (SyntaxError, RecursionError, MemoryError):  # of the Python that Jinja2 generates
        fault = Fault("nested too deeply")
    raise fault


class Sole(NamedTuple):
    """A template of one expression, what follows it, and the expression's line."""

    tail: str
    line: int


def _make_sole(tree: nodes.Template) -> Sole | None:
    """If the template is one expression (and a line's end), make it an assignment of its value.

    So a value of bytes can be had as it is, which an output would not allow.
    """
    match tree.body:
        case [nodes.Output(nodes=[expression, *rest])] if not isinstance(
            expression, nodes.TemplateData
        ):
            pass
        case _:
            return None
    match rest:
        case []:
            tail = ""
        case [nodes.TemplateData(data="\n")]:
            tail = "\n"
        case _:
            return None
    target = nodes.Name(_VALUE, "store", lineno=expression.lineno)
    tree.body = [nodes.Assign(target, expression, lineno=expression.lineno)]
    tree.set_environment(environment())
    return Sole(tail, expression.lineno)


def _bounded(chunks: Iterable[str]) -> Iterator[str]:
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > LONGEST:
            return  # encoding refuses what there is

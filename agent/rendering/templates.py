"""Templates: checked and compiled once, rendered often.

A `Template` is good for as long as its source is; the compiled body is kept by source, so that the
configuration's check and the bundle that uses it share one compilation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Protocol

from agent.core.errors import RenderError
from agent.rendering import simple
from agent.rendering.text import Fault, nearest
from agent.rendering.values import Held, Scope


class Body(Protocol):
    """A compiled template, without a place. `uses`: each secret needed, and a line that does."""

    @property
    def uses(self) -> tuple[tuple[str, int], ...]: ...

    @property
    def problems(self) -> tuple[Fault, ...]: ...

    def render(self, scope: Scope) -> bytes: ...


class Template:
    """A template at a place (`bundle.file` or a file's path); `secrets` are the names it needs."""

    def __init__(self, place: str, body: Body) -> None:
        self.place = place
        self.secrets = frozenset(name for name, _ in body.uses)
        self._body = body

    def render(self, held: Mapping[str, Held], environment: Mapping[str, str]) -> bytes:
        """The file's bytes, UTF-8 unless it is a single value of bytes; or a RenderError."""
        try:
            return self._body.render(Scope(held, environment))
        except Fault as fault:
            error = _render_error(self.place, fault)
        raise error


def compile_template(source: str, place: str) -> Template:
    """Compile; a RenderError at `place:line` for whatever can be known to be wrong."""
    try:
        body = _body(source)
    except Fault as fault:
        error = _render_error(place, fault)
    else:
        if not body.problems:
            return Template(place, body)
        error = _render_error(place, body.problems[0])
    raise error


def check_template(source: str, names: Collection[str]) -> list[str]:
    """Every problem of a template that may use the secrets `names`; each as `line N: …`."""
    try:
        body = _body(source)
    except Fault as fault:
        return [f"line {fault.line or 1}: {fault.reason}"]
    problems = [(fault.line or 1, fault.reason) for fault in body.problems]
    problems += [
        (line, f'there is no secret "{name}"{_suggestion(name, names)}')
        for name, line in body.uses
        if name not in names
    ]
    return [f"line {line}: {reason}" for line, reason in sorted(problems)]


def _suggestion(name: str, names: Collection[str]) -> str:
    dashed = [each for each in names if each.startswith(f"{name}-")]
    return f'; did you mean secrets["{dashed[0]}"]?' if dashed else nearest(name, names)


@lru_cache(maxsize=4096)
def _body(source: str) -> Body:
    body = simple.parse(source)
    if body is not None:
        return body
    from agent.rendering.jinja import JinjaBody

    return JinjaBody(source)


def _render_error(place: str, fault: Fault) -> RenderError:
    return RenderError(place if fault.line is None else f"{place}:{fault.line}", fault.reason)

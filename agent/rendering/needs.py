"""What a template needs, found in its syntax tree before there is a value.

A secret is needed by its bare name (one that the template itself does not set), `secrets.name`,
`secrets["name"]` or `meta("name")`. So that this is known beforehand, the agent's own names are
used in just these forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec
from jinja2 import TemplateAssertionError, meta, nodes

from agent.rendering.simple import OWN_NAMES
from agent.rendering.text import Fault

Use = tuple[str, int]
"""A secret's name, and the line that needs it."""

_OTHER_FILES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
_FORMS = {
    "secrets": 'secrets takes a literal name, as secrets["app"], ',
    "meta": 'meta takes a literal name, as meta("app"), ',
    "env": 'env takes a literal name, as env("HOME"), ',
}


class Needs(msgspec.Struct):
    """What was found; `literals` are the words that stand in the template itself."""

    uses: list[Use] = msgspec.field(default_factory=list)
    problems: list[Fault] = msgspec.field(default_factory=list)
    literals: set[str] = msgspec.field(default_factory=set)


def find_needs(tree: nodes.Template) -> Needs:
    """Walk the tree once."""
    needs = Needs()
    proper = set(_proper_names(tree, needs))
    for name in tree.find_all(nodes.Name):
        if name.name in OWN_NAMES and id(name) not in proper:
            needs.problems.append(Fault(_misuse(name), name.lineno))
    for each in tree.find_all(_OTHER_FILES):
        reason = "a template can't take in other files (include, import, extends)"
        needs.problems.append(Fault(reason, each.lineno))
    if not needs.problems:
        _find_bare_names(tree, needs)
    needs.literals.update(_literals(tree))
    return needs


def _misuse(name: nodes.Name) -> str:
    if name.ctx != "load":
        return f"{name.name} is the agent's own name and can't be set"
    return _FORMS[name.name] + "so that it is known beforehand what the template needs"


def _proper_names(tree: nodes.Template, needs: Needs) -> Iterator[int]:
    """The ids of Name nodes that are used in a permitted form; records what they need."""
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Call)):
        owner = cast(nodes.Getattr, node).node
        if not isinstance(owner, nodes.Name):
            continue
        match node:
            case nodes.Getattr(attr=str(name)) if owner.name == "secrets":
                pass
            case nodes.Getitem(arg=nodes.Const(value=str(name))) if owner.name == "secrets":
                pass
            case nodes.Call(args=[nodes.Const(value=str(name))]) if _is_plain_call(node, "meta"):
                pass
            case nodes.Call(args=[nodes.Const(value=str()), *rest]) if len(rest) < 2:
                if _is_plain_call(node, "env"):
                    yield id(owner)
                continue
            case _:
                continue
        needs.uses.append((name, node.lineno))
        yield id(owner)


def _is_plain_call(node: nodes.Call, name: str) -> bool:
    is_named = isinstance(node.node, nodes.Name) and node.node.name == name
    return is_named and not (node.kwargs or node.dyn_args or node.dyn_kwargs)


def _find_bare_names(tree: nodes.Template, needs: Needs) -> None:
    try:
        names = meta.find_undeclared_variables(tree) - OWN_NAMES
    except TemplateAssertionError as error:
        needs.problems.append(Fault(error.message or "wrong", error.lineno))
        return
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in names and node.ctx == "load":
            lines.setdefault(node.name, node.lineno)
    needs.uses += ((name, lines.get(name, 1)) for name in sorted(names))


def _literals(tree: nodes.Template) -> Iterator[str]:
    for const in tree.find_all(nodes.Const):
        if isinstance(const.value, str):
            yield const.value
    for attribute in tree.find_all(nodes.Getattr):
        yield attribute.attr

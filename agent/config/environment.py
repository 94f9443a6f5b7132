"""`${NAME}` and `${NAME:-default}` in the scalars of a tree.

After parsing, so a value can't add structure; `$${` is a literal `${`. As in a shell, the default
stands in for a variable that is unset or empty. Nothing here tells a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment

from agent.config.report import KeyPath, Report
from agent.config.tree import Mapping, Node, Text

_REFERENCE = re.compile(
    r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^${}]*))?\}|(?P<bad>\$\{)"
)


def expand(tree: Node, environment: Environment[str, str], report: Report) -> None:
    """Expand every scalar in place; what can't be is in the report and marked as broken."""
    _expand(tree, (), environment, report)


def names_in(written: str) -> frozenset[str]:
    """The variables that a text takes from.

    >>> names_in("${HOST}:${PORT:-80}, $${NOT}") == {"HOST", "PORT"}
    True
    """
    return frozenset(match["name"] for match in _REFERENCE.finditer(written) if match["name"])


def _expand(node: Node, path: KeyPath, environment: Environment[str, str], report: Report) -> None:
    if isinstance(node, Text):
        if "${" in node.written:
            _expand_text(node, path, environment, report)
    elif isinstance(node, Mapping):
        for key, each in node.entries.items():
            _expand(each, (*path, key), environment, report)
    else:
        for index, each in enumerate(node.items):
            _expand(each, (*path, index), environment, report)


def _expand_text(
    node: Text, path: KeyPath, environment: Environment[str, str], report: Report
) -> None:
    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["escape"]:
            return "${"
        if match["bad"]:
            report.problem(node.place, path, _BAD)
            node.is_broken = True
            return ""
        node.is_from_environment = True
        found = environment.get(name, "")
        if default is not None:
            return found or default
        if name not in environment:
            report.problem(
                node.place,
                path,
                f"the environment has no {name}: set it, or give a default as in ${{{name}:-…}}",
            )
            node.is_broken = True
        return found

    node.text = _REFERENCE.sub(value, node.written)
    node.is_literal = not node.is_from_environment or _has_literal(node.written)


_BAD = 'has "${" that begins no ${NAME} or ${NAME:-default}; a literal one is written $${'


def _has_literal(written: str) -> bool:
    """Whether any of the text stands in the file: around the references, or as a default."""
    rest = _REFERENCE.sub(lambda match: match["default"] or match["escape"] or "", written)
    return rest.strip() != ""

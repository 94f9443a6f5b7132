"""Kubernetes manifests: which of their pods an injector would see, with what annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import yaml

from agent.migrating.findings import Unreadable

DEEPEST = 60
DOMAINS = re.compile(r"(?:vault\.hashicorp\.com|(?:[a-z]+\.)?openbao\.org)/")


class Annotation(msgspec.Struct, frozen=True):
    """Its text, and the line where its value begins."""

    value: str
    line: int


class Workload(msgspec.Struct):
    """One pod, or what makes pods. Annotations are without the injector's domain."""

    name: str
    kind: str
    line: int
    annotations: dict[str, Annotation]


def workloads(text: str) -> list[Workload]:
    """Those with an injector's annotations, in order. `Unreadable` where it is no YAML."""
    found: list[Workload] = []
    try:
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
            found += _inside(document, "", "", 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        raise Unreadable(line, "this is no YAML; a chart has to be rendered first") from None
    except RecursionError:
        raise Unreadable(0, "nested too deeply") from None
    return found


def _inside(node: yaml.Node | None, name: str, kind: str, depth: int) -> Iterator[Workload]:
    """A workload's own name and kind are those of the object around its pod template."""
    if depth > DEEPEST:
        raise Unreadable(0, "nested too deeply")
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _inside(each, name, kind, depth + 1)
    if not isinstance(node, yaml.MappingNode):
        return
    keys = _keys(node)
    metadata = _keys(keys.get("metadata"))
    name = _text(metadata.get("name")) or name
    kind = _text(keys.get("kind")) or kind
    annotations = _annotations(metadata.get("annotations"))
    if annotations:
        yield Workload(name or "app", kind, node.start_mark.line + 1, annotations)
    for each in keys.values():
        yield from _inside(each, name, kind, depth + 1)


def _keys(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _annotations(node: yaml.Node | None) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    for key, value in _keys(node).items():
        domain = DOMAINS.match(key)
        if domain and isinstance(value, yaml.ScalarNode):
            line = value.start_mark.line + (2 if value.style in ("|", ">") else 1)
            found[key[domain.end() :]] = Annotation(str(value.value), line)
    return found

"""Merging several files is what their deep merge would be in one."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.config.report import Report
from agent.config.source import read_sources
from agent.config.tree import List, Mapping, Node, Text

DOCUMENTS = st.recursive(
    st.text("xyz", max_size=3) | st.lists(st.text("xyz", max_size=2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
FILES = st.lists(st.dictionaries(st.sampled_from("abc"), DOCUMENTS, max_size=3), max_size=4)


def merged(earlier: Any, later: Any) -> Any:
    if not (isinstance(earlier, dict) and isinstance(later, dict)):
        return later
    both = {key: merged(earlier[key], later[key]) for key in earlier.keys() & later.keys()}
    return {**earlier, **later, **both}


def data(node: Node) -> Any:
    match node:
        case Text():
            return node.text
        case List():
            return [data(each) for each in node.items]
        case Mapping():
            return {key: data(each) for key, each in node.entries.items()}


@given(FILES)
def test_files_are_merged_in_order(documents: list[dict[str, Any]]) -> None:
    expected: dict[str, Any] = {}
    for document in documents:
        expected = merged(expected, document)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.yaml" for number in range(len(documents))]
        for path, document in zip(paths, documents, strict=True):
            path.write_text(json.dumps(document))
        report = Report()
        assert data(read_sources(paths, report).tree) == expected
        assert report.problems == []

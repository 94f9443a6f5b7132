"""Files and folders to one merged tree."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agent.config.report import Place, Report
from agent.config.tree import Mapping, Node, Refused, Text, read_tree


class Source(msgspec.Struct):
    """What was read: the merged tree, and every file and folder it came from.

    `is_whole` is False where a file could not be read to its end: then references say nothing.
    """

    tree: Mapping
    files: list[Path] = msgspec.field(default_factory=list)
    is_whole: bool = True


def read_sources(paths: Sequence[Path], report: Report) -> Source:
    """Read and merge files and folders in order; what can't be read is in the report."""
    source = Source(Mapping(Place(str(paths[0]) if paths else "", 1), {}))
    for path in _files(paths, source, report):
        tree = _read(path, source, report)
        if isinstance(tree, Mapping):
            source.tree = _merged(source.tree, tree)
        elif tree is not None and not (isinstance(tree, Text) and tree.is_null):
            report.problem(tree.place, (), "must be a mapping of sections")
    return source


def _files(paths: Sequence[Path], source: Source, report: Report) -> Iterator[Path]:
    for path in paths:
        source.files.append(path)
        report.file(str(path))
        if not os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises what this takes for no
            yield path
            continue
        try:
            inside = sorted(each for each in path.iterdir() if _is_yaml(each))
        except OSError as error:
            _unreadable(path, error, source, report)
            continue
        if not inside:
            report.problem(Place(str(path), 0), (), "the folder has no *.yaml")
        source.files.extend(inside)
        for each in inside:
            report.file(str(each))
        yield from inside


def _is_yaml(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and not path.is_dir()


def _read(path: Path, source: Source, report: Report) -> Node | None:
    try:
        return read_tree(str(path), path.read_bytes(), report)
    except OSError as error:
        _unreadable(path, error, source, report)
    except Refused as refused:
        source.is_whole = False
        report.problem(Place(str(path), refused.line), (), refused.reason)
    return None


def _unreadable(path: Path, error: OSError, source: Source, report: Report) -> None:
    source.is_whole = False
    report.problem(Place(str(path), 0), (), f"can't be read: {error.strerror}")


def _merged(earlier: Mapping, later: Mapping) -> Mapping:
    """Mappings key by key; of anything else the later."""
    entries = dict(earlier.entries)
    for key, node in later.entries.items():
        before = entries.get(key)
        if isinstance(before, Mapping) and isinstance(node, Mapping):
            node = _merged(before, node)
        entries[key] = node
    return Mapping(later.place, entries)

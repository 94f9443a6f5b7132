"""RESULTS.md: each figure of both agents, what it was to reach, and whether it did."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measures import Figure

FILE = Path(__file__).parent / "RESULTS.md"
OURS, THEIRS = "leasehold", "bao agent"


def verdict(figure: Figure) -> tuple[str, bool | None]:
    """What was to be reached, in words, and whether it was; None where nothing was."""
    ours, theirs = figure.median(OURS), figure.median(THEIRS)
    if ours is None:
        return "", None
    if figure.most is not None:
        return f"≤ {figure.most:g}", ours <= figure.most
    if theirs is None:
        return "", None
    if figure.least_ratio is not None:
        return f"≥ {figure.least_ratio:.3g} x", ours >= figure.least_ratio * theirs
    if figure.most_ratio is None:
        return "", None
    return f"≤ {figure.most_ratio:.3g} x", ours <= figure.most_ratio * theirs


def row(figure: Figure) -> str:
    ours, theirs = figure.median(OURS), figure.median(THEIRS)
    ratio = f"{ours / theirs:.3g} x" if ours is not None and theirs else ""
    to_reach, is_reached = verdict(figure)
    mark = {True: "yes", False: "**no**", None: ""}[is_reached]
    cells = [figure.what, spread(figure, THEIRS), spread(figure, OURS), ratio, to_reach, mark]
    return f"| {' | '.join(cells)} |"


def spread(figure: Figure, name: str) -> str:
    """`0.113 s (0.11 to 0.12)`: the median, and the extremes where there are several samples."""
    middle = figure.median(name)
    if middle is None:
        return ""
    samples = figure.samples[name]
    extremes = f" ({min(samples):.3g} to {max(samples):.3g})" if len(samples) > 1 else ""
    return f"{middle:.4g} {figure.unit}{extremes}"


def text(figures: Iterable[Figure], versions: dict[str, str], runs: int) -> str:
    machine = f"{os.cpu_count()} x {processor()}, Linux {platform.release()}"
    lines = [
        "# Results",
        "",
        "Written by `make bench`. Whole processes side by side in one run, the server on the same "
        f"machine; medians of {runs} (least to most), where there is one sample it stands alone. "
        "Each agent runs from files of its own, so that it shares no memory with others. Doors are "
        "asked by h2load over 16 kept connections to a UNIX socket, beside `bao proxy`; ours with "
        "caller, rules and a chained audit on memory.",
        "",
        f"- machine: {machine}, Python {platform.python_version()}",
        *(f"- {name}: {version}" for name, version in versions.items()),
        "",
        "| what | bao agent | leasehold | ratio | to reach | reached |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(row, figures),
        "",
    ]
    return "\n".join(lines)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

"""What was found: a table for docs/scale.md between its marks, and a plot of each scene."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.fleet.real import Found
from benchmarks.fleet.scenes import Result, Scene

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOTS = DOCS / "scale.md", DOCS / "scale"
BIN = 5
COLOURS = {
    "leasehold": "#1b7837",
    "bao agent": "#762a83",
    "consul-template": "#e08214",
    "AWS agent": "#4575b4",
}
STYLE: Any = {
    "svg.hashsalt": "leasehold",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def table(results: Iterable[Result]) -> str:
    """Markdown; requests a second are steady ones, the peak, and what that is in steady states."""
    lines = [
        "| what happens | agent | steady/s | peak/s | looks/s | times | half whole | all whole |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        told = "" if each.agent != "leasehold" else each.scene.value
        lines.append(
            f"| {told} | {each.agent} | {each.steady:.0f} | {each.peak:,.0f} | {each.looks:,.0f} "
            f"| {each.ratio:.1f} | {_after(each.halfway)} | {_after(each.whole)} |"
        )
    return "\n".join(lines)


def check(modelled: Found, real: Found, size: int) -> str:
    """Markdown: the replayed agent beside the agent itself."""
    lines = [
        f"| {size} agents, an outage of ten minutes | steady/s | peak/s, of ten seconds "
        "| missed | half whole |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, each in (("replayed", modelled), ("the agent itself", real)):
        lines.append(
            f"| {name} | {each.steady:.1f} | {each.peak:.1f} | {each.missed} "
            f"| {_after(each.halfway)} |"
        )
    return "\n".join(lines)


def write(mark: str, text: str) -> None:
    """Put it between `<!-- mark -->` and `<!-- /mark -->` of the page."""
    page = PAGE.read_text()
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = page.split(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n\n{end}{rest.split(end)[1]}")


def plot(scene: Scene, results: Iterable[Result]) -> Path:
    """One SVG; the same figures give the same bytes."""
    import matplotlib  # late: for this alone

    matplotlib.use("svg")
    from matplotlib import pyplot

    file = PLOTS / f"{scene.name.lower().replace('_', '-')}.svg"
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
        for each in results:
            minutes, rates = _binned(each)
            axes.plot(minutes, rates, label=each.agent, color=COLOURS[each.agent], linewidth=1.2)
            if each.agent == "leasehold" and each.steady:
                axes.axhline(3 * each.steady, color="#888888", linewidth=0.8, linestyle=":")
        axes.set(xlabel="minutes", ylabel="requests a second", title=scene.value, yscale="log")
        axes.set_ylim(bottom=10)
        axes.legend(frameon=False, ncols=4, fontsize="small", loc="upper center")
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return file


def _binned(result: Result) -> tuple[list[float], list[float]]:
    """Minutes since the event, and means over BIN seconds."""
    course = result.course
    starts = range(0, len(course) - BIN + 1, BIN)
    minutes = [(start - result.event_at) / 60 for start in starts]
    return minutes, [max(sum(course[start : start + BIN]) / BIN, 1.0) for start in starts]


def _after(seconds: float | None) -> str:
    if seconds is None:
        return "not in the time watched"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"

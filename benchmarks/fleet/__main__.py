"""`python -m benchmarks fleet`: every scene with every agent, into docs/scale.md and its plots."""

from __future__ import annotations

import argparse
import sys

from benchmarks.fleet import real, report
from benchmarks.fleet.scenes import MAKES, SKIPPED, Result, Scene, play

SIZE, REAL_SIZE = 10_000, 200
MOST = 3.0
"""Steady states that the fleet may ask for after an outage."""


def main(arguments: list[str] | None = None) -> int:
    """1 if the peak after an outage is not below MOST."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=SIZE)
    parser.add_argument("--no-write", action="store_true", help="only print")
    options = parser.parse_args(arguments)
    results: list[Result] = []
    for scene in Scene:
        names = [name for name in MAKES if (scene, name) not in SKIPPED]
        played = [play(scene, name, options.agents) for name in names]
        results += played
        print(report.table(played), flush=True)
        if not options.no_write:
            report.plot(scene, played)
    size = min(REAL_SIZE, options.agents)
    checked = report.check(real.modelled(size), real.real(size), size)
    print(checked)
    if not options.no_write:
        report.write("fleet", report.table(results))
        report.write("check", checked)
    ours = next(each for each in results if (each.scene, each.agent) == OURS)
    return 0 if ours.peak_of_both < MOST * ours.steady else 1


OURS = (Scene.OUTAGE, "leasehold")

if __name__ == "__main__":
    sys.exit(main())

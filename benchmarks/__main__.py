"""`make bench`: measure all, write RESULTS.md, end with 1 if a figure was not reached."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks import local_doors, measures, report
from benchmarks.ground import Ground, ground
from benchmarks.measures import Figure
from benchmarks.peers import BaoAgent, Leasehold, Peer

Measure = Callable[[], list[Figure]]
MANY = 10_000


def all_measures(place: Ground, peers: dict[str, Peer], runs: int) -> dict[str, Measure]:
    """By name, in the order of the report."""
    both = list(peers.values())
    named: dict[str, Measure] = {
        "start-1": lambda: measures.start(place, both, 1, runs, 2.5),
        "start-100": lambda: measures.start(place, both, 100, runs, 1.0),
        "start-1000": lambda: measures.start(place, both, 1000, runs, 0.4),
        "requests": lambda: measures.requests(place, both, 1000),
        "rounds": lambda: measures.rounds(place, both, 1000, runs),
        "idle": lambda: measures.idle(place, both, 100, runs),
    }
    if "leasehold" in peers:
        named["many"] = lambda: measures.many(place, peers["leasehold"], MANY, runs)
        named["waiting"] = lambda: local_doors.waiting(place, runs)
    if len(peers) > 1:
        named["doors"] = lambda: local_doors.doors(place, runs)
    return named


def main() -> int:
    if sys.argv[1:2] == ["fleet"]:
        from benchmarks.fleet.__main__ import main as fleet  # late: simulated, and of no other use

        return fleet(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", help="names of measures; without any, all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", action="append", choices=["leasehold", "bao agent"])
    options = parser.parse_args()
    with ground(MANY) as place:
        makers: dict[str, Callable[[Ground], Peer]] = {
            "bao agent": BaoAgent,
            "leasehold": Leasehold,
        }
        peers = {name: makers[name](place) for name in options.peer or makers}
        figures: list[Figure] = []
        for name, measure in all_measures(place, peers, options.runs).items():
            if name in (options.measures or [name]):
                print(f"{name} …", file=sys.stderr, flush=True)
                figures += [shown(figure) for figure in measure()]
        versions = {name: peer.version() for name, peer in peers.items()}
    if not options.measures and not options.peer:
        report.FILE.write_text(report.text(figures, versions, options.runs))
    return 0 if all(report.verdict(each)[1] is not False for each in figures) else 1


def shown(figure: Figure) -> Figure:
    print(report.row(figure), flush=True)
    return figure


if __name__ == "__main__":
    sys.exit(main())

"""Gauges of what is known at one moment: read from the ledger and the status, kept nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import __version__
from agent.core.clock import Clock, wall_at
from agent.ledger import State
from agent.telemetry.standing import UP
from agent.telemetry.status import Status

Sample = tuple[tuple[str, ...], float]


class Gauges(Collector):
    """One moment's; made where the ledger lives, it can be collected in any thread."""

    def __init__(self, status: Status, clock: Clock) -> None:
        self._entries = status.ledger.entries()
        self._stores = {name: replace(each) for name, each in status.stores.items()}
        self._bundles = {name: replace(each) for name, each in status.bundles.items()}
        self._answered = {name: dict(each) for name, each in status.answered.items()}
        self._is_ready = status.is_ready()
        self._boot = wall_at(clock, 0.0)

    def collect(self) -> Iterator[Metric]:
        yield _gauge("build_info", "The agent's version.", ["version"], [((__version__,), 1)])
        yield _gauge("ready", "1 once all is delivered.", [], [((), self._is_ready)])
        yield from self._of_stores()
        yield from self._of_secrets()
        yield _gauge(
            "bundle_generation",
            "The generation that stands; 0 before the first.",
            ["bundle"],
            [((name,), each.generation) for name, each in self._bundles.items()],
        )
        yield self._of_listeners()

    def _of_listeners(self) -> Metric:
        family = CounterMetricFamily(
            "leasehold_answers", "Answers of local doors.", labels=["listener", "status"]
        )
        for name, answered in self._answered.items():
            for status, number in answered.items():
                family.add_metric([name, str(status)], number)
        return family

    def _of_stores(self) -> Iterator[Metric]:
        stores = self._stores.items()
        yield _gauge(
            "store_up",
            "1 while the store answers and the agent is logged in.",
            ["store"],
            [((name,), each.state == UP) for name, each in stores],
        )
        yield self._instants(
            "token_expiry_timestamp_seconds",
            "When the token ends, unless it is renewed.",
            "store",
            ((name, each.token_expires_at) for name, each in stores),
        )

    def _of_secrets(self) -> Iterator[Metric]:
        states = Counter(entry.state for entry in self._entries)
        yield _gauge(
            "secrets",
            "Secrets by state.",
            ["state"],
            [((str(state),), states[state]) for state in State],
        )
        yield _gauge(
            "secret_stale",
            "1 while there is no fresh value.",
            ["secret"],
            [((entry.name,), entry.state is not State.FRESH) for entry in self._entries],
        )
        yield self._instants(
            "secret_last_read_timestamp_seconds",
            "When the value was last read.",
            "secret",
            ((entry.name, entry.read_at) for entry in self._entries),
        )
        yield self._instants(
            "secret_expiry_timestamp_seconds",
            "When the value ends; absent where it has no end.",
            "secret",
            ((entry.name, entry.expires_at) for entry in self._entries),
        )

    def _instants(
        self, name: str, text: str, label: str, instants: Iterable[tuple[str, float | None]]
    ) -> Metric:
        """Instants of the clock, as seconds since the epoch; what has none is left out."""
        samples = [((key,), self._boot + at) for key, at in instants if at is not None]
        return _gauge(name, text, [label], samples)


def _gauge(name: str, text: str, labels: list[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(f"leasehold_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family

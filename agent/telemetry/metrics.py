"""Prometheus metrics: what happens is counted from the events, what is known is read at a scrape.

Labels are names of the configuration and words of ours, never a value. Imports prometheus_client:
import this module where telemetry is configured and nowhere else. The table in
`docs/observability.md` names exactly what is here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.core import events
from agent.core.clock import Clock
from agent.core.events import Event
from agent.telemetry.gauges import Gauges
from agent.telemetry.status import Status

OPENMETRICS = "application/openmetrics-text"

LabelsOf = Callable[[Any], tuple[str, ...] | None]
"""The values of the labels for an event; None if it does not count."""

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "logins": ("Logins to a store.", ("store", "outcome")),
    "token_renewals": ("Renewals of a store's token.", ("store",)),
    "tokens_lost": ("Tokens that died before they were given up.", ("store",)),
    "requests": ("Requests to a store.", ("store", "operation", "outcome")),
    "secret_reads": ("Successful reads of secrets.", ("changed",)),
    "secret_read_failures": ("Failed reads of secrets.", ("kind",)),
    "lease_renewals": ("Renewals of leases.", ()),
    "leases_revoked": ("Old leases revoked.", ()),
    "leases_lost": ("Leases that were gone before their time.", ()),
    "secrets_refused": ("New values that an app did not work with.", ()),
    "bundle_failures": ("Failed steps of a bundle.", ("bundle", "step")),
    "bundle_rollbacks": ("Generations that were taken back.", ("bundle",)),
    "notifications": ("Announcements of a generation.", ("bundle", "outcome")),
    "process_restarts": ("Starts of the process after the first.", ()),
    "cache_failures": ("Writings of the sealed cache that failed.", ()),
    "cache_refusals": ("Sealed caches that were refused at a start.", ()),
    "connections_refused": ("Local connections refused for want of room.", ("listener", "limit")),
    "config_reloads": ("Reloads of the configuration.", ("outcome",)),
}

HISTOGRAMS: dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "request_seconds": (
        "Time of a request to a store.",
        ("store", "operation"),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ),
    "cache_write_seconds": (
        "Time to write the sealed cache.",
        (),
        (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    ),
    "confirm_seconds": (
        "Time from an announcement until the app confirmed it.",
        ("bundle",),
        (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
    ),
}


def _rules() -> list[tuple[type[Event], str, LabelsOf]]:
    """Which event moves which metric. Histograms observe the event's `seconds`."""
    return [
        (events.LoggedIn, "logins", lambda event: (event.store, "ok")),
        (events.LoginFailed, "logins", lambda event: (event.store, "failed")),
        (events.TokenRenewed, "token_renewals", lambda event: (event.store,)),
        (events.TokenLost, "tokens_lost", lambda event: (event.store,)),
        (
            events.RequestDone,
            "requests",
            lambda event: (event.store, event.operation, event.outcome),
        ),
        (events.RequestDone, "request_seconds", lambda event: (event.store, event.operation)),
        (events.SecretRead, "secret_reads", lambda event: (str(event.is_changed).lower(),)),
        (events.SecretStale, "secret_read_failures", lambda event: (event.kind,)),
        (events.LeaseRenewed, "lease_renewals", lambda event: ()),
        (events.LeaseRevoked, "leases_revoked", lambda event: ()),
        (events.LeaseLost, "leases_lost", lambda event: ()),
        (events.SecretRefused, "secrets_refused", lambda event: ()),
        (events.BundleFailed, "bundle_failures", lambda event: (event.bundle, event.step)),
        (
            events.BundleFailed,
            "notifications",
            lambda event: (event.bundle, "failed") if event.step == "notify" else None,
        ),
        (events.BundleNotified, "notifications", lambda event: (event.bundle, "ok")),
        (events.BundleRolledBack, "bundle_rollbacks", lambda event: (event.bundle,)),
        (events.BundleConfirmed, "confirm_seconds", lambda event: (event.bundle,)),
        (events.ProcessStarted, "process_restarts", _after_the_first()),
        (events.CacheWritten, "cache_write_seconds", lambda event: ()),
        (events.CacheFailed, "cache_failures", lambda event: ()),
        (events.CacheRefused, "cache_refusals", lambda event: ()),
        (
            events.ConnectionRefused,
            "connections_refused",
            lambda event: (event.listener, event.limit),
        ),
        (events.Reloaded, "config_reloads", lambda event: ("ok",)),
        (events.ReloadRefused, "config_reloads", lambda event: ("refused",)),
    ]


def _after_the_first() -> LabelsOf:
    numbers = count()
    return lambda event: () if next(numbers) else None


class Metrics:
    """Listens to events; `scrape` is what /metrics answers."""

    def __init__(self, status: Status, clock: Clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        metrics = {**_counters(self.registry), **_histograms(self.registry)}
        self._listeners: dict[type[Event], list[_Listener]] = defaultdict(list)
        for event, name, labels in _rules():
            self._listeners[event].append(_Listener(metrics[name], labels))
        self._status, self._clock = status, clock

    def __call__(self, event: Event) -> None:
        for listener in self._listeners.get(type(event), ()):
            listener(event)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics if it is accepted, else Prometheus's text."""
        return self._written(Gauges(self._status, self._clock), accept)

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """The same of this moment, written down in a thread: 10 000 secrets take their time."""
        return await asyncio.to_thread(self._written, Gauges(self._status, self._clock), accept)

    def _written(self, gauges: Gauges, accept: str) -> tuple[bytes, str]:
        is_open = OPENMETRICS in accept
        encoder, content_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if is_open else "")
        return encoder(_Both(self.registry, gauges)), content_type


class _Both(Collector):
    def __init__(self, *collectors: Collector) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for each in self._collectors:
            yield from each.collect()


class _Listener:
    """Moves one metric for one kind of event; its children are kept, `labels()` is not cheap."""

    def __init__(self, metric: Counter | Histogram, labels: LabelsOf) -> None:
        self._metric = metric
        self._labels = labels
        self._children: dict[tuple[str, ...], Counter | Histogram] = {}

    def __call__(self, event: Any) -> None:
        labels = self._labels(event)
        if labels is None:
            return
        child = self._children.get(labels)
        if child is None:
            child = self._metric.labels(*labels) if labels else self._metric
            self._children[labels] = child
        if isinstance(child, Counter):
            child.inc(getattr(event, "number", 1))  # one event may stand for several
        else:
            child.observe(event.seconds)


def _counters(registry: CollectorRegistry) -> dict[str, Counter | Histogram]:
    return {
        name: Counter(f"leasehold_{name}", text, labels, registry=registry)
        for name, (text, labels) in COUNTERS.items()
    }


def _histograms(registry: CollectorRegistry) -> dict[str, Counter | Histogram]:
    return {
        name: Histogram(f"leasehold_{name}", text, labels, registry=registry, buckets=buckets)
        for name, (text, labels, buckets) in HISTOGRAMS.items()
    }

"""What Prometheus reads, by its own parser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from agent import __version__
from agent.core import events
from agent.core.events import Event
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from agent.telemetry.metrics import Metrics
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock

DOCUMENT = Path(__file__).parents[3] / "docs/observability.md"


@pytest.fixture
async def metrics(status: Status, clock: JumpClock) -> Metrics:
    return Metrics(status, clock)


async def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample of ours, as `name{label=value,…}` without the prefix."""
    body, _ = await metrics.scrape()
    return {
        sample.name.removeprefix("leasehold_")
        + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in families(body.decode())
        for sample in family.samples
        if sample.name.startswith("leasehold_")
    }


def request(seconds: float = 0.02, outcome: str = "ok") -> Event:
    return events.RequestDone(store="vault", operation="read", seconds=seconds, outcome=outcome)


def failed(step: str) -> Event:
    return events.BundleFailed(bundle="app", step=step, reason="no")


CACHE_FAILED = events.CacheFailed(file="a", reason="x", is_news=False)
STARTED = events.ProcessStarted(command="app", pid=1)


STALE = events.SecretStale(secret="web", reason="x", kind="denied")
NOTIFIED = events.BundleNotified(bundle="app", generation=1, target="x", seconds=1)
CONFIRMED = events.BundleConfirmed(bundle="app", generation=1, seconds=2)
ROLLED_BACK = events.BundleRolledBack(bundle="app", generation=2, restored=1, reason="x")
LOGGED_IN = events.LoggedIn(store="vault", method="jwt", ttl_seconds=1)
LOGIN_FAILED = events.LoginFailed(store="vault", method="jwt", reason="x")


def read(*, is_changed: bool) -> Event:
    return events.SecretRead(secret="web", version="1", is_changed=is_changed)


@pytest.mark.parametrize(
    ("heard", "sample", "value"),
    [
        ([LOGGED_IN], "logins_total|ok|vault", 1),
        ([LOGIN_FAILED], "logins_total|failed|vault", 1),
        ([events.TokenRenewed(store="vault", ttl_seconds=1)], "token_renewals_total|vault", 1),
        ([events.TokenLost(store="vault", leases=1, reason="x")], "tokens_lost_total|vault", 1),
        ([request(), request(), request(outcome="outage")], "requests_total|read|ok|vault", 2),
        ([request(0.02), request(0.02)], "request_seconds_count|read|vault", 2),
        ([request(0.02), request(0.2)], "request_seconds_bucket|0.025|read|vault", 1),
        ([request(0.5), request(0.25)], "request_seconds_sum|read|vault", 0.75),
        ([read(is_changed=True)], "secret_reads_total|true", 1),
        ([read(is_changed=False)], "secret_reads_total|false", 1),
        ([STALE], "secret_read_failures_total|denied", 1),
        ([events.LeaseRenewed(secret="a", ttl_seconds=1)], "lease_renewals_total", 1),
        ([events.LeaseRevoked(secret="a")], "leases_revoked_total", 1),
        ([events.LeaseLost(secret="a", reason="x")], "leases_lost_total", 1),
        ([failed("render")], "bundle_failures_total|app|render", 1),
        ([failed("notify")], "notifications_total|app|failed", 1),
        ([NOTIFIED], "notifications_total|app|ok", 1),
        ([CONFIRMED], "confirm_seconds_sum|app", 2),
        ([ROLLED_BACK], "bundle_rollbacks_total|app", 1),
        ([STARTED], "process_restarts_total", 0),
        ([STARTED, STARTED, STARTED], "process_restarts_total", 2),
        ([events.CacheWritten(bytes=1, seconds=0.5)], "cache_write_seconds_sum", 0.5),
        ([CACHE_FAILED, CACHE_FAILED], "cache_failures_total", 2),
        ([events.CacheRefused(file="a", reason="x")], "cache_refusals_total", 1),
        (
            [
                events.ConnectionRefused(listener="/s", uid=uid, limit="per_user", number=number)
                for uid, number in ((1, 1), (2, 40))
            ],
            "connections_refused_total|per_user|/s",
            41,
        ),
        ([events.Reloaded(added=[], changed=[], removed=[])], "config_reloads_total|ok", 1),
        ([events.ReloadRefused(problems=[])], "config_reloads_total|refused", 1),
    ],
)  # fmt: skip
async def test_events_are_counted(
    metrics: Metrics, heard: list[Event], sample: str, value: float
) -> None:
    for event in heard:
        metrics(event)
    assert (await scraped(metrics))[sample] == value


async def test_a_template_error_is_a_metric_and_no_notification_vault_24670(
    metrics: Metrics,
) -> None:
    metrics(failed("render"))
    samples = await scraped(metrics)
    assert samples["bundle_failures_total|app|render"] == 1
    assert not [name for name in samples if name.startswith("notifications_total")]


async def test_answers_of_the_local_doors_are_counted(metrics: Metrics, status: Status) -> None:
    status.answered["/run/secrets.sock"].update([200, 200, 403])
    samples = await scraped(metrics)
    assert samples["answers_total|/run/secrets.sock|200"] == 2
    assert samples["answers_total|/run/secrets.sock|403"] == 1


async def test_what_is_known_is_read_at_the_scrape(
    metrics: Metrics, status: Status, ledger: Ledger, clock: JumpClock
) -> None:
    ledger.record("web", Reading(Secret({"key": "hunter2"}), "7"), clock.now() + 90)
    ledger.record("kv", Reading(Secret({"key": "hunter2"}), "7"), None)
    ledger.stale("kv", "nobody answered", "outage")
    for event in (
        events.LoggedIn(store="vault", method="jwt", ttl_seconds=600.0),
        events.StoreDown(store="local", reason="no file"),
        events.BundlePublished(bundle="app", generation=42, secrets=[], changed_files=[]),
    ):
        status(event)
    samples = await scraped(metrics)
    expected = {
        "secret_expiry_timestamp_seconds|web": clock.wall() + 90,
        "secret_last_read_timestamp_seconds|web": clock.wall(),
        "secret_stale|web": 0,
        "secret_stale|kv": 1,
        "secrets|fresh": 1,
        "secrets|stale": 1,
        "secrets|expired": 0,
        "store_up|vault": 1,
        "store_up|local": 0,
        "token_expiry_timestamp_seconds|vault": clock.wall() + 600,
        "bundle_generation|app": 42,
        "bundle_generation|web": 0,
        "ready": 0,
        f"build_info|{__version__}": 1,
    }
    assert {name: samples[name] for name in expected} == pytest.approx(expected)
    assert "secret_expiry_timestamp_seconds|kv" not in samples
    ledger.remove("kv")
    assert "secret_stale|kv" not in await scraped(metrics)


async def test_no_value_is_in_it(metrics: Metrics, ledger: Ledger) -> None:
    ledger.record("web", Reading(Secret({"key": "hunter2"}), "7"), None)
    metrics(events.SecretStale(secret="web", reason="hunter2", kind="outage"))
    body, _ = await metrics.scrape()
    assert b"web" in body
    assert b"hunter2" not in body


async def test_openmetrics_where_it_is_accepted(metrics: Metrics) -> None:
    metrics(request())
    body, content_type = await metrics.scrape(
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    parsed = open_families(body.decode())  # type: ignore[no-untyped-call]
    names = {family.name for family in parsed}
    assert "leasehold_requests" in names
    body, content_type = await metrics.scrape("*/*")
    assert content_type.startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=9", ";;,=,"]
)
async def test_any_accept_header_has_an_answer(metrics: Metrics, accept: str) -> None:
    body, _ = await metrics.scrape(accept)
    assert b"leasehold_build_info" in body


async def test_the_document_names_exactly_the_metrics_there_are(
    metrics: Metrics, ledger: Ledger
) -> None:
    body, _ = await metrics.scrape()
    there = {_documented(family) for family in families(body.decode())}
    there = {name for name in there if name.startswith("leasehold_")}
    table = re.findall(r"^\| `(leasehold_\w+)`", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(there)


async def test_the_document_uses_no_other_names(metrics: Metrics) -> None:
    body, _ = await metrics.scrape()
    text = DOCUMENT.read_text()
    there = {_documented(family) for family in families(body.decode())}
    used = set(re.findall(r"\bleasehold_\w+", text))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used} <= there


def _documented(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else str(family.name)

"""What /status, readiness and the line for systemd say, as events and the ledger tell it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent.config.model import Configuration
from agent.core.clock import rfc3339
from agent.core.events import (
    BundleConfirmed,
    BundleCurrent,
    BundleFailed,
    BundleMoved,
    BundleNotified,
    BundlePublished,
    BundleRestored,
    BundleRolledBack,
    Event,
    LoggedIn,
    LoginFailed,
    RequestDone,
    StoreBack,
    StoreDown,
    TokenLost,
    TokenRenewed,
)
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock

DOCUMENT = Path(__file__).parents[3] / "docs/observability.md"

LOGGED_IN = LoggedIn(store="vault", method="approle", ttl_seconds=600.0)
REFUSED = LoginFailed(store="vault", method="jwt", reason="bad hunter2")
DOWN = StoreDown(store="vault", reason="refused, hunter2")
LOST = TokenLost(store="vault", leases=3, reason="it was revoked")
FAILED = BundleFailed(bundle="app", step="render", reason="no field hunter2")
ROLLED_BACK = BundleRolledBack(bundle="app", generation=2, restored=1, reason="no answer")


def published(bundle: str = "app", generation: int = 1) -> BundlePublished:
    return BundlePublished(bundle=bundle, generation=generation, secrets=[], changed_files=["file"])


def current(generation: int) -> BundleCurrent:
    return BundleCurrent(bundle="app", generation=generation)


def request(outcome: str) -> RequestDone:
    return RequestDone(store="vault", operation="read", seconds=0.1, outcome=outcome)


def in_seconds(clock: JumpClock, seconds: float) -> str:
    return rfc3339(clock.wall() + seconds)


# --- secrets ----------------------------------------------------------------------------------


async def test_secrets_are_read_from_the_ledger(
    status: Status, ledger: Ledger, clock: JumpClock
) -> None:
    ledger.record("web", Reading(Secret({"key": "hunter2"}), "7"), clock.now() + 90)
    ledger.next_due("web", clock.now() + 60)
    ledger.stale("db", "hunter2 is denied", "denied")
    secrets = status.as_dict()["secrets"]
    assert secrets["web"] == {
        "version": "7",
        "state": "fresh",
        "stale": False,
        "stale_since": None,
        "reason": None,
        "read_at": in_seconds(clock, 0),
        "expires_at": in_seconds(clock, 90),
        "next_at": in_seconds(clock, 60),
        "lease": None,
    }
    assert secrets["db"] == {
        "version": None,
        "state": "waiting",
        "stale": False,
        "stale_since": in_seconds(clock, 0),
        "reason": "[redacted] is denied",
        "read_at": None,
        "expires_at": None,
        "next_at": None,
        "lease": None,
    }
    assert "hunter2" not in json.dumps(status.as_dict())


@pytest.mark.parametrize(
    ("is_renewable", "lasts", "renewable"),
    [(True, 90.0, True), (False, 90.0, False), (True, 30.0, False)],
    ids=["renewable", "not renewable", "at its maximum"],
)
async def test_a_lease_says_when_it_began_and_whether_it_can_go_on(
    status: Status,
    ledger: Ledger,
    clock: JumpClock,
    is_renewable: bool,
    lasts: float,
    renewable: bool,
) -> None:
    term = Term(began_at=clock.now() - 10, lasts=lasts, is_renewable=is_renewable, full=90.0)
    ledger.record("db", Reading(Secret({}), "1", Lease("id", term)), term.ends_at)
    lease = status.as_dict()["secrets"]["db"]["lease"]
    assert lease == {"began_at": in_seconds(clock, -10), "renewable": renewable}


async def test_a_stale_and_an_expired_secret_say_so(
    status: Status, ledger: Ledger, clock: JumpClock
) -> None:
    ledger.record("web", Reading(Secret({}), "7"), None)
    since = in_seconds(clock, 0)
    ledger.stale("web", "nobody answered", "outage")
    await clock.advance(30)
    web = status.as_dict()["secrets"]["web"]
    assert (web["state"], web["stale"], web["stale_since"]) == ("stale", True, since)
    ledger.expired("web")
    web = status.as_dict()["secrets"]["web"]
    assert (web["state"], web["stale"]) == ("expired", True)


async def test_the_document_shows_what_there_is(status: Status, ledger: Ledger) -> None:
    ledger.record("web", Reading(Secret({}), "7"), None)
    pattern = re.compile(r"^`/status`:\n\n```json\n(.*?)```", re.MULTILINE | re.DOTALL)
    (block,) = pattern.findall(DOCUMENT.read_text())
    shown, there = json.loads(block), status.as_dict()
    assert list(shown) == list(there)
    for part in there:
        (example,) = shown[part].values()
        assert all(list(each) == list(example) for each in there[part].values())


# --- stores -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([], "logging_in", None),
        ([LOGGED_IN], "up", None),
        ([REFUSED], "logging_in", "bad [redacted]"),
        ([LOGGED_IN, REFUSED], "up", "bad [redacted]"),
        ([LOGGED_IN, DOWN], "down", "refused, [redacted]"),
        ([LOGGED_IN, DOWN, StoreBack(store="vault", down_seconds=3)], "up", None),
        ([DOWN, StoreBack(store="vault", down_seconds=3)], "logging_in", None),
        ([LOGGED_IN, LOST], "logging_in", "it was revoked"),
        ([LOGGED_IN, LOST, request("denied")], "logging_in", "it was revoked"),
        ([LOGGED_IN, LOST, LOGGED_IN], "up", None),
        ([LOGGED_IN, LOST, request("ok")], "up", None),
        ([request("ok")], "logging_in", None),
        ([StoreDown(store="gone", reason="x")], "logging_in", None),
    ],
)  # fmt: skip
async def test_a_store_is_as_its_events_say(
    status: Status, events: list[Event], state: str, reason: str | None
) -> None:
    for event in events:
        status(event)
    store = status.as_dict()["stores"]["vault"]
    assert (store["state"], store["reason"]) == (state, reason)


async def test_a_store_says_since_when_and_until_when(status: Status, clock: JumpClock) -> None:
    await clock.advance(10)
    status(LOGGED_IN)
    logged_in_at, expires_at = in_seconds(clock, 0), in_seconds(clock, 600)
    await clock.advance(300)
    assert status.as_dict()["stores"]["vault"] == {
        "state": "up",
        "since": logged_in_at,
        "reason": None,
        "logged_in_at": logged_in_at,
        "token_expires_at": expires_at,
    }
    status(TokenRenewed(store="vault", ttl_seconds=500.0))
    assert status.as_dict()["stores"]["vault"]["token_expires_at"] == in_seconds(clock, 500)
    status(LOST)
    lost = status.as_dict()["stores"]["vault"]
    assert (lost["token_expires_at"], lost["since"]) == (None, in_seconds(clock, 0))


async def test_a_local_store_needs_no_login(status: Status) -> None:
    assert status.as_dict()["stores"]["local"]["state"] == "up"
    status(StoreDown(store="local", reason="no file"))
    assert status.as_dict()["stores"]["local"]["state"] == "down"
    status(StoreBack(store="local", down_seconds=1))
    assert status.as_dict()["stores"]["local"]["state"] == "up"


# --- bundles ----------------------------------------------------------------------------------

NOTIFIED = BundleNotified(bundle="app", generation=1, target="app.service", seconds=0.1)
CONFIRMED = BundleConfirmed(bundle="app", generation=1, seconds=0.1)
RESTORED = BundleRestored(bundle="app", generation=1, seconds=0.1)


def moved(state: str) -> BundleMoved:
    return BundleMoved(bundle="app", state=state)


@pytest.mark.parametrize(
    ("events", "state", "generation", "step", "reason"),
    [
        ([], "waiting", 0, None, None),
        ([published()], "published", 1, None, None),
        ([published(), NOTIFIED], "notified", 1, None, None),
        ([published(), NOTIFIED, CONFIRMED], "confirmed", 1, None, None),
        ([FAILED], "failed", 0, "render", "no field [redacted]"),
        ([published(), FAILED], "failed", 1, "render", "no field [redacted]"),
        ([published(), NOTIFIED, FAILED, current(1)], "notified", 1, None, None),
        ([FAILED, published()], "published", 1, None, None),
        ([current(42)], "published", 42, None, None),
        ([FAILED, current(42)], "published", 42, None, None),
        ([published(generation=2), ROLLED_BACK], "rolled_back", 1, "confirm", "no answer"),
        ([published(), moved("validating")], "validating", 1, None, None),
        ([published(), moved("rendering"), moved("waiting")], "published", 1, None, None),
        ([FAILED, moved("comparing"), moved("waiting")],
         "failed", 0, "render", "no field [redacted]"),
        ([published(generation=2), ROLLED_BACK, moved("rolling_back"), RESTORED, moved("waiting")],
         "rolled_back", 1, "confirm", "no answer"),
        ([published(), NOTIFIED, RESTORED], "confirmed", 1, None, None),
        ([published(generation=2), ROLLED_BACK, NOTIFIED, RESTORED, moved("waiting")],
         "rolled_back", 1, "confirm", "no answer"),
        ([published(generation=2), ROLLED_BACK, FAILED, NOTIFIED, moved("waiting")],
         "rolled_back", 1, "confirm", "no answer"),
        ([published(generation=2), ROLLED_BACK, NOTIFIED, RESTORED, current(1)],
         "confirmed", 1, None, None),
        ([published(generation=2), ROLLED_BACK, NOTIFIED, RESTORED, published(generation=3)],
         "published", 3, None, None),
        ([published(generation=2), NOTIFIED, FAILED, RESTORED], "confirmed", 1, None, None),
    ],
)  # fmt: skip
async def test_a_bundle_is_as_its_events_say(
    status: Status,
    events: list[Event],
    state: str,
    generation: int,
    step: str | None,
    reason: str | None,
) -> None:
    for event in events:
        status(event)
    bundles = status.as_dict()["bundles"]
    confirmed_at = bundles["app"].pop("confirmed_at")
    assert bundles["app"] == {
        "state": state,
        "generation": generation,
        "step": step,
        "reason": reason,
    }
    assert (confirmed_at is not None) == (CONFIRMED in events)
    assert bundles["web"]["state"] == "waiting"


# --- readiness --------------------------------------------------------------------------------


async def test_ready_once_every_bundle_is_published(status: Status) -> None:
    assert status.missing() == ["bundle app", "bundle web"]
    status(published("app"))
    assert status.missing() == ["bundle web"]
    assert not status.is_ready() and not status.is_started()
    status(BundleCurrent(bundle="web", generation=17))
    assert status.is_ready() and status.is_started()


async def test_not_ready_before_the_process_was_started(
    ledger: Ledger, clock: JumpClock, configuration: Configuration
) -> None:
    started: list[bool] = []
    status = Status(ledger, clock, redact=str, is_process_started=lambda: bool(started))
    status.expect(configuration)
    status(published("app"))
    status(published("web"))
    assert status.missing() == ["process"]
    started.append(True)
    assert status.is_ready()


async def test_a_failure_later_does_not_take_readiness_back(status: Status) -> None:
    for event in (published("app"), published("web"), FAILED, DOWN):
        status(event)
    assert status.is_ready()


async def test_a_reload_changes_what_readiness_means_and_keeps_what_is_known(
    status: Status, configuration: Configuration
) -> None:
    app, web = configuration.bundles["app"], configuration.bundles["web"]
    status(published("app"))
    status(LOGGED_IN)
    stores = configuration.stores
    status.expect(Configuration(stores=stores, bundles={"app": app}))
    assert status.is_ready()
    status.expect(Configuration(stores=stores, bundles={"app": app, "new": web}))
    assert status.missing() == ["bundle new"]
    assert not status.is_ready() and status.is_started()
    assert status.as_dict()["stores"]["vault"]["state"] == "up"
    assert set(status.as_dict()["bundles"]) == {"app", "new"}


async def test_the_summary_is_one_short_line(
    status: Status, ledger: Ledger, clock: JumpClock
) -> None:
    assert status.summary() == (
        "no secrets yet; bundles 0/2; vault: logging_in; waiting for bundle app, bundle web"
    )
    for number in range(13):
        ledger.record(f"secret{number}", Reading(Secret({}), "1"), None)
    ledger.stale("secret3", "nobody answered", "outage")
    for event in (LOGGED_IN, published("app"), published("web")):
        status(event)
    assert status.summary() == "12 secrets fresh, 1 stale; bundles 2/2"

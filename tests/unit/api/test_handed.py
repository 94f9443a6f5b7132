"""What callers were given outlives its replacement by its grace, and has no say otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.api.handed import DEFAULT_GRACE, HandedOut
from agent.core.book import Book, KeptSecret, KeptValue
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from tests.rig.clock import JumpClock

GRACE = 60.0


def reading(clock: JumpClock, version: str, *, has_lease: bool = True) -> Reading:
    term = Term(clock.now(), 3600.0, True, 3600.0)
    lease = Lease(version, term, "token") if has_lease else None
    return Reading(Secret({"password": version}), version, lease)


class Site:
    """A ledger that a test writes, with all that was handed out of it."""

    def __init__(self, clock: JumpClock) -> None:
        self.clock, self.ledger = clock, Ledger(clock)
        self.graces: dict[str, float] = {"db": GRACE, "web": GRACE}
        self.handed = HandedOut(self.ledger, clock, self.graces.get)

    def put(self, name: str, version: str, *, has_lease: bool = True) -> int:
        self.ledger.record(name, reading(self.clock, version, has_lease=has_lease), None)
        return self.ledger.entry(name).revision

    def give(self, name: str = "db") -> None:
        self.handed.gave(self.ledger.entry(name))

    def held(self, name: str = "db") -> frozenset[int]:
        return self.ledger.held(name)


@pytest.fixture
async def site(clock: JumpClock) -> AsyncIterator[Site]:
    site = Site(clock)
    running = asyncio.get_running_loop().create_task(site.handed.run())
    await clock.settle()
    yield site
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def test_what_was_given_is_held_until_its_grace_is_over(site: Site) -> None:
    old = site.put("db", "1")
    site.give()
    new = site.put("db", "2")
    site.give()
    assert site.held() == {old, new}
    await site.clock.advance(GRACE - 1)
    assert site.held() == {old, new}
    await site.clock.advance(1)
    assert site.held() == {new}


async def test_the_grace_begins_with_the_replacement(site: Site) -> None:
    old = site.put("db", "1")
    site.give()
    await site.clock.advance(10 * GRACE)
    site.put("db", "2")
    await site.clock.advance(GRACE - 1)
    assert old in site.held()


async def test_what_nobody_was_given_is_not_held(site: Site) -> None:
    site.put("db", "1")
    given = site.put("db", "2")
    site.give()
    site.put("db", "3")
    site.put("web", "1")
    assert site.held() == {given} and not site.held("web")


async def test_each_secret_has_its_own_time(site: Site) -> None:
    site.graces["web"] = 5.0
    for name in ("db", "web"):
        site.put(name, "1")
        site.give(name)
        site.put(name, "2")
    await site.clock.advance(5)
    assert site.held("db") and not site.held("web")


async def test_without_grace_or_lease_nothing_is_held(site: Site) -> None:
    site.graces["db"] = 0.0
    site.put("db", "1")
    site.give("db")
    site.put("web", "1", has_lease=False)
    site.give("web")
    assert not site.held("db") and not site.held("web")


async def test_a_value_put_back_has_its_grace_anew(site: Site) -> None:
    old = site.put("db", "1")
    site.give()
    before = site.ledger.entry("db").reading
    assert before is not None
    refused = site.put("db", "2")
    site.give()
    site.ledger.resume(
        "db", before, old, read_at=0, expires_at=None, stale_since=0, reason="x", kind="refused"
    )
    await site.clock.advance(GRACE)
    assert site.held() == {old}, "the refused one had its time, the one put back is in use"
    site.put("db", "3")
    await site.clock.advance(GRACE - 1)
    assert site.held() == {old} and refused not in site.held()


async def test_a_removed_secret_has_the_grace_that_it_had(site: Site) -> None:
    site.graces["db"] = 5.0
    site.put("db", "1")
    site.give()
    del site.graces["db"]
    site.ledger.remove("db")
    await site.clock.advance(4)
    assert site.held()
    await site.clock.advance(1)
    assert not site.held()


async def test_a_bundle_that_rejects_is_heeded_though_callers_were_given_the_value(
    site: Site,
) -> None:
    revision = site.put("db", "1")
    site.give()
    site.ledger.hold("bundle", {"db": [revision]})
    site.ledger.release("bundle")
    site.ledger.reject("db", revision, "no login")
    site.ledger.hold("another guest", {"db": [revision]}, is_guest=True)
    assert site.ledger.heed_rejection("db") == "no login"
    assert site.held() == {revision} and not site.ledger.judged("db")


async def test_what_the_run_before_left_has_its_grace(clock: JumpClock) -> None:
    def kept(revision: int, *, has_lease: bool = True) -> KeptValue:
        made = reading(clock, str(revision), has_lease=has_lease)
        return KeptValue.of(made, revision=revision, read_at=0, proven_at=0)

    site = Site(clock)
    del site.graces["db"]  # it is not at work yet
    secrets = {"db": KeptSecret("s", "p", kept(7), [kept(5), kept(6, has_lease=False)])}
    site.handed.restore(
        Book("", "", 0, 0, secrets, departed=[("gone", secrets["db"])]), {"db": 5.0}
    )
    assert site.held() == {5, 7} == site.held("gone")
    site.ledger.resume(
        "db",
        kept(7).reading(),
        7,
        read_at=0,
        expires_at=None,
        stale_since=0,
        reason="x",
        kind="cached",
    )
    running = asyncio.get_running_loop().create_task(site.handed.run())
    await clock.advance(5)
    assert site.held() == {7} and site.held("gone") == {5, 7}
    await clock.advance(DEFAULT_GRACE - 5)
    assert not site.held("gone")
    site.put("db", "8")
    await clock.advance(5)
    assert not site.held()
    running.cancel()
    await asyncio.wait([running])

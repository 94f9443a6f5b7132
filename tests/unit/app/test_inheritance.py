"""Who takes up what an earlier run has left."""

from __future__ import annotations

from msgspec.structs import replace

from agent.app.inheritance import EMPTY, Inheritance, leases_left
from agent.config.model import Configuration, SecretEntry
from agent.core.book import Book, KeptBundle, KeptSecret, KeptStore, KeptValue
from agent.core.lease import Lease, Term
from agent.stores.base import Store
from agent.watcher.keeping import place_of
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore

DATABASE = SecretEntry(store="store", path="database/creds/app")
MOVED = SecretEntry(store="store", path="database/creds/other")


def kept(number: int, spec: SecretEntry = DATABASE, *, is_minting: bool = False) -> KeptSecret:
    """A secret with one leased value, revision `number`, that ends at 100."""
    lease = Lease(f"token-1/{number}", Term(0.0, 100.0, True, 100.0), "token-1")
    value = KeptValue(number, {"number": number}, str(number), 0.0, 0.0, lease)
    return KeptSecret(spec.store, place_of(spec.store, spec), value, [], is_minting)


def sorted_for(book: Book, clock: JumpClock, **secrets: SecretEntry) -> Inheritance:
    stores: dict[str, Store] = {"store": ScriptedStore(clock)}
    return Inheritance(book, Configuration(secrets=secrets), stores)


def book_of(clock: JumpClock, **parts: object) -> Book:
    return replace(EMPTY, stores={"store": ScriptedStore(clock).kept()}, **parts)


async def test_the_same_secret_goes_on(clock: JumpClock) -> None:
    left = sorted_for(book_of(clock, secrets={"db": kept(3)}), clock, db=DATABASE)
    assert left.secrets == {"db": kept(3)} and not left.departed
    assert left.highest_revision == 3
    assert [(name, is_ending) for name, _, is_ending in left.stores()] == [("store", False)]
    assert not list(left.left_behind(0.0))


async def test_one_that_moved_and_one_that_is_gone_are_only_given_back(clock: JumpClock) -> None:
    secrets = {"db": kept(3), "old": kept(4)}
    left = sorted_for(book_of(clock, secrets=secrets), clock, db=MOVED)
    assert not left.secrets
    assert [(name, each.current) for name, each in left.departed] == [("db", None), ("old", None)]
    assert [[value.revision for value in each.former] for _, each in left.departed] == [[3], [4]]


async def test_what_had_departed_stays_so_unless_the_configuration_came_back(
    clock: JumpClock,
) -> None:
    book = book_of(clock, secrets={"db": kept(5, MOVED)}, departed=[("db", kept(3))])
    left = sorted_for(book, clock, db=MOVED)
    assert left.secrets["db"].current == kept(5).current
    assert [each.former[0].revision for _, each in left.departed] == [3]
    left = sorted_for(book, clock, db=DATABASE)
    assert left.secrets["db"].current == kept(3).current
    assert [each.former[0].revision for _, each in left.departed] == [5]
    assert left.highest_revision == 5


async def test_another_store_or_identity_takes_up_nothing_and_tells_what_is_left(
    clock: JumpClock,
) -> None:
    secrets = {"db": kept(3), "plain": replace(kept(4), current=None)}
    for place in ("another", "gone"):
        store = {"store" if place == "another" else "gone": KeptStore(place)}
        moved = {name: replace(each, store=next(iter(store))) for name, each in secrets.items()}
        book = replace(EMPTY, stores=store, secrets=moved)
        left = sorted_for(book, clock, db=DATABASE)
        assert not left.secrets and not left.departed and not list(left.stores())
        (told,) = left.left_behind(40.0)
        assert (told.leases, told.ends_after) == (1, 60.0)
        assert not list(left.left_behind(100.0)), "over"


async def test_a_mint_that_nobody_knows_the_end_of_ends_the_identity_of_its_store(
    clock: JumpClock,
) -> None:
    for book in (
        book_of(clock, secrets={"db": kept(3, is_minting=True)}),
        book_of(clock, departed=[("db", kept(3, MOVED, is_minting=True))]),
    ):
        left = sorted_for(book, clock, db=DATABASE)
        assert [(name, is_ending) for name, _, is_ending in left.stores()] == [("store", True)]


async def test_only_bundles_that_are_there_go_on(clock: JumpClock) -> None:
    book = book_of(
        clock, bundles={"app": KeptBundle(1, {"db": 3}), "gone": KeptBundle(1, {"db": 2})}
    )
    assert list(sorted_for(book, clock).bundles({"app", "new"})) == [
        ("app", KeptBundle(1, {"db": 3}))
    ]


async def test_what_is_left_at_the_end_is_what_lives(clock: JumpClock) -> None:
    store = ScriptedStore(clock)
    now = clock.now()
    lease = Lease("token-1/1", Term(now, 100.0, True, 100.0), "token-1")
    value = KeptValue(1, {}, "1", now, now, lease)
    secret = KeptSecret("store", "", value, [replace(value, revision=2)])
    book = replace(EMPTY, secrets={"db": secret})
    (told,) = leases_left(book, {"store": store}, now + 40, "no time")
    assert (told.secret, told.leases, told.reason, told.ends_after) == ("db", 2, "no time", 60.0)
    assert not list(leases_left(book, {"store": store}, now + 100, "no time"))
    store.loses_token()
    assert not list(leases_left(book, {"store": store}, now, "no time"))

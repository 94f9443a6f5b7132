"""A bundle's transactions with real files and commands, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.config.model import Bundle as BundleSpec
from agent.config.model import ConfirmCommand, InlineFile, NotifyCommand, Validate
from agent.core.errors import DeliveryError
from agent.core.events import (
    BundleConfirmed,
    BundleDrilled,
    BundleFailed,
    BundleMoved,
    BundlePublished,
    BundleRestored,
    BundleRolledBack,
)
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.delivery.bundle import Bundle
from agent.ledger import Ledger
from tests.rig.app import Diary
from tests.rig.clock import JumpClock
from tests.rig.stores import Changes, Recorder

CONFIRM_SECONDS = 2.0


class Scene:
    """One secret `db`, whose watcher is the test, and one bundle with an app of two commands."""

    def __init__(self, folder: Path, memory: Path, clock: JumpClock) -> None:
        self.clock, self.ledger, self.events = clock, Ledger(clock), Recorder()
        self.told, self.proof = Diary(folder, "told"), Diary(folder, "proof")
        self.check = Diary(folder, "check")
        self.file = memory / "app" / "password"
        self.spec = BundleSpec(
            directory=memory / "app",
            files={"password": InlineFile(content="{{ db.password }}")},
            debounce=0.0,
            validate=Validate(command=tuple(self.check.command)),
            notify=(NotifyCommand(command=tuple(self.told.command)),),
            confirm=ConfirmCommand(
                command=tuple(self.proof.command), timeout=CONFIRM_SECONDS, every=1.0
            ),
        )

    def rotate(self, password: str, *, ttl: float | None = 600.0) -> int:
        """A new value, and its revision; the one before is kept while it is held."""
        before = self.ledger.entry("db")
        now = self.clock.now()
        lease = None if ttl is None else Lease(password, Term(now, ttl, True, ttl), "token")
        ends_at = None if ttl is None else now + ttl
        reading = Reading(Secret({"password": password}), password, lease)
        self.ledger.record("db", reading, ends_at)
        if before.reading is not None:
            self.ledger.former("db", before.revision, before.expires_at)
        return self.ledger.entry("db").revision

    def bundle(self, **changed: Any) -> Bundle:
        return Bundle(
            "app",
            msgspec.structs.replace(self.spec, **changed),
            self.ledger,
            clock=self.clock,
            emit=self.events,
            changes=Changes(),
            environment={},
        )

    @asynccontextmanager
    async def running(self, bundle: Bundle) -> AsyncIterator[Bundle]:
        """Until it is left; then it has been cancelled."""
        task = asyncio.get_running_loop().create_task(bundle.run(), name="bundle")
        try:
            yield bundle
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, kind: type[Any], number: int = 1) -> Any:
        """The so-manieth event of a kind, letting time pass."""
        await self.clock.run_until(lambda: len(self.events.all(kind)) >= number, within=300)
        return self.events.all(kind)[number - 1]

    def held(self) -> frozenset[int]:
        return self.ledger.held("db")


@pytest.fixture
async def scene(tmp_path: Path, memory_directory: Path) -> Scene:
    return Scene(tmp_path, memory_directory, JumpClock(idle_seconds=0.1))


async def at_rest(scene: Scene, bundle: Bundle) -> None:
    await scene.clock.run_until(bundle.completed.is_set, within=60)


async def test_the_old_value_is_held_until_the_new_one_is_proven(scene: Scene) -> None:
    first = scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        assert scene.held() == {first} and bundle.proven == {"db": first}
        scene.proof.fail()
        second = scene.rotate("two")
        await scene.until(BundlePublished, 2)
        assert scene.held() == {first, second} and scene.file.read_text() == "two"
        scene.proof.recover()
        await scene.until(BundleConfirmed)
        await scene.clock.settle()
        assert scene.held() == {second} and bundle.proven == {"db": second}


async def test_what_is_not_confirmed_is_put_back_and_refused_once_that_is_proven(
    scene: Scene,
) -> None:
    first = scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.proof.fail()
        second = scene.rotate("two")
        back = await scene.until(BundleRolledBack)
        assert (back.generation, back.restored) == (2, 1)
        assert scene.file.read_text() == "one"
        assert scene.ledger.heed_rejection("db") is None and scene.held() == {first, second}
        scene.proof.recover()
        await scene.until(BundleRestored)
        await scene.clock.settle()
        assert scene.held() == {first} and bundle.proven == {"db": first}
        assert "exit code 1" in (scene.ledger.heed_rejection("db") or "")
        third = scene.rotate("three")
        await scene.until(BundleConfirmed)
        await scene.clock.settle()
        assert scene.file.read_text() == "three" and scene.held() == {third}
    assert [each.split()[1] for each in scene.told.entries()] == ["2", "1", "3"]
    states = [each.state for each in scene.events.all(BundleMoved)]
    assert "validating" in states and "rolling_back" in states


async def test_what_is_dead_is_not_put_back(scene: Scene) -> None:
    scene.rotate("one", ttl=CONFIRM_SECONDS)
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.proof.fail()
        second = scene.rotate("two")
        failed = await scene.until(BundleFailed)
        assert failed.step == "confirm" and failed.retry_after
        assert scene.file.read_text() == "two" and second in scene.held()
        assert not scene.events.all(BundleRolledBack)
        scene.proof.recover()
        await scene.until(BundleConfirmed)
    assert len(scene.told.entries()) == 1, "the app knows, and is only asked again"


async def test_an_app_that_never_confirms_is_not_kept_on_a_value_that_dies(scene: Scene) -> None:
    """A lease that is shorter than `confirm.timeout`: the next value has its turn in time."""
    confirm = ConfirmCommand(command=tuple(scene.proof.command), timeout=600.0, every=1.0)
    scene.proof.fail()
    async with scene.running(scene.bundle(confirm=confirm, notify_first=True)):
        scene.rotate("one", ttl=60.0)
        await scene.until(BundlePublished)
        await scene.clock.advance(40)
        arrived_at = scene.clock.now()
        scene.rotate("two", ttl=60.0)
        assert "newer ones are there" in (await scene.until(BundleFailed)).reason
        assert scene.clock.now() - arrived_at == pytest.approx(10, abs=2), "half of what is left"
        await scene.until(BundlePublished, 2)
        assert scene.file.read_text() == "two"
        scene.proof.recover()
        await scene.until(BundleConfirmed)
        assert len(scene.events.all(BundleFailed)) == 1


async def test_an_app_that_hangs_while_it_is_told_is_not_either(scene: Scene) -> None:
    script = "test $LEASEHOLD_GENERATION = 2 || exec sleep 60"
    notify = (NotifyCommand(command=("/bin/sh", "-c", script), timeout=600.0),)
    async with scene.running(scene.bundle(notify=notify, notify_first=True)):
        scene.rotate("one", ttl=60.0)
        await scene.until(BundlePublished)
        scene.rotate("two", ttl=60.0)
        failed = await scene.until(BundleFailed)
        assert failed.step == "notify" and "newer ones are there" in failed.reason
        await scene.until(BundleConfirmed)
        assert scene.file.read_text() == "two"


async def test_an_app_has_its_time_to_confirm_a_value_without_an_end(scene: Scene) -> None:
    confirm = ConfirmCommand(command=tuple(scene.proof.command), timeout=100.0, every=1.0)
    scene.proof.fail()
    async with scene.running(scene.bundle(confirm=confirm, notify_first=True)):
        scene.rotate("one", ttl=None)
        await scene.until(BundlePublished)
        began_at = scene.clock.now()
        scene.rotate("two", ttl=None)
        await scene.until(BundleFailed)
        assert scene.clock.now() - began_at >= 99


async def test_after_a_restart_a_leased_value_is_put_back_only_if_it_is_known(
    scene: Scene,
) -> None:
    first = scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        kept = bundle.kept()
    second = scene.rotate("two")
    scene.proof.fail()
    async with scene.running(scene.bundle()):
        await scene.until(BundleFailed)
        assert scene.file.read_text() == "two"
    again = scene.bundle()
    again.restore(kept)
    assert scene.held() >= {first}
    async with scene.running(again):
        await scene.until(BundleRolledBack)
        assert scene.file.read_text() == "one" and scene.held() == {first, second}


async def test_a_generation_is_not_put_back_whose_values_the_run_before_had_not_kept_yet(
    scene: Scene,
) -> None:
    """Killed between its two records: in the directory is a newer one than in the book."""
    first = scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        kept = bundle.kept()
        second = scene.rotate("two")
        await scene.until(BundleConfirmed)
        await at_rest(scene, bundle)
        assert (kept.generation, bundle.kept().generation) == (1, 2)
    again = scene.bundle()
    again.restore(kept, {"db": frozenset({first, second})})
    third = scene.rotate("three")
    scene.proof.fail()
    async with scene.running(again):
        await scene.until(BundleFailed)
        assert scene.file.read_text() == "three", "an older one could not be told from a newer"
        assert scene.held() == {first, second, third}


async def test_a_second_rotation_goes_back_to_what_was_proven_not_to_what_was_last(
    scene: Scene,
) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.told.fail()
        scene.rotate("two")
        assert (await scene.until(BundleFailed)).step == "notify"
        scene.proof.fail()
        scene.told.recover()
        scene.rotate("three")
        back = await scene.until(BundleRolledBack)
        assert (back.restored, scene.file.read_text()) == (1, "one")


async def test_a_candidate_that_is_refused_is_tried_again_after_a_pause_only(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.check.fail()
        scene.rotate("two")
        failed = await scene.until(BundleFailed)
        checks = len(scene.check.entries())
        for _ in range(3):
            bundle._wake.set()
            await scene.clock.settle()
        assert len(scene.check.entries()) == checks, "nothing is different"
        await scene.until(BundleFailed, 2)
        assert failed.step == "validate" and scene.file.read_text() == "one"
        scene.check.recover()
        await scene.until(BundleConfirmed)


async def test_its_next_shape_holds_what_the_app_may_be_using(scene: Scene) -> None:
    first = scene.rotate("one")
    former = scene.bundle()
    async with scene.running(former):
        await at_rest(scene, former)
        scene.proof.fail()
        second = scene.rotate("two")
        await scene.until(BundleFailed)
    fresh = scene.bundle(debounce=0.5)
    fresh.take_over(former)
    third = scene.rotate("three")
    async with scene.running(fresh):
        await scene.clock.settle()
        assert scene.held() == {first, second, third}


async def test_what_no_app_has_confirmed_is_put_back_at_a_failed_end(scene: Scene) -> None:
    scene.rotate("one")
    bundle = scene.bundle()
    async with scene.running(bundle):
        await at_rest(scene, bundle)
        scene.told.fail()
        scene.rotate("two")
        await scene.until(BundleFailed)
        assert scene.file.read_text() == "two"
    await bundle.put_back()
    assert scene.file.read_text() == "one" and bundle.generation == 1
    await bundle.put_back()
    assert len(scene.events.all(BundleRolledBack)) == 1


# --- drills -----------------------------------------------------------------------------------


async def drilled(scene: Scene, bundle: Bundle, fail: str | None = None) -> Any:
    asking = asyncio.get_running_loop().create_task(bundle.drill(fail), name="asking")
    await scene.clock.run_until(asking.done, within=60)
    return asking.result()


async def test_a_drill_shows_each_step_and_leaves_the_values(scene: Scene) -> None:
    first = scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        report = await drilled(scene, bundle)
        assert (report.outcome, report.generation) == ("survived", 2)
        assert [each.step for each in report.steps] == ["validate", "publish", "notify", "confirm"]
        assert all(each.ok for each in report.steps)
        assert scene.file.read_text() == "one" and bundle.generation == 2
        assert scene.held() == {first} and scene.ledger.heed_rejection("db") is None
    assert scene.told.entries() == ["app 2 "]


async def test_a_drill_proves_the_way_back(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        report = await drilled(scene, bundle, "confirm")
        assert (report.outcome, report.generation, bundle.generation) == ("rolled_back", 2, 1)
        assert [each.step for each in report.steps if each.ok] == [
            "validate",
            "publish",
            "notify",
            "restore",
            "notify again",
            "confirm again",
        ]
        assert scene.ledger.heed_rejection("db") is None
        assert not scene.events.all(BundleRolledBack, BundleFailed), "nobody is alarmed"
        assert (await drilled(scene, bundle)).outcome == "survived"
    assert [each.split()[1] for each in scene.told.entries()] == ["2", "1", "3"]


async def test_a_drill_that_is_refused_by_the_check_publishes_nothing(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.check.fail()
        report = await drilled(scene, bundle)
        assert (report.outcome, report.generation) == ("failed", 1)
        assert [each.ok for each in report.steps] == [False]
        scene.check.recover()
        assert (await drilled(scene, bundle)).outcome == "survived"


async def test_a_drill_after_which_the_app_is_lost_goes_on_as_a_failure(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        scene.proof.fail()
        assert (await drilled(scene, bundle)).outcome == "failed"
        assert scene.events.all(BundleFailed)
        with pytest.raises(DeliveryError, match="has failed"):
            await bundle.drill()
        scene.proof.recover()
        await scene.until(BundleRestored)


async def test_a_drill_of_one_that_tells_nobody_says_so(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle(notify=(), confirm=None)) as bundle:
        await at_rest(scene, bundle)
        report = await drilled(scene, bundle)
        assert report.outcome == "survived"
        assert report.steps[-1].reason == "nobody is told: the bundle has no `notify`"


async def test_no_drill_before_anything_is_published_nor_beside_another(scene: Scene) -> None:
    async with scene.running(scene.bundle()) as bundle:
        with pytest.raises(DeliveryError, match="nothing was published"):
            await bundle.drill()
        scene.rotate("one")
        await at_rest(scene, bundle)
        first = asyncio.get_running_loop().create_task(bundle.drill(), name="first")
        await asyncio.sleep(0)
        with pytest.raises(DeliveryError, match="under way"):
            await bundle.drill()
        first.cancel()
        await scene.until(BundleDrilled)
        assert bundle.generation == 2, "who goes away ends nothing half-way"


async def test_a_drill_is_answered_when_the_bundle_ends(scene: Scene) -> None:
    scene.rotate("one")
    async with scene.running(scene.bundle()) as bundle:
        await at_rest(scene, bundle)
        asking = asyncio.get_running_loop().create_task(bundle.drill(), name="asking")
        await asyncio.sleep(0)
    with pytest.raises(DeliveryError, match="stopped"):
        await asking

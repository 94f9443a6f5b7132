"""How an operation is made to happen in a phase, and how one cell is lived through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.matrix.cells import TTL, Cell, Operation, Phase
from tests.faults.matrix.judgement import Life, is_whole, judge
from tests.faults.matrix.plant import Plant, database_of_a_cell, plant
from tests.faults.matrix.strike import Strike
from tests.rig.bao_client import Bao
from tests.rig.postgres import Postgres

Force = Callable[[Plant], Awaitable[None]]

COME_BY_THEMSELVES = (Operation.TOKEN_RENEWAL, Operation.LEASE_RENEWAL)
"""Those that nobody has to force: they come when a term has run for so long."""

HIT_WITHIN = TTL + 10.0


async def live(cell: Cell, bao: Bao, postgres: Postgres, group: asyncio.TaskGroup) -> str:
    """One cell from an agent's start to its end; what happened, or AssertionError."""
    async with plant(cell, bao, postgres) as here:
        when = here.when(cell.operation)
        strike = Strike(cell, here.scene.proxy, when)
        life = Life(here, strike)
        if cell.phase is Phase.START:
            return await _at_start(life, group)
        await here.put()
        if (cell.operation, cell.phase) == (Operation.REVOKE, Phase.STEADY):
            await _with_a_spare(here)
        else:
            await here.launch()
        await here.agent.event("ready", within=30)
        async with here.app.on(here.scene.memory / "app.sock"):
            working = group.create_task(here.app.work(), name=f"{cell}: app")
            try:
                await _later(life)
                return await judge(life)
            finally:
                working.cancel()


async def _at_start(life: Life, group: asyncio.TaskGroup) -> str:
    """The fault is there before the agent is ready: `kv` has no value yet where that takes time."""
    here, strike, operation = life.plant, life.strike, life.cell.operation
    is_held_up = operation in (*COME_BY_THEMSELVES, Operation.REVOKE)
    if not is_held_up:
        await here.put()
    if operation is not Operation.REVOKE:
        strike.begin()
    await here.launch()
    if operation is Operation.REVOKE:
        await here.agent.event("secret_read", secret="db", within=30)
        strike.begin()
        await here.refresh("db")
    await strike.last(within=HIT_WITHIN)
    assert not here.credential.exists() or not life.must_fail, "ready without what it waits for"
    await life.end()
    if is_held_up:
        await here.put()
        await here.refresh("kv")
    await here.agent.event("ready", within=life.recovery)
    async with here.app.on(here.scene.memory / "app.sock"):
        working = group.create_task(here.app.work(), name=f"{life.cell}: app")
        try:
            await eventually_whole(life)
            return await judge(life)
        finally:
            working.cancel()


async def _later(life: Life) -> None:
    """The fault meets an agent that is ready, or whose app is about to confirm."""
    here, cell, strike = life.plant, life.cell, life.strike
    is_mid_way = cell.phase is Phase.ROTATION and cell.operation in (
        Operation.LOGIN,
        *COME_BY_THEMSELVES,
    )
    if cell.phase is Phase.ROTATION:
        life.before = here.app.user
    if is_mid_way:
        here.app.is_slow = True
        await here.refresh("db")
        await here.agent.event("bundle_notified", generation=2, within=15)
    strike.begin()
    await FORCED.get((cell.operation, cell.phase), _nothing)(here)
    await strike.last(within=HIT_WITHIN)
    await life.end()
    here.app.is_slow = False
    await eventually_whole(life)


async def eventually_whole(life: Life) -> None:
    """Within the time that this cell has from the fault's end."""
    missing: str | None = "not looked yet"
    while missing is not None:
        missing = await is_whole(life)
        is_late = missing is not None and life.left() <= 0
        life.check(not is_late, f"not whole {life.recovery:g} s after the fault's end: {missing}")
        await asyncio.sleep(0.1)


# --- how an operation is made to happen -----------------------------------------------------------


async def _nothing(_: Plant) -> None:
    """It comes by itself."""


async def _new_credential(here: Plant) -> None:
    """A login: another secret-id on disk."""
    fresh = await asyncio.to_thread(here.scene.role.secret_id)
    here.scene.secret_id_file.write_text(fresh)


async def _another_mount(here: Plant) -> None:
    """A preflight: a secret of a mount that was never asked for joins the configuration."""
    scene = here.scene
    other = await asyncio.to_thread(scene.bao.kv, 1)
    await asyncio.to_thread(other.put, "extra", password="extra")
    await asyncio.to_thread(scene.allow, other.api("extra"), "read")
    changed = here.configuration
    changed["secrets"] |= {"extra": {"path": other.cli("extra")}}
    changed["bundles"] |= {"extra": scene.bundle("extra", {"p": "{{ extra.password }}"})}
    here.start.configure(changed)


async def _another_database(here: Plant) -> None:
    """A preflight that a rotation waits for: the credential comes from another mount from now."""
    scene, old = here.scene, here.databases[0]
    new = await asyncio.to_thread(database_of_a_cell, scene.bao, old.postgres, ttl="1h")
    here.databases.insert(0, new)
    await asyncio.to_thread(scene.allow, new.path, "read")
    here.start.configure(here.configuration)


async def _new_value(here: Plant) -> None:
    """A read, within a second: and it has something new to tell."""
    await here.put()


async def _rotate(here: Plant) -> None:
    """A read of the credential, which makes another one, and the end of the one before."""
    await here.refresh("db")


async def _with_a_spare(here: Plant) -> None:
    """At first the configuration has one more credential, which nobody uses."""
    spare = {"path": here.databases[0].path, "refresh_every": "1h"}
    with_spare = here.configuration
    with_spare["secrets"] |= {"spare": spare}
    here.agent = await here.start(with_spare)
    await here.agent.event("secret_read", secret="spare", within=30)


async def _without_the_spare(here: Plant) -> None:
    """A revocation: a secret leaves the configuration."""
    here.start.configure(here.configuration)


FORCED: dict[tuple[Operation, Phase], Force] = {
    (Operation.LOGIN, Phase.STEADY): _new_credential,
    (Operation.LOGIN, Phase.ROTATION): _new_credential,
    (Operation.PREFLIGHT, Phase.STEADY): _another_mount,
    (Operation.PREFLIGHT, Phase.ROTATION): _another_database,
    (Operation.READ, Phase.STEADY): _new_value,
    (Operation.READ, Phase.ROTATION): _rotate,
    (Operation.REVOKE, Phase.STEADY): _without_the_spare,
    (Operation.REVOKE, Phase.ROTATION): _rotate,
}

"""What outlives an agent: an upgrade in place, a cut of the power, a reboot."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.installed import UNIT, WITHIN
from tests.rig.installed_app import PASSWORD, a_service
from tests.rig.postgres import Postgres
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(400)
USER = "/run/leasehold/app/user"


async def test_an_upgrade_in_place_loses_no_lease_and_mints_none(postgres: Postgres) -> None:
    options = ("--reloads", "app.service", "--keep-leases")
    async with a_service(postgres, *options) as here:
        before, user, log = here.vault.leases(), here.read(USER), here.read("/run/app/log")
        tokens = sorted(here.vault.bao.accessors())
        first = await here.pid()
        await here.program("2")
        assert "written" not in await here.install(*options)
        assert (await here.machine.systemctl("restart", UNIT)).returncode == 0
        await here.runs_anew(first)
        assert "leasehold 2" in await here.machine.journal()
        assert here.vault.leases() == before and len(before) == 1
        assert sorted(here.vault.bao.accessors()) == tokens
        assert here.read(USER) == user and here.read("/run/app/log") == log

        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")
        assert here.vault.leases() == before


async def test_the_cache_outlives_a_cut_of_the_power_and_the_files_do_not(
    postgres: Postgres,
) -> None:
    async with a_service(postgres, is_lasting=True) as here:
        leases, user = here.vault.leases(), here.read(USER)
        await here.must("systemctl", "enable", UNIT)
        await here.is_kept()
        await asyncio.to_thread(here.machine.cut)
        disk = await asyncio.to_thread(lambda: list(here.machine.disk.glob("run/leasehold*")))
        assert not disk, "secrets were on the disk"
        await here.machine.up()
        await here.becomes(PASSWORD, "one")
        await here.becomes(USER, user)
        assert here.vault.leases() == leases and len(leases) == 1


async def test_a_reboot_in_order_gives_back_and_begins_anew(postgres: Postgres) -> None:
    async with a_service(postgres, is_lasting=True) as here:
        (lease,) = here.vault.leases()
        await here.must("systemctl", "enable", UNIT)
        await here.machine.down()
        await eventually(lambda: not here.vault.leases(), within=WITHIN)
        await here.machine.up()
        await here.becomes(PASSWORD, "one")
        (again,) = here.vault.leases()
        assert again != lease

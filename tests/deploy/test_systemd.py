"""The service as `leasehold install --systemd` makes it, under a real systemd."""

from __future__ import annotations

import pytest

from tests.rig.installed import PROGRAM, UNIT, WITHIN, Installed, installed
from tests.rig.installed_app import AUDIT, PASSWORD, RELOAD, a_service, bundle, sections
from tests.rig.postgres import Postgres
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(400)
LARGEST_EXPOSURE = 2.0
MAY_RELOAD = ("--reloads", "app.service")
ALLOWED = {"cap_chown", "cap_dac_override", "cap_fowner", "cap_kill"}
CAPABILITIES = {0: "cap_chown", 1: "cap_dac_override", 3: "cap_fowner", 5: "cap_kill"}
CONFIGURATION = "/etc/leasehold/leasehold.yaml"


def capabilities(mask: str) -> set[str]:
    number = int(mask, 16)
    return {CAPABILITIES.get(bit, str(bit)) for bit in range(64) if number >> bit & 1}


async def test_from_nothing_to_a_rotation_and_to_nothing() -> None:
    async with a_service(None, *MAY_RELOAD) as here:
        again = await here.install(*MAY_RELOAD)
        assert "written" not in again and again.count("unchanged ") == 3
        assert await here.owner("/run/leasehold") == "leasehold leasehold 755"
        assert await here.owner(PASSWORD) == "app app 400"
        assert await here.owner("/var/lib/leasehold") == "leasehold leasehold 700"
        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")
        await the_rule_holds(here)

        said = await here.install("--remove")
        assert said.count("removed ") == 3
        assert await here.machine.shown(UNIT, "LoadState") == "not-found"
        assert not await here.pid()


async def the_rule_holds(here: Installed) -> None:
    """polkit's: what is named may be reloaded, and nothing else."""
    await here.machine.unit("other.service", "[Service]\nExecStart=/bin/sleep 1000000\n")
    await here.start("other.service")

    async def may(*command: str) -> bool:
        as_it = ("runuser", "-u", "leasehold", "--", "systemctl", "--no-ask-password")
        return (await here.machine.do(*as_it, *command)).returncode == 0

    assert await may("reload", "app.service")
    assert not await may("stop", "app.service")
    assert not await may("restart", "other.service")
    assert not await may("start", "debug-shell.service")


async def test_what_it_may_and_what_it_may_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Files to others, a signal to another user's process, the audit and locked memory: with this
    score and no capability more.
    """
    signal = {"signal": "HUP", "pid_file": "/run/app/pid"}
    async with a_service(notify=(signal,)) as here:
        exposure = await here.exposure()
        with capsys.disabled():
            print(f"\nexposure of {UNIT}: {exposure}")
        assert exposure <= LARGEST_EXPOSURE

        text = await here.must("cat", f"/proc/{await here.pid()}/status")
        status = {
            key: value.strip() for key, _, value in (x.partition(":") for x in text.splitlines())
        }
        assert int(status["Uid"].split()[0]) != 0
        assert capabilities(status["CapEff"]) == capabilities(status["CapBnd"]) == ALLOWED
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"

        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")
        told = await here.status()
        assert told["secrets"]["app"]["state"] == "fresh"
        force = {name for name, each in told["hardening"].items() if each["in_force"]}
        assert force >= {"core dumps off", "private memory", "no new privileges"}, told["hardening"]
        verify = (PROGRAM, "audit", "verify", "-c", CONFIGURATION)
        await here.must("runuser", "-u", "leasehold", "--", *verify)
        assert await here.owner(AUDIT) == "leasehold leasehold 600"
        assert (await here.must("runuser", "-u", "app", "--", "cat", PASSWORD)) == "two"
        denied = await here.machine.do(
            "runuser", "-u", "app", "--", "cat", "/var/lib/leasehold/cache"
        )
        assert denied.returncode != 0


async def test_memory_is_locked_and_writes_are_confined_in_spite_of_the_filter() -> None:
    """A machine in a container can't raise LimitMEMLOCK=: here a capability is in its place."""
    async with installed() as here:
        await here.install()
        lock = "[Service]\nCapabilityBoundingSet=CAP_IPC_LOCK\nAmbientCapabilities=CAP_IPC_LOCK\n"
        await here.machine.unit(f"{UNIT}.d/lock.conf", lock)
        await here.credentials()
        await here.must("rm", "/etc/leasehold/credentials/cache-key")  # without a cache, no need
        wishes = {"memory_lock": "on", "landlock": "on"}
        app = bundle("/run/leasehold/app")
        await here.configure(
            secrets={"app": here.secret("app")}, bundles={"app": app}, hardening=wishes
        )
        await here.start()
        await here.becomes(PASSWORD, "one")


async def test_a_reload_applies_what_is_right_and_refuses_what_is_wrong() -> None:
    async with a_service(None, *MAY_RELOAD) as here:
        before = await here.pid()
        changed = sections(here, RELOAD)
        changed["bundles"]["app"]["files"]["again"] = "{{ app.password }} again"
        await here.configure(**changed)
        assert (await here.machine.systemctl("reload", UNIT)).returncode == 0
        await here.becomes("/run/leasehold/app/again", "one again")

        changed["bundles"]["app"]["owner_of"] = "app"
        await here.configure(**changed)
        assert (await here.machine.systemctl("reload", UNIT)).returncode != 0
        refused = "the running one stays:\n/etc/leasehold/leasehold.yaml"
        await eventually(lambda: refused in here.journal(), within=WITHIN)
        assert "owner_of" in here.journal()
        assert await here.pid() == before
        here.vault.kv.put("app", password="two")
        await here.becomes("/run/leasehold/app/again", "two again")

        assert (await here.machine.systemctl("restart", UNIT)).returncode != 0
        assert await here.machine.shown(UNIT, "Result") == "exit-code"
        assert await here.machine.shown(UNIT, "ExecMainStatus") == "2"
        assert await here.machine.shown(UNIT, "NRestarts") == "0", "it would be no better"


async def test_killed_or_frozen_it_comes_back_and_stopped_it_gives_back(postgres: Postgres) -> None:
    async with a_service(postgres, *MAY_RELOAD) as here:
        watched = "[Service]\nWatchdogSec=8s\n"
        await here.machine.unit(f"{UNIT}.d/soon.conf", watched)
        await here.machine.systemctl("restart", UNIT)
        await here.is_kept()
        first = await here.pid()
        leases, app = here.vault.leases(), await here.pid("app.service")
        target = await here.must("readlink", "/run/leasehold/app/..data")
        log = here.read("/run/app/log")

        await here.must("kill", "-KILL", str(first))
        second = await here.runs_anew(first)
        await here.must("kill", "-STOP", str(second))
        await here.runs_anew(second)

        assert "Watchdog timeout" in await here.machine.journal()
        assert await here.must("readlink", "/run/leasehold/app/..data") == target
        assert here.vault.leases() == leases and len(leases) == 1
        assert await here.pid("app.service") == app
        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")
        assert here.read("/run/app/log").removeprefix(log).split() == ["two"]

        assert (await here.machine.systemctl("stop", UNIT)).returncode == 0
        assert await here.machine.shown(UNIT, "Result") == "success"
        await eventually(lambda: not here.vault.leases(), within=WITHIN)
        assert (await here.machine.do("test", "-e", "/run/leasehold")).returncode == 1
        assert (await here.machine.do("test", "-s", "/var/lib/leasehold/cache")).returncode == 0
        assert await here.pid("app.service") == app

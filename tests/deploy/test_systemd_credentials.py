"""A real systemd loads credentials from our socket, and starts no unit without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.stores.local.file import EntriesFile
from tests.rig.local_store import local_store_in, made, put
from tests.rig.nspawn import PROJECT, SITE, Machine, machine
from tests.rig.waiting import eventually

SOCKET = "/run/leasehold/credentials.sock"
CONFIGURATION = f"""
stores: {{local: {{type: local, file: /shared/secrets.sealed, key: {{file: /shared/key}}}}}}
secrets:
  app: {{path: app}}
  late: {{path: late}}
listeners:
  - protocol: credentials
    socket: {SOCKET}
    timeout: 4s
    allow:
      - {{unit: "app*.service", secrets: [app, late]}}
"""
AGENT = f"""
[Service]
Type=notify
NotifyAccess=all
Environment=PYTHONPATH={SITE}:{PROJECT} PYTHONDONTWRITEBYTECODE=1
WorkingDirectory={PROJECT}
RuntimeDirectory=leasehold
ExecStart=/usr/bin/python3 -m agent agent -c /etc/leasehold.yaml
"""
UNIT = """
[Unit]
Requires=leasehold.service
After=leasehold.service
[Service]
Type=oneshot
RemainAfterExit=yes
{more}
LoadCredential={credential}:{socket}
ExecStartPre=/bin/sh -c 'cp %d/{credential} /run/{name}.before'
ExecStart=/bin/sh -c 'cp %d/{credential} /run/{name}.value'
"""


class Deployed:
    """A machine with the agent's unit and its store; the agent is not started yet."""

    def __init__(self, inside: Machine, file: EntriesFile) -> None:
        self.machine, self.file = inside, file

    async def put(self, name: str, **fields: str | bytes) -> None:
        await asyncio.to_thread(lambda: put(self.file, name, **fields))

    async def add(self, name: str, credential: str, more: str = "") -> None:
        text = UNIT.format(name=name, credential=credential, socket=SOCKET, more=more)
        await self.machine.unit(f"{name}.service", text)

    async def start(self, *names: str) -> bool:
        started = await self.machine.systemctl("start", *(f"{name}.service" for name in names))
        return started.returncode == 0

    async def had(self, name: str, what: str = "value") -> str | None:
        """What the unit's command saw; None: it was not run."""
        read = await self.machine.do("cat", f"/run/{name}.{what}")
        return read.stdout if read.returncode == 0 else None


@asynccontextmanager
async def deployed() -> AsyncIterator[Deployed]:
    async with machine() as inside:
        file = await asyncio.to_thread(made, local_store_in(inside.shared))
        await inside.write("/etc/leasehold.yaml", CONFIGURATION)
        await inside.unit("leasehold.service", AGENT)
        yield Deployed(inside, file)


async def test_a_unit_gets_its_secret_and_is_started_after_the_agent() -> None:
    async with deployed() as here:
        await here.add("app", "app.password")
        assert await here.start("app"), await here.machine.journal()
        assert await here.had("app") == await here.had("app", "before") == "one"
        assert await here.machine.shown("leasehold.service", "ActiveState") == "active"
        mode = await here.machine.do("stat", "-c", "%a %U", SOCKET)
        assert mode.stdout == "600 root\n"


async def test_a_unit_of_a_dynamic_user_gets_it_too() -> None:
    async with deployed() as here:
        await here.machine.unit(
            "app.service",
            f"[Unit]\nRequires=leasehold.service\nAfter=leasehold.service\n"
            f"[Service]\nType=oneshot\nDynamicUser=yes\nLoadCredential=app:{SOCKET}\n"
            "ExecStart=/bin/sh -c 'id -u; cat %d/app'\n",
        )
        assert await here.start("app"), await here.machine.journal()
        journal = await here.machine.do("journalctl", "-u", "app.service", "-o", "cat")
        assert "\none\n" in journal.stdout and "\n0\n" not in journal.stdout


async def test_no_unit_is_started_without_its_secret() -> None:
    async with deployed() as here:
        for name, credential in (
            ("app-late", "late"),
            ("app-field", "app.nothing"),
            ("app-unknown", "nothing"),
            ("other", "app"),
        ):
            await here.add(name, credential)
            assert not await here.start(name)
            assert await here.had(name, "before") is None
            result = await here.machine.shown(f"{name}.service", "Result")
            assert result == "exit-code"
        journal = await here.machine.journal()
        assert "app-late.service does not get late: not had within 4 s" in journal
        assert "app-field.service does not get app.nothing: the secret has no such field" in journal
        assert "other.service does not get app: no rule allows it" in journal
        assert "status=243/CREDENTIALS" in journal


async def test_a_unit_waits_for_a_secret_that_comes() -> None:
    async with deployed() as here:
        await here.add("app", "late")
        assert await here.start("leasehold")
        starting = asyncio.ensure_future(here.start("app"))
        await here.put("late", password="now")
        assert await starting, await here.machine.journal()
        assert await here.had("app") == "now"


async def test_ten_units_at_once() -> None:
    async with deployed() as here:
        names = [f"app-{number}" for number in range(10)]
        for name in names:
            await here.add(name, "app")
        assert await here.start(*names), await here.machine.journal()
        assert [await here.had(name) for name in names] == ["one"] * 10


async def test_both_commands_of_a_start_get_the_same_and_the_next_start_the_new() -> None:
    async with deployed() as here:
        await here.add(
            "app", "app", "ExecStartPre=/bin/sh -c 'until test -e /run/go; do sleep .1; done'"
        )
        assert await here.start("leasehold")
        starting = asyncio.ensure_future(here.start("app"))
        await eventually(lambda: _is_activating(here.machine), within=20)
        await here.put("app", password="two")
        await eventually(lambda: _reads(here.machine) >= 2, within=20)
        await here.machine.do("touch", "/run/go")
        assert await starting
        before, value = await here.had("app", "before"), await here.had("app")
        assert before == value == "one"

        assert (await here.machine.systemctl("restart", "app.service")).returncode == 0
        assert await here.had("app") == "two"


def _reads(inside: Machine) -> int:
    """How many values of `app` the agent has said that it has read."""
    said = inside.run("journalctl", "-u", "leasehold.service", "-o", "cat").stdout
    return said.count("app: new version")


def _is_activating(inside: Machine) -> bool:
    return inside.run("systemctl", "is-active", "app.service").stdout.strip() == "activating"


async def test_who_waits_when_the_agent_stops_does_not_start_empty() -> None:
    async with deployed() as here:
        await here.machine.unit(
            "app.service",
            f"[Unit]\nAfter=leasehold.service\n[Service]\nType=oneshot\n"
            f"LoadCredential=late:{SOCKET}\nExecStart=/bin/touch /run/app.value\n",
        )
        assert await here.start("leasehold")
        starting = asyncio.ensure_future(here.start("app"))
        await eventually(lambda: _is_activating(here.machine), within=20)
        await here.machine.systemctl("stop", "leasehold.service")
        assert not await starting
        assert await here.had("app") is None

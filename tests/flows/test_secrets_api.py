"""An app reads from the secrets API with curl, as a user of its own, from a real vault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api.access import Rules
from agent.api.http import HttpServer
from agent.api.listener import Listener
from agent.api.secrets import BundleState, SecretsDoor, Word
from agent.config.listener_model import ApiRule, SecretsListener
from agent.config.model import Bundle as BundleSpec
from agent.config.model import ConfirmApi, InlineFile
from agent.core.clock import SystemClock
from agent.core.events import BundleConfirmed, BundlePublished, BundleRolledBack, LeaseRevoked
from agent.delivery.bundle import Bundle
from tests.rig.bao_client import Bao
from tests.rig.needs import needs_program, needs_root
from tests.rig.peers import open_folder
from tests.rig.postgres import MakeDatabase
from tests.rig.stores import Changes, root
from tests.rig.waiting import eventually
from tests.rig.watched import Watched, watched

APP, OTHER = 54321, 54322
RULES = (ApiRule(user=str(APP), secrets=("db", "web")),)


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs_root()
    needs_program("curl")


class Bundles:
    """The bundles that run, as the API sees them."""

    def __init__(self) -> None:
        self.running: dict[str, Bundle] = {}

    def state(self, name: str) -> BundleState | None:
        if (bundle := self.running.get(name)) is None:
            return None
        return BundleState(bundle.generation, "there", None, frozenset(bundle.revisions))

    def confirm(self, name: str, generation: int, error: str | None) -> Word:
        taken = self.running[name].confirm(generation, error)
        if taken is None:
            return Word.NOT_ASKED
        return Word.TAKEN if taken else Word.WRONG_GENERATION


class Site:
    """The socket, and curl as some user."""

    def __init__(self, socket: Path, door: SecretsDoor, agent: Watched, bundles: Bundles) -> None:
        self.socket, self.agent, self.bundles = socket, agent, bundles
        self._door = door

    def is_waited_for(self, name: str) -> bool:
        return name in self._door._changes._waiting

    async def curl(
        self, path: str, *arguments: str, uid: int = APP, within: float = 20.0
    ) -> tuple[int, bytes]:
        """Status and body."""
        command = ["curl", "-s", "--unix-socket", str(self.socket), "-w", "\n%{http_code}"]
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            f"http://localhost{path}",
            user=uid,
            group=uid,
            extra_groups=[],
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(within):
            said, _ = await process.communicate()
        body, _, status = said.rpartition(b"\n")
        return int(status), body

    async def post(self, path: str, word: Any) -> int:
        return (await self.curl(path, "-d", json.dumps(word)))[0]


@asynccontextmanager
async def site(bao: Bao, secrets: dict[str, dict[str, Any]]) -> AsyncIterator[Site]:
    bundles, clock = Bundles(), SystemClock()
    with open_folder() as folder:
        async with watched(bao.address, root(bao.token), secrets) as agent:
            await eventually(lambda: agent.are_fresh(*secrets))
            async with asyncio.TaskGroup() as group:
                door = SecretsDoor(
                    "secrets",
                    Rules(RULES),
                    list(secrets),
                    agent.ledger,
                    clock=clock,
                    bundles=bundles,
                    refused=lambda name, version: agent.watchers[name].refused(version),
                )
                server = HttpServer(
                    door,
                    clock=clock,
                    spawn=group.create_task,
                    audit=lambda request, status, done: done(True),
                    on_defect=_raise,
                )
                spec = SecretsListener(socket=str(folder / "door"), mode=0o666, allow=RULES)
                listener = Listener(
                    spec, Rules(RULES), server, clock=clock, emit=agent.events, grace=0.1
                )
                tasks = [group.create_task(each.run()) for each in (door, server, listener)]
                await listener.listening.wait()
                yield Site(folder / "door", door, agent, bundles)
                for task in tasks:
                    task.cancel()


def _raise(error: Exception) -> None:
    raise error


@asynccontextmanager
async def bundle(made: Site, directory: Path) -> AsyncIterator[Bundle]:
    """One file of `web`, confirmed by the app's word."""
    spec = BundleSpec(
        directory=directory / "app",
        files={"password": InlineFile(content="{{ web.password }}")},
        debounce=0.0,
        confirm=ConfirmApi(api=True, timeout=20.0),
    )
    running = Bundle(
        "app",
        spec,
        made.agent.ledger,
        clock=SystemClock(),
        emit=made.agent.events,
        changes=Changes(),
        environment={},
    )
    made.bundles.running["app"] = running
    task = asyncio.get_running_loop().create_task(running.run(), name="bundle")
    try:
        await running.completed.wait()
        yield running
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_app_waits_for_what_replaces_a_credential_that_it_refused(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    async with site(bao, {"db": {"path": made.path}}) as at:
        status, body = await at.curl("/v1/secrets/db")
        first = json.loads(body)
        assert status == 200 and first["value"]["username"] and first["expires_at"]
        at.agent.ledger.hold("bundle", {"db": [at.agent.entry("db").revision]})
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(at.curl("/v1/secrets/db?wait=20s"))
            await eventually(lambda: at.is_waited_for("db"))
            version = {"version": first["version"]}
            assert await at.post("/v1/secrets/db/refused", version) == 202
        status, body = waiting.result()
        second = json.loads(body)
        assert status == 200 and second["value"]["username"] != first["value"]["username"]
        assert len(made.leases()) == 2, "the old one lives while a bundle holds it"
        at.agent.ledger.hold("bundle", {"db": [at.agent.entry("db").revision]})
        await at.agent.events.until(lambda: at.agent.events.all(LeaseRevoked))
        assert len(made.leases()) == 1


async def test_another_user_learns_nothing(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", password="s3same")
    async with site(bao, {"web": {"path": kv.cli("app")}}) as at:
        assert await at.curl("/v1/secrets/web/password") == (200, b"s3same")
        denied = await at.curl("/v1/secrets/web", uid=OTHER)
        assert denied[0] == 403
        assert await at.curl("/v1/secrets/nothing", uid=OTHER) == denied
        assert await at.curl("/v1/secrets", uid=OTHER) == (200, b'{"secrets":[]}\n')


async def test_a_rotation_waits_for_the_apps_word_and_goes_back_at_its_no(
    bao: Bao, memory_directory: Path
) -> None:
    kv = bao.kv()
    kv.put("app", password="one")
    entry = {"path": kv.cli("app"), "refresh_every": 1.0}
    async with site(bao, {"web": entry}) as at, bundle(at, memory_directory) as app:
        file, events = memory_directory / "app" / "password", at.agent.events
        status, body = await at.curl("/v1/bundles/app")
        first = json.loads(body)["generation"]
        assert status == 200 and first == app.generation
        kv.put("app", password="two")
        await events.until(lambda: len(events.all(BundlePublished)) == 2)
        assert not events.all(BundleConfirmed)
        path = "/v1/bundles/app/confirm"
        assert await at.post(path, {"generation": first}) == 409
        assert await at.post(path, {"generation": app.generation}) == 204
        await events.until(lambda: events.all(BundleConfirmed))
        kv.put("app", password="three")
        await events.until(lambda: len(events.all(BundlePublished)) == 3)
        no = {"generation": app.generation, "error": "no login\x1b[2J with it"}
        assert await at.post(path, no) == 204
        await events.until(lambda: events.all(BundleRolledBack))
        (told,) = events.all(BundleRolledBack)
        assert "app: it says: 'no login [2J with it'" in told.reason
        assert file.read_text() == "two"

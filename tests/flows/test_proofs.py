"""What the agent checks by itself, and an app that proves by a file that it works."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.rig.agent import Start
from tests.rig.certificates import Certified, certified
from tests.rig.scene import Scene, value
from tests.rig.waiting import eventually


def put(scene: Scene, certificate: Certified, key: Certified, authority: Certified) -> None:
    scene.kv.put("web", certificate=certificate.pem, ca_chain=authority.pem, private_key=key.key)


async def test_a_certificate_with_another_ones_key_is_never_published(
    leasehold: Start, scene: Scene
) -> None:
    authority = certified("authority")
    first, second = certified("www.example", authority), certified("www.example", authority)
    put(scene, first, first, authority)
    files = {
        "tls.crt": {"format": "pem", "secrets": ["web"], "parts": ["certificate", "chain"]},
        "tls.key": {"format": "pem", "secrets": ["web"], "parts": ["private_key"]},
    }
    bundle = scene.bundle("web", files)
    agent = await leasehold(
        scene.configuration(secrets={"web": scene.secret("web")}, bundles={"web": bundle})
    )
    await agent.event("ready")
    put(scene, second, first, authority)
    failed = await agent.event("bundle_failed", step="validate")
    assert failed["reason"] == "tls.key: the private key is not the certificate's"
    file = Path(bundle["directory"]) / "tls.crt"
    assert file.read_text() == first.pem + authority.pem
    put(scene, second, second, authority)
    await agent.event("bundle_published")
    await eventually(lambda: file.read_text() == second.pem + authority.pem)
    assert len(agent.all("bundle_published")) == 2
    await agent.stop()


async def test_what_is_asked_for_of_a_template_holds(leasehold: Start, scene: Scene) -> None:
    good = value()
    scene.kv.put("app", password=good)
    bundle = scene.bundle(
        "app",
        {"app.json": '{"password": "{{ app.password }}"}'},
        validate={"checks": [{"json": "app.json"}]},
    )
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("ready")
    scene.kv.put("app", password=f'{value()}"')
    failed = await agent.event("bundle_failed", step="validate")
    assert failed["reason"].startswith("app.json: is no JSON: line 1, column ")
    assert good in (Path(bundle["directory"]) / "app.json").read_text()
    await agent.stop()


class WatchingApp:
    """Follows its directory's link by itself, and copies it to a file of its own."""

    def __init__(self, directory: Path, ready: Path) -> None:
        self._link, self._ready = directory / "..data", ready
        self.seen: list[str] = []
        self.is_well = True

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(0.02)

    def _look(self) -> None:
        now = str(self._link.readlink()) if self._link.is_symlink() else ""
        if now and (not self.seen or self.seen[-1] != now):
            self.seen.append(now)
            if self.is_well:
                self._ready.write_text(now)


async def by_file(leasehold: Start, scene: Scene, content: str) -> list[str]:
    """A rotation that the app proves, one that it does not, and one that it proves again."""
    ready = scene.folder / "ready"
    scene.kv.put("app", password=value())
    confirm: dict[str, Any] = {"file": str(ready), "content": content, "timeout": "1s"}
    bundle = scene.bundle("app", {"password": "{{ app.password }}"}, confirm=confirm)
    app = WatchingApp(Path(bundle["directory"]), ready)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(app.run())
        agent = await leasehold(
            scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
        )
        await agent.event("ready")
        await eventually(lambda: app.seen)
        scene.kv.put("app", password=value())
        await agent.event("bundle_confirmed", generation=2)
        app.is_well = False
        scene.kv.put("app", password=value())
        back = await agent.event("bundle_rolled_back", generation=3, restored=2)
        app.is_well = True
        assert str(ready) in back["reason"]
        await agent.event("bundle_confirmed", within=20)
        running.cancel()
        await agent.stop()
    return app.seen


async def test_an_app_that_watches_its_files_confirms_by_touching_one(
    leasehold: Start, scene: Scene
) -> None:
    """Nobody is notified, so it may be quicker than the agent's first look."""
    assert (await by_file(leasehold, scene, "any"))[:4] == [
        "..gen-000001",
        "..gen-000002",
        "..gen-000003",
        "..gen-000002",
    ]


async def test_an_app_that_copies_the_link_names_the_generation(
    leasehold: Start, scene: Scene
) -> None:
    assert "..gen-000003" in await by_file(leasehold, scene, "generation")

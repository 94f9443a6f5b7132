"""Somebody sets the machine's wall clock: leases are not reckoned by it."""

from __future__ import annotations

import json

from tests.rig.agent import Leasehold, Start
from tests.rig.app import DatabaseApp, ask
from tests.rig.faketime import WallClock
from tests.rig.postgres import Database, MakeDatabase, Postgres
from tests.rig.scene import Configuration, Scene, value

JUMPS = {"+1h": "", "-1h": "", "+1y": "2027", "-1y": "2025", "+0": ""}
A_WHILE = 4.0
"""Seconds between two jumps."""


def at_work(scene: Scene, *, short: Database, long: Database, pki: str) -> Configuration:
    """A lease that is replaced all the time, one that is left alone, a certificate, a KV secret."""
    for path in (short.path, long.path):
        scene.allow(path, "read")
    scene.allow(f"{pki}/issue/web", "update")
    scene.kv.put("steady", password=value())
    secrets = {
        "short": {"path": short.path},
        "long": {"path": long.path},
        "steady": scene.secret("steady"),
        "web": {"path": f"{pki}/issue/web", "data": {"common_name": "app.example", "ttl": "24h"}},
    }
    reload = {"http": f"http+unix:{scene.memory / 'app.sock'}:/reload", "timeout": "1s"}
    bundles = {
        "app": scene.bundle(
            "app", {"credential": "{{ short.username }} {{ short.password }}"}, notify=[reload]
        ),
        "rest": scene.bundle("rest", {"all": "{{ long.username }} {{ steady.password }}"}),
        "web": scene.bundle("web", {"tls.crt": "{{ web.certificate }}"}),
    }
    return scene.configuration(secrets=secrets, bundles=bundles)


async def test_the_wall_clock_jumps_and_leases_go_on(
    leasehold: Start, scene: Scene, database: MakeDatabase, postgres: Postgres
) -> None:
    clock = WallClock(scene.folder)
    short, long = database(ttl="4s", max_ttl="8s"), database(ttl="1h", max_ttl="24h")
    pki = scene.bao.pki()
    configuration = at_work(scene, short=short, long=long, pki=pki)
    agent = await leasehold(configuration, environment=clock.environment)
    await agent.event("ready", within=20)
    app = DatabaseApp(postgres, scene.memory / "app/credential")
    async with app.on(scene.memory / "app.sock"):
        for offset, year in JUMPS.items():
            clock.put(offset)
            await a_while(scene, app, agent, year)
            if year:
                await a_certificate_that_the_clock_is_wrong_about(leasehold, scene, agent)
        assert (await agent.stop()).code == 0
    assert not app.refused, agent.story()
    assert len(app.users) >= len(JUMPS) * A_WHILE // 8, "no rotation was missed"
    assert len(scene.proxy.requests(long.path)) == 1, "none came early"
    assert len(scene.proxy.requests(f"{pki}/issue/web")) == 3, "the first, and those asked for"
    assert scene.logins() == 1
    assert not short.leases() and not long.leases() and not scene.tokens()
    alarms = [event for event in agent.events if event["level"] in ("warning", "error")]
    assert {(each["event"], each["secret"]) for each in alarms} <= {("secret_expired", "web")}
    assert len(alarms) <= 1, "only the certificate, which was over by the clock of that year"


async def a_while(scene: Scene, app: DatabaseApp, agent: Leasehold, year: str) -> None:
    """The app works with what it has; the vault is asked as often as ever."""
    scene.proxy.seen, before = [], scene.proxy.seen
    await app.work(seconds=A_WHILE, every=0.2)
    asked = scene.proxy.seen
    reads = len(scene.proxy.requests(scene.kv.api("steady"), "GET"))
    scene.proxy.seen = before + asked
    assert 2 <= reads <= A_WHILE + 2, [seen.path for seen in asked]
    assert len(asked) <= 4 * A_WHILE, [seen.path for seen in asked]
    assert agent.events[-1]["time"].startswith(year)


async def a_certificate_that_the_clock_is_wrong_about(
    leasehold: Start, scene: Scene, agent: Leasehold
) -> None:
    """By this clock it is over, or does not begin yet: it is no worse than any other."""
    agent.skip()
    done = await (await leasehold(command="refresh", arguments=("web",))).wait()
    assert done.code == 0, done
    await agent.event("bundle_published", bundle="web")
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert status["secrets"]["web"]["state"] == "fresh"

"""Local doors of a running agent, asked by the programs of other users."""

from __future__ import annotations

import asyncio
import json
import signal

from tests.rig.app import ask
from tests.rig.doors import ALICE, BOB, Doors
from tests.rig.scene import value


async def test_each_caller_gets_its_own_through_every_door(doors: Doors) -> None:
    token = doors.scene.folder / "aws-token"
    token.write_text("t" * 64)
    allow = [
        {"user": str(ALICE), "secrets": ["web"]},
        {"user": str(BOB), "secrets": ["other"]},
    ]
    await doors.start(
        doors.configuration(
            doors.listener(allow=allow),
            doors.listener("vault", protocol="vault", allow=allow),
            doors.listener("aws", protocol="aws", allow=allow, token={"file": str(token)}),
            doors.listener(
                "credentials",
                protocol="credentials",
                mode="0600",
                allow=[{"unit": "web.service", "secrets": ["web"]}],
            ),
        )
    )
    aws = ("-H", f"X-Aws-Parameters-Secrets-Token: {'t' * 64}")
    for uid, own, not_own in ((ALICE, "web", "other"), (BOB, "other", "web")):
        secret = doors.values[own]
        assert await doors.curl(f"/v1/secrets/{own}/password", uid=uid) == (200, secret)
        assert (await doors.curl(f"/v1/secrets/{not_own}/password", uid=uid))[0] == 403
        status, body = await doors.curl(f"/v1/{doors.scene.kv.api(own)}", uid=uid, at="vault")
        assert (status, json.loads(body)["data"]["data"]) == (200, {"password": secret})
        status, _ = await doors.curl(f"/v1/{doors.scene.kv.api(not_own)}", uid=uid, at="vault")
        assert status == 403
        status, body = await doors.curl(f"/v1/{own}", *aws, uid=uid, at="aws")
        assert status == 200 and json.loads(json.loads(body)["SecretString"]) == {
            "password": secret
        }
        assert (await doors.curl(f"/v1/{not_own}", *aws, uid=uid, at="aws"))[0] != 200
    assert (await doors.ran("test", "-w", f"{doors.folder}/credentials.sock", uid=ALICE))[0] == 1
    metrics = (await ask(doors.scene.telemetry, "/metrics"))[1]
    for status in (200, 403):
        sample = f'{{listener="{doors.folder}/secrets.sock",status="{status}"}} 2.0'
        assert f"leasehold_answers_total{sample}\n" in metrics


async def test_who_waits_gets_the_next_value_and_who_listens_hears_of_it(doors: Doors) -> None:
    await doors.start()
    new = value()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(doors.curl("/v1/secrets/web?wait=15s", "-H", await tag(doors)))
        doors.scene.kv.put("web", password=new)
    status, body = waiting.result()
    assert status == 200 and json.loads(body)["value"] == {"password": new}


async def test_at_the_end_who_waits_is_answered_and_the_names_are_gone(doors: Doors) -> None:
    agent = await doors.start()
    entity = await tag(doors)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(doors.curl("/v1/secrets/web?wait=60s", "-H", entity))
        listening = group.create_task(doors.curl("/v1/events"))
        await doors.curl("/v1/secrets/web?wait=1s", "-H", entity)
        done = await agent.stop()
    assert done.code == 0 and waiting.result()[0] == 304
    status, heard = listening.result()
    assert status == 200 and heard.startswith("event: secret\n")
    assert not list(doors.folder.iterdir())


async def test_after_a_kill_the_next_run_takes_the_same_socket(doors: Doors) -> None:
    agent = await doors.start()
    agent.send(signal.SIGKILL)
    await agent.wait()
    assert (doors.folder / "secrets.sock").exists()
    await doors.start()
    assert (await doors.curl("/v1/secrets/web"))[0] == 200


async def test_with_the_vault_down_it_says_so_and_serves_once_it_is_back(doors: Doors) -> None:
    await doors.scene.proxy.refuse()
    agent = await doors.leasehold(doors.configuration())
    await agent.event("store_down")
    await agent.event("listener_opened")
    assert (await doors.curl("/v1/secrets/web"))[0] == 503
    assert (await doors.curl("/v1/secrets/other"))[0] == 403
    await doors.scene.proxy.start()
    await agent.event("secret_read", secret="web", within=20)
    assert (await doors.curl("/v1/secrets/web/password"))[1] == doors.values["web"]


async def test_a_socket_that_cannot_be_had_ends_the_start_with_one_line(doors: Doors) -> None:
    await doors.start()
    second = await doors.leasehold(doors.configuration(audit=None, telemetry=None))
    done = await second.wait()
    assert done.code == 1 and "secrets.sock" in done.err.splitlines()[-1], done.err
    assert (await doors.curl("/v1/secrets/web"))[0] == 200, "the first goes on"


async def test_the_child_of_run_is_told_where_to_ask(doors: Doors) -> None:
    out = doors.scene.folder / "asked"
    ask = f'curl -s --unix-socket "$LEASEHOLD_SOCKET" http://localhost/v1/secrets/web > {out}'
    allow = [{"user": "root", "secrets": ["web"]}]
    process = {"command": ["/bin/sh", "-c", ask], "environment": {"W": "{{ web.password }}"}}
    configuration = doors.configuration(doors.listener(allow=allow), process=process)
    done = await (await doors.leasehold(configuration, "run")).wait()
    assert done.code == 0, done.err
    assert json.loads(out.read_text())["value"] == {"password": doors.values["web"]}


async def test_a_live_check_tells_which_door_could_not_be_opened(doors: Doors) -> None:
    agent = await doors.start()
    missing = doors.listener(socket=str(doors.folder / "missing" / "a.sock"))
    leasehold = doors.leasehold
    doors.scene.folder.chmod(0o777)
    done = await (
        await leasehold(doors.configuration(doors.listener(), missing), "check", ["--live"])
    ).wait()
    assert done.code == 2 and f"there is no folder {doors.folder}/missing" in done.err
    assert "audit: " in done.err and "mode 0777" in done.err
    assert f"ok: listener {doors.folder}/secrets.sock" in done.out
    assert (await doors.curl("/v1/secrets/web"))[0] == 200, "the running agent keeps its own"
    await agent.event("advice", subject="listeners")


async def test_a_rotation_waits_for_the_apps_word_and_goes_back_at_its_no(doors: Doors) -> None:
    files = {"password": "{{ web.password }}"}
    bundle = doors.scene.bundle("app", files, confirm={"api": True, "timeout": "20s"})
    agent = await doors.start(doors.configuration(bundles={"app": bundle}))
    good = value()
    doors.scene.kv.put("web", password=good)
    generation = (await agent.event("bundle_published", generation=2))["generation"]
    assert await doors.post("/v1/bundles/app/confirm", {"generation": generation}) == 204
    await agent.event("bundle_confirmed", bundle="app")
    doors.scene.kv.put("web", password=value())
    await agent.event("bundle_published", generation=3)
    word = {"generation": 3, "error": "no login with it"}
    assert await doors.post("/v1/bundles/app/confirm", word, uid=BOB) == 403
    assert await doors.post("/v1/bundles/app/confirm", word) == 204
    told = await agent.event("bundle_rolled_back", bundle="app")
    assert "no login with it" in told["reason"]
    assert (doors.scene.memory / "app/password").read_text() == good


async def tag(doors: Doors) -> str:
    """The header that asks for another version than the one there is."""
    _, head = await doors.curl("/v1/secrets/web", "-D", "-", "-o", "/dev/null")
    (found,) = [line for line in head.splitlines() if line.lower().startswith("etag:")]
    return f"If-None-Match:{found.partition(':')[2]}"

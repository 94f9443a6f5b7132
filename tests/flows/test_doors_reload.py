"""Doors through a change of the configuration: who is inside stays, what can't be had is said."""

from __future__ import annotations

from tests.rig.doors import ALICE, BOB, Doors
from tests.rig.peers import peer
from tests.rig.scene import Configuration

ASK = "GET /v1/secrets/web/password HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_other_rules_hold_on_a_connection_that_lives_on(doors: Doors) -> None:
    agent = await doors.start()
    async with peer(ALICE) as alice:
        number = await alice.do("connect", str(doors.folder / "secrets.sock"))
        assert doors.values["web"] in await alice.ask(number, ASK)
        bobs = [{"user": str(BOB), "secrets": ["web"]}]
        doors.leasehold.configure(doors.configuration(doors.listener(allow=bobs)))
        await agent.event("reloaded")
        # The listeners follow `reloaded`; a door that is opened with them tells that they have.
        doors.leasehold.configure(
            doors.configuration(doors.listener(allow=bobs), doors.listener("second"))
        )
        await agent.event("listener_opened", listener=str(doors.folder / "second.sock"))
        assert (await alice.ask(number, ASK)).startswith("HTTP/1.1 403")
    assert (await doors.curl("/v1/secrets/web/password", uid=BOB))[1] == doors.values["web"]
    assert not agent.all("listener_closed"), "the socket that stays is not touched"


async def test_doors_come_move_and_go(doors: Doors) -> None:
    agent = await doors.start()
    first, second = (str(doors.folder / f"{name}.sock") for name in ("secrets", "second"))
    doors.leasehold.configure(doors.configuration(doors.listener("second")))
    await agent.event("listener_closed", listener=first)
    await agent.event("listener_opened", listener=second)
    assert not (doors.folder / "secrets.sock").exists()
    assert (await doors.curl("/v1/secrets/web", at="second"))[0] == 200
    doors.leasehold.configure(doors.configuration(listeners=[]))
    await agent.event("listener_closed", listener=second)
    assert not list(doors.folder.iterdir())


async def test_one_that_cannot_be_had_is_said_and_the_others_go_on(doors: Doors) -> None:
    agent = await doors.start()
    (doors.folder / "taken.sock").write_text("no socket")
    doors.leasehold.configure(
        doors.configuration(doors.listener(), doors.listener("taken"), doors.listener("second"))
    )
    told = await agent.event("advice", subject="listeners")
    assert "taken.sock" in told["text"]
    assert (await doors.curl("/v1/secrets/web"))[0] == 200
    assert (await doors.curl("/v1/secrets/web", at="second"))[0] == 200
    assert (doors.folder / "taken.sock").read_text() == "no socket"


async def test_a_token_that_cannot_be_read_holds_up_neither_rules_nor_the_end(doors: Doors) -> None:
    token = doors.scene.folder / "aws-token"
    token.write_text("t" * 64)
    token.chmod(0o600)
    alices = [{"user": str(ALICE), "secrets": ["web"]}]
    spec: Configuration = {"protocol": "aws", "token": {"file": str(token)}}
    agent = await doors.start(doors.configuration(doors.listener(allow=alices, **spec)))
    ask = ("/v1/web", "-H", f"X-Aws-Parameters-Secrets-Token: {'t' * 64}")
    assert (await doors.curl(*ask))[0] == 200
    token.unlink()
    bobs = [{"user": str(BOB), "secrets": ["web"]}]
    doors.leasehold.configure(doors.configuration(doors.listener(allow=bobs, **spec)))
    told = await agent.event("advice", subject="listeners")
    assert str(token) in told["text"]
    assert (await doors.curl(*ask))[0] != 200, "the new rules hold"
    assert (await doors.curl(*ask, uid=BOB))[0] == 200, "the token of before goes on"
    token.write_text("u" * 64)
    doors.leasehold.configure(doors.configuration(doors.listener(allow=alices, **spec)))
    await agent.event("reloaded")
    await agent.event("reloaded")
    assert len(agent.all("advice", subject="listeners")) == 1, "the door is still the agent's own"
    assert (await agent.stop()).code == 0


async def test_who_does_not_read_keeps_the_agent_from_no_short_end(doors: Doors) -> None:
    doors.scene.kv.put("web", password="p" * 400_000)
    agent = await doors.start(doors.configuration(shutdown_timeout="500ms"))
    async with peer(ALICE) as alice:
        number = await alice.do("connect", str(doors.folder / "secrets.sock"))
        await alice.do("send", number, ASK)
        assert await alice.do("read", number, 8) == "HTTP/1.1", "and no more of it"
        assert (await agent.stop()).code in (0, 1)
    assert not list(doors.folder.iterdir())

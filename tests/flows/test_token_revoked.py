"""The agent's token is revoked by somebody else."""

from __future__ import annotations

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene, value


async def has_lived(agent: Leasehold) -> None:
    """The token is old enough: there is no more than one login in five seconds."""
    for _ in range(6):
        await agent.event("secret_read", is_changed=False)


async def test_it_reads_again_within_two_seconds_of_the_next_request(
    leasehold: Start, scene: Scene
) -> None:
    """consul-template never recovers; vault#22575 and openbao#3747: and no loop of renewals."""
    scene.kv.put("app", password=value())
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app")},
            bundles={"app": scene.bundle("app", {"password": "{{ app.password }}"})},
        )
    )
    await agent.event("ready")
    await has_lived(agent)
    scene.bao.revoke_accessor(scene.tokens()[0])
    changed = value()
    scene.kv.put("app", password=changed)
    scene.proxy.forget()
    await agent.event("token_lost", leases=0)
    await agent.event("logged_in", within=2)
    await agent.event("secret_read", version="2", within=2)
    refused = [seen.at for seen in scene.proxy.seen if seen.status == 403]
    read = [seen.at for seen in scene.proxy.requests(scene.kv.api("app")) if seen.status == 200]
    assert read[0] - refused[0] < 2
    assert scene.logins() == 1 and len(scene.proxy.seen) <= 6, scene.proxy.seen
    await agent.event("bundle_published", generation=2)
    assert (scene.memory / "app/password").read_text() == changed
    await agent.stop()
    assert not scene.tokens()


async def test_leases_are_replaced_at_once_and_values_without_one_are_left_alone(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made, diary = database(ttl="1h"), Diary(scene.folder)
    scene.allow(made.path, "read")
    scene.kv.put("quiet", password=value())
    scene.kv.put("lively", password=value())
    notify = [{"command": diary.command}]
    agent = await leasehold(
        scene.configuration(
            secrets={
                "quiet": scene.secret("quiet", refresh_every="1h"),
                "lively": scene.secret("lively"),
                "db": {"path": made.path},
            },
            bundles={
                "kv": scene.bundle("kv", {"p": "{{ quiet.password }}"}, notify=notify),
                "db": scene.bundle("db", {"p": "{{ db.password }}"}, notify=notify),
                "lively": scene.bundle("lively", {"p": "{{ lively.password }}"}),
            },
        )
    )
    await agent.event("ready")
    await agent.event("secret_read", secret="db")
    file = scene.memory / "kv/p"
    before = file.stat()
    await has_lived(agent)
    scene.bao.revoke_accessor(scene.tokens()[0])
    await agent.event("token_lost", leases=1)
    await agent.event("secret_read", secret="db", within=2)
    await agent.event("bundle_notified", bundle="db", generation=2)
    await agent.event("secret_read", secret="lively", is_changed=False)
    assert scene.reads("quiet") == 1 and file.stat() == before
    assert diary.entries() == ["db 2 "]
    assert len(made.leases()) == 1
    await agent.stop()
    assert not made.leases() and not scene.tokens()


async def test_a_lease_revoked_outside_is_replaced_at_its_renewal(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    """vault-k8s#269: it went unnoticed until its threshold."""
    made = database(ttl="3s", max_ttl="1h")
    scene.allow(made.path, "read")
    agent = await leasehold(
        scene.configuration(
            secrets={"db": {"path": made.path, "renew_at": 0.2}},
            bundles={"db": scene.bundle("db", {"p": "{{ db.password }}"})},
        )
    )
    await agent.event("ready")
    file = scene.memory / "db/p"
    first = file.read_text()
    scene.bao.revoke_lease(made.leases()[0])
    await agent.event("lease_lost", secret="db", within=3)
    await agent.event("bundle_published", generation=2, within=2)
    assert file.read_text() != first
    await agent.stop()
    assert not made.leases()

"""`leasehold check`: every problem at once, and with --live what only a server can tell."""

from __future__ import annotations

from tests.rig.agent import Start
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene, value

TEN_MISTAKES = """
stores:
  vault:
    type: vault
    address: ftp://vault.example
    auth: {method: approle, role_id: x, secret_id: s3cret}
secrets:
  app: {path: secret/app, refresh_evry: 5m, renew_at: 3, store: valt}
bundles:
  app:
    directory: /run/app
    mode: "0999"
    files:
      a: "{{ app.password }"
      b: "{{ nothing.password }}"
      c: {format: ini, secrets: [app]}
    notify: [{signal: NOPE, pid_file: /x}]
"""


async def test_ten_mistakes_are_ten_lines(leasehold: Start, scene: Scene) -> None:
    leasehold.file.write_text(TEN_MISTAKES)
    done = await (await leasehold(None, "check")).wait()
    assert done.code == 2 and not done.out
    *problems, last = done.err.splitlines()
    assert len(problems) == 10, done.err
    assert all(each.startswith(f"{leasehold.file}:") for each in problems)
    assert last == "leasehold: 10 problems in the configuration"
    assert "s3cret" not in done.err


async def test_a_sound_configuration_is_counted_and_nobody_is_asked(
    leasehold: Start, scene: Scene
) -> None:
    bundle = scene.bundle("app", {"p": "{{ app.password }}"}, owner="no-such-user")
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": bundle}
    )
    done = await (await leasehold(configuration, "check")).wait()
    assert done.code == 0
    assert done.out.splitlines()[0] == "ok: 1 store, 1 secret, 1 bundle"
    assert done.err.startswith("warning: ") and "no-such-user" in done.err
    assert not scene.proxy.seen and not (scene.memory / "app").exists()
    live = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert live.code == 2 and "no-such-user" in live.err and not scene.proxy.seen


async def test_live_finds_what_only_the_server_knows_and_leaves_nothing(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.allow(scene.kv.api("denied"))
    scene.kv.put("app", password=value())
    configuration = scene.configuration(
        secrets={
            "app": scene.secret("app"),
            "denied": scene.secret("denied"),
            "missing": scene.secret("missing"),
            "db": {"path": made.path},
        },
        bundles={
            "good": scene.bundle("good", {"p": "{{ app.password }} {{ db.password }}"}),
            "bad": scene.bundle("bad", {"p": "{{ app.pasword }}"}),
        },
    )
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 2, done.err
    told = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert [line.split(": ")[0] for line in told[:-1]] == [
        "secret denied",
        "secret missing",
        "bundle bad",
    ]
    assert "403" in told[0] and "404" in told[1] and 'no field "pasword"' in told[2]
    assert told[-1] == "leasehold: 3 problems"
    assert done.out.splitlines() == [
        "ok: store vault: log in",
        "ok: secret app",
        "ok: secret db",
        "ok: bundle good",
    ]
    assert len(scene.proxy.requests(made.path)) == 1
    assert not made.leases() and not scene.tokens()
    assert not (scene.memory / "good").exists()


async def test_live_with_a_login_that_is_refused(leasehold: Start, scene: Scene) -> None:
    scene.secret_id_file.write_text("00000000-0000-0000-0000-000000000000")
    configuration = scene.configuration(secrets={"app": scene.secret("app")})
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 4
    assert "\nstore vault: log in: " in done.err


async def test_live_leaves_the_secret_id_to_the_agent(leasehold: Start, scene: Scene) -> None:
    auth = scene.store()["auth"] | {"remove_secret_id_file": True}
    configuration = scene.configuration(stores={"vault": scene.store(auth=auth)})
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 0, done.err
    assert scene.secret_id_file.exists()


async def test_live_does_not_use_up_a_wrapped_secret_id(leasehold: Start, scene: Scene) -> None:
    scene.secret_id_file.write_text(scene.role.wrapped_secret_id())
    auth = scene.store()["auth"] | {"secret_id_wrapped": True}
    configuration = scene.configuration(stores={"vault": scene.store(auth=auth)})
    done = await (await leasehold(configuration, "check", ["--live"])).wait()
    assert done.code == 2 and "only once" in done.err
    assert not scene.proxy.seen

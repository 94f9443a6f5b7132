"""`leasehold run`: the agent as parent of the app."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.rig.agent import Leasehold, Start
from tests.rig.faults import DENIED
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import path
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import eventually


class Child:
    """A shell that writes its life into a file: what it was given, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self._file, self.script = folder / "life.txt", folder / "child.sh"
        self.script.write_text(
            "#!/bin/bash\n"
            f"exec >> {self._file}\n"
            'trap \'echo "told: $(cat "${FILE:-/dev/null}")"\' HUP\n'
            "trap 'echo ends; exit 7' TERM\n"
            'echo "given: $PASSWORD $([ -n "$KEY" ] && cat "$KEY")"\n'
            # not `read`: bash can miss a signal that comes just before it waits
            "while :; do sleep 0.02; done\n"
        )
        self.script.chmod(0o755)

    @property
    def command(self) -> list[str]:
        return [str(self.script)]

    def life(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []


def proc(started: dict[str, Any], name: str) -> str:
    """What /proc says of a process that was started."""
    return Path(f"/proc/{started['pid']}/{name}").read_text()


@pytest.fixture
def child(scene: Scene) -> Child:
    return Child(scene.folder)


def parent(scene: Scene, child: Child, **process: object) -> Configuration:
    """One KV secret, and the child with it in its environment."""
    return scene.configuration(
        secrets={"app": scene.secret("app")},
        process={
            "command": child.command,
            "environment": {"PASSWORD": "{{ app.password }}"},
            "debounce": "50ms",
            **process,
        },
    )


async def test_the_agent_ends_with_the_child_and_its_code_vault_k8s_217(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    password, key = value(), value()
    scene.kv.put("app", password=password, key=key)
    run = await leasehold(
        parent(scene, child, memory_files={"KEY": "{{ app.key }}"}),
        "run",
        environment={"VAULT_TOKEN": "withheld", "KEPT": "kept"},
    )
    started = await run.event("process_started")
    await run.event("ready")
    await eventually(child.life)
    assert child.life() == [f"given: {password} {key}"]
    variables = proc(started, "environ")
    assert "KEPT=kept" in variables and "withheld" not in variables
    assert password not in proc(started, "cmdline")
    done = await run.stop()
    assert done.code == 7
    assert child.life()[1:] == ["ends"]
    assert not scene.tokens()


@pytest.mark.parametrize(("ending", "code"), [("exit 5", 5), ("kill -KILL $$", 137), ("exit 0", 0)])
async def test_an_end_of_the_child_is_an_end_with_its_code(
    leasehold: Start, scene: Scene, child: Child, ending: str, code: int
) -> None:
    scene.kv.put("app", password=value())
    run = await leasehold(parent(scene, child), "run", ["--", "/bin/sh", "-c", ending])
    done = await run.wait()
    assert done.code == code
    assert run.all("stopping", reason=f"the child has ended with {code}")
    assert not child.life(), "the command line wins"
    assert not scene.tokens()


async def test_a_command_that_is_not_there_is_said_in_one_line(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    run = await leasehold(parent(scene, child), "run", ["--", "/no/such/app"])
    done = await run.wait()
    assert done.code == 1
    assert "Traceback" not in done.err and "/no/such/app" in done.err.splitlines()[-1]
    assert not scene.tokens()


async def test_without_a_command_it_does_not_start(leasehold: Start, scene: Scene) -> None:
    done = await (await leasehold(scene.configuration(), "run")).wait()
    assert done.code == 2 and "nothing to run" in done.err
    assert not scene.proxy.seen


async def test_a_change_restarts_the_child(leasehold: Start, scene: Scene, child: Child) -> None:
    first, second = value(), value()
    scene.kv.put("app", password=first)
    run = await leasehold(parent(scene, child), "run")
    await run.event("ready")
    await eventually(child.life)
    scene.kv.put("app", password=second)
    await eventually(lambda: len(child.life()) == 3)
    assert child.life() == [f"given: {first} ", "ends", f"given: {second} "]
    await run.event("secret_read", is_changed=False)
    await run.stop()
    assert len(run.all("process_started")) == 2


async def test_the_old_lease_is_given_up_only_once_the_new_child_runs(
    leasehold: Start, scene: Scene, database: MakeDatabase, child: Child
) -> None:
    made = database(ttl="3s", max_ttl="3s")
    scene.allow(made.path, "read")
    configuration = parent(scene, child, environment={"PASSWORD": "{{ db.password }}"})
    run = await leasehold(configuration | {"secrets": {"db": {"path": made.path}}}, "run")
    await run.event("process_started")
    await run.event("process_started")
    await run.event("lease_revoked", secret="db")
    order = [
        event["event"]
        for event in run.events
        if event["event"] in ("secret_read", "process_started", "lease_revoked")
    ]
    assert order[:5] == ["secret_read", "process_started"] * 2 + ["lease_revoked"]
    await run.stop()
    assert not made.leases()


async def test_the_child_ends_before_its_leases_do(
    leasehold: Start, scene: Scene, database: MakeDatabase, child: Child
) -> None:
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    lasting, listens = scene.folder / "lasting.sh", scene.folder / "listens"
    life = f"trap 'sleep 0.5; exit 0' TERM; touch {listens}; while :; do sleep 0.05; done"
    lasting.write_text(f"#!/bin/sh\n{life}\n")
    lasting.chmod(0o755)
    configuration = parent(
        scene, child, command=[str(lasting)], environment={"PASSWORD": "{{ db.password }}"}
    )
    run = await leasehold(configuration | {"secrets": {"db": {"path": made.path}}}, "run")
    await run.event("ready")
    await eventually(listens.exists)
    run.send(signal.SIGTERM)
    await run.event("process_stopping")
    assert len(made.leases()) == 1
    assert (await run.wait()).code == 0
    names = [event["event"] for event in run.events]
    assert (
        names.index("process_ended") < names.index("lease_revoked") < names.index("token_revoked")
    )
    assert not made.leases()


async def test_a_child_that_reads_files_is_told_by_a_signal(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    first, second = value(), value()
    scene.kv.put("app", password=first)
    bundle = scene.bundle("app", {"password": "{{ app.password }}"})
    file = f"{bundle['directory']}/password"
    configuration = parent(scene, child, environment={"FILE": file}, on_change={"signal": "HUP"})
    run = await leasehold(configuration | {"bundles": {"app": bundle}}, "run")
    await run.event("ready")
    await eventually(child.life)
    scene.kv.put("app", password=second)
    await run.event("process_signalled")
    await eventually(lambda: len(child.life()) == 2)
    assert child.life() == ["given:  ", f"told: {second}"]
    await run.stop()
    assert len(run.all("process_started")) == len(run.all("process_signalled")) == 1


async def test_the_child_is_not_started_before_its_secrets_are_there(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    scene.kv.put("file", password=value())
    lift = scene.proxy.fault(DENIED, path(scene.kv.api("file")))
    configuration = parent(scene, child)
    configuration["secrets"]["file"] = scene.secret("file")
    bundle = scene.bundle("app", {"password": "{{ file.password }}"})
    run = await leasehold(configuration | {"bundles": {"app": bundle}}, "run")
    await run.event("secret_read", secret="app")
    await run.event("secret_stale", secret="file")
    await run.event("secret_read", secret="app")
    assert not run.all("process_started") and not child.life()
    lift()
    await run.event("process_started")
    await eventually(child.life)
    await run.stop()


async def test_told_to_end_while_it_waits_it_ends(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    scene.proxy.fault(DENIED, path(scene.kv.api("app")))
    run = await leasehold(parent(scene, child), "run")
    await run.event("secret_stale")
    assert (await run.stop(within=15)).code == 143
    assert not child.life() and not scene.tokens()


async def test_a_changed_process_section_restarts_the_child(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    first = value()
    scene.kv.put("app", password=first)
    configuration = parent(scene, child)
    run = await leasehold(configuration, "run")
    await run.event("ready")
    await eventually(child.life)
    configuration["process"]["environment"] = {"PASSWORD": "now {{ app.password }}"}
    leasehold.configure(configuration)
    await run.event("reloaded")
    await eventually(lambda: len(child.life()) == 3)
    assert child.life()[1:] == ["ends", f"given: now {first} "]
    assert (await run.stop()).code == 7


async def test_a_process_section_is_mended_while_the_child_waits(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    configuration = parent(scene, child, environment={"PASSWORD": "{{ app.no_such_field }}"})
    run = await leasehold(configuration, "run")
    failed = await run.event("bundle_failed", bundle="process")
    assert "no_such_field" in failed["reason"]
    configuration["process"]["environment"] = {"PASSWORD": "{{ app.password }}"}
    leasehold.configure(configuration)
    await run.event("process_started")
    await run.event("ready")
    await eventually(child.life)
    assert (await run.stop()).code == 7


async def test_signals_go_on_to_the_child(leasehold: Start, scene: Scene, child: Child) -> None:
    scene.kv.put("app", password=value())
    told, listens = scene.folder / "told", scene.folder / "listens"
    script = f"trap 'touch {told}; exit 9' USR1; touch {listens}; while :; do sleep 0.05; done"
    run: Leasehold = await leasehold(parent(scene, child), "run", ["--", "/bin/sh", "-c", script])
    await eventually(listens.exists)
    run.send(signal.SIGUSR1)
    assert (await run.wait()).code == 9 and told.exists()


async def test_a_child_with_files_and_variables_is_started_once(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    bundle = scene.bundle("app", {"password": "{{ app.password }}"})
    configuration = parent(scene, child, debounce="500ms")
    run = await leasehold(configuration | {"bundles": {"app": bundle}}, "run")
    await run.event("ready")
    for _ in range(2):
        await run.event("secret_read", is_changed=False)
    assert len(run.all("process_started")) == 1
    scene.kv.put("app", password=value())
    await run.event("process_stopping")
    for _ in range(2):
        await run.event("secret_read", is_changed=False)
    assert len(run.all("process_started")) == 2
    await run.stop()


async def test_the_child_itself_may_confirm(leasehold: Start, scene: Scene, child: Child) -> None:
    first, second = value(), value()
    scene.kv.put("app", password=first)
    proof = scene.folder / "proof.sh"
    proof.write_text(f"#!/bin/sh\ngrep -q {second} {scene.folder}/life.txt\n")
    proof.chmod(0o755)
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}"},
        confirm={"command": [str(proof)], "timeout": "5s", "every": "100ms"},
    )
    file = f"{bundle['directory']}/password"
    configuration = parent(scene, child, environment={"FILE": file}, on_change={"signal": "HUP"})
    run = await leasehold(configuration | {"bundles": {"app": bundle}}, "run")
    await run.event("ready")
    await eventually(child.life)
    scene.kv.put("app", password=second)
    await run.event("process_signalled")
    await run.event("bundle_confirmed", generation=2)
    await run.stop()
    assert not run.all("bundle_rolled_back")


async def test_asked_twice_it_ends_at_once_and_takes_the_child_with_it(
    leasehold: Start, scene: Scene, child: Child
) -> None:
    scene.kv.put("app", password=value())
    listens = scene.folder / "listens"
    stubborn = f"trap '' TERM; touch {listens}; while :; do sleep 0.05; done"
    run = await leasehold(parent(scene, child), "run", ["--", "/bin/sh", "-c", stubborn])
    started = await run.event("process_started")
    await run.event("ready")
    await eventually(listens.exists)
    run.send(signal.SIGTERM)
    await run.event("process_stopping")
    run.send(signal.SIGTERM)
    assert (await run.wait(within=15)).code == -signal.SIGTERM
    await eventually(lambda: not Path(f"/proc/{started['pid']}").exists())

"""Other ways to have the service: one agent per app, other users, sealed credentials, sockets."""

from __future__ import annotations

import pytest

from agent.installing.units import TEXTS
from tests.rig.installed import PROGRAM, UNIT, WITHIN, Installed, installed
from tests.rig.installed_app import PASSWORD, RELOAD, a_service, bundle, sections
from tests.rig.nspawn import TRIXIE
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(400)
LARGEST_EXPOSURE = 2.0
SECRETS, CREDENTIALS = "/run/leasehold-secrets.sock", "/run/leasehold-credentials.sock"


async def an_instance(here: Installed, name: str, value: str) -> None:
    """An agent of the app `name`, whose password is `value`."""
    here.vault.kv.put(name, password=value)
    file = f"/run/leasehold-{name}/files/password"
    await here.app(name, file)
    await here.install("--instance", name, "--group", name, "--reloads", f"{name}.service")
    await here.credentials(f"/etc/leasehold/credentials/{name}")
    files = {"password": f"{{{{ {name}.password }}}}"}
    notify = {"signal": "HUP", "pid_file": f"/run/{name}/pid"}
    parts = bundle(f"/run/leasehold-{name}/files", notify, files=files, group=name, mode="0440")
    key = f"/run/credentials/leasehold@{name}.service/cache-key"
    await here.configure(
        name,
        secrets={name: here.secret(name)},
        bundles={"files": parts},
        cache={"file": f"/var/lib/leasehold-{name}/cache", "key": {"file": key}},
    )
    await here.start(f"{name}.service")
    await here.logs(name, "started")
    await here.start(f"leasehold@{name}.service")
    assert await here.owner(file) == f"leasehold-{name} {name} 440"


async def test_two_instances_have_nothing_of_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    async with installed() as here:
        await an_instance(here, "orders", "of orders")
        await an_instance(here, "reports", "of reports")
        exposure = await here.exposure("leasehold@orders.service")
        with capsys.disabled():
            print(f"\nexposure of leasehold@.service: {exposure}")
        assert exposure <= LARGEST_EXPOSURE

        async def reads(user: str, path: str) -> bool:
            return (await here.machine.do("runuser", "-u", user, "--", "cat", path)).returncode == 0

        for mine, other in [("orders", "reports"), ("reports", "orders")]:
            assert await reads(mine, f"/run/leasehold-{mine}/files/password")
            for user in (other, f"leasehold-{other}"):
                assert not await reads(user, f"/run/leasehold-{mine}/files/password")
                assert not await reads(user, f"/var/lib/leasehold-{mine}/cache")
                assert not await reads(user, f"/run/credentials/leasehold@{mine}.service/secret-id")
                assert not await reads(user, f"/etc/leasehold/credentials/{mine}/secret-id")
        here.vault.kv.put("orders", password="changed")
        await here.logs("orders", "changed")
        assert (await here.machine.systemctl("stop", "leasehold@orders.service")).returncode == 0
        assert here.read("/run/leasehold-reports/files/password") == "of reports"


async def test_a_dynamic_user_gives_to_its_groups_and_has_no_capability(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with installed() as here:
        await here.app("app", PASSWORD)
        await here.install("--dynamic-user", "--group", "app")
        await here.credentials()
        parts = sections(here)
        del parts["bundles"]["app"]["owner"]
        parts["bundles"]["app"]["mode"] = "0440"
        await here.configure(**parts)
        await here.start()
        assert await here.owner(PASSWORD) == "leasehold app 440"
        assert await here.must("runuser", "-u", "app", "--", "cat", PASSWORD) == "one"
        assert (await here.machine.do("test", "-s", "/var/lib/leasehold/cache")).returncode == 0
        status = await here.must("cat", f"/proc/{await here.pid()}/status")
        assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
        exposure = await here.exposure()
        with capsys.disabled():
            print(f"\nexposure with dynamic-user.conf: {exposure}")
        assert exposure <= LARGEST_EXPOSURE
        here.vault.kv.put("app", password="two")
        await here.becomes(PASSWORD, "two")


async def test_as_root_it_reloads_units_without_polkit() -> None:
    async with a_service(None, "--as-root") as here:
        await here.must("systemctl", "mask", "--now", "--runtime", "polkit.service")
        assert (await here.must("ps", "-o", "user=", "-p", str(await here.pid()))).strip() == "root"
        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")


async def test_credentials_that_only_this_machine_can_read() -> None:
    async with installed() as here:
        await here.app("app", PASSWORD)
        await here.install("--encrypted-credentials", "--network", "any", "--other-programs")
        await here.credentials("/root/plain")
        await here.must("systemd-creds", "setup")
        for name in ("role-id", "secret-id", "cache-key"):
            await here.must(
                *("systemd-creds", "encrypt", "--with-key=host", f"--name={name}"),
                *(f"/root/plain/{name}", f"/etc/leasehold/credentials/{name}.cred"),
            )
        await here.must("rm", "-r", "/root/plain")
        signal = {"signal": "HUP", "process": "/usr/bin/dash"}
        await here.configure(**sections(here, signal))
        await here.start("app.service")
        await here.logs("app", "started")
        await here.start()
        assert here.read(PASSWORD) == "one"
        stored = await here.must("cat", "/etc/leasehold/credentials/secret-id.cred")
        assert here.vault.role.role_id not in stored
        here.vault.kv.put("app", password="two")
        await here.logs("app", "two")


async def test_doors_that_are_there_before_the_agent() -> None:
    async with installed() as here:
        await here.install("--socket", "secrets", "--socket", "credentials")
        await here.credentials()
        await here.user("app")
        doors = [
            {
                "protocol": "secrets",
                "activated": "secrets",
                "allow": [{"user": "app", "secrets": ["app"]}],
            },
            {
                "protocol": "credentials",
                "activated": "credentials",
                "allow": [{"unit": "unit.service", "credentials": ["database.password"]}],
            },
        ]
        both = {"app": here.secret("app"), "database": here.secret("app")}
        await here.configure(secrets=both, listeners=doors)
        await here.must(
            "systemctl", "start", "leasehold-secrets.socket", "leasehold-credentials.socket"
        )
        assert not await here.pid(), "nobody has asked"

        await here.machine.unit("unit.service.d/credentials.conf", example("credentials"))
        text = "[Service]\nType=oneshot\nExecStart=/bin/cp %d/database.password /run/loaded\n"
        await here.machine.unit("unit.service", text)
        await here.start("unit.service")
        assert here.read("/run/loaded") == "one"
        first = await here.pid()
        assert first and await here.owner(CREDENTIALS) == "root root 600"

        ask = ("runuser", "-u", "app", "--", "/usr/bin/python3", "-c", ASK)
        assert await here.must(*ask) == "one"
        await here.must("kill", "-KILL", str(first))
        done = await here.machine.do(*ask)
        assert done.returncode == 0 and done.stdout, "the door was there"
        await eventually(lambda: here.machine.run(*ask).stdout == "one", within=WITHIN)
        assert await here.pid() != first


ASK = f"""
import socket
with socket.socket(socket.AF_UNIX) as door:
    door.connect("{SECRETS}")
    door.sendall(b"GET /v1/secrets/app/password HTTP/1.0\\r\\n\\r\\n")
    answer = b""
    while part := door.recv(4096):
        answer += part
print(answer.partition(b"\\r\\n\\r\\n")[2].decode(), end="")
"""


def example(name: str) -> str:
    return (TEXTS / f"app.service.d/{name}.conf").read_text()


async def test_apps_beside_it() -> None:
    """Each example does what its first line says."""
    async with a_service(None, "--reloads", "app.service") as here:
        for name, more in {"files": "", "bound": "", "reloaded": ""}.items():
            await here.machine.unit(f"{name}.service", APP_OF_EXAMPLE.format(name=name) + more)
            await here.machine.unit(f"{name}.service.d/leasehold.conf", example(name))
        await here.machine.systemctl("stop", UNIT)
        await here.start("files.service")
        assert here.read("/run/files.saw") == "one", "the agent was started, and ready, before"
        await here.start("bound.service")
        await here.start("reloaded.service")
        await here.must("systemctl", "reload", UNIT)
        await eventually(lambda: here.read("/run/reloaded.told") == "told\n", within=WITHIN)
        await here.must("systemctl", "stop", UNIT)
        assert await here.machine.shown("files.service", "ActiveState") == "active"
        assert await here.machine.shown("bound.service", "ActiveState") == "inactive"


APP_OF_EXAMPLE = """[Service]
ExecStart=/bin/sh -c 'cat /run/leasehold/app/password >/run/{name}.saw; exec sleep 1000000'
ExecStartPost=/bin/sh -c 'until test -e /run/{name}.saw; do sleep 0.1; done'
ExecReload=/bin/sh -c 'echo told >/run/{name}.told'
"""


async def test_a_newer_systemd_waits_for_the_end_of_a_reload(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with a_service(None, "--as-root", distribution=TRIXIE) as here:
        assert await here.machine.shown(UNIT, "Type") == "notify-reload"
        changed = sections(here, RELOAD)
        changed["bundles"]["app"]["files"]["again"] = "{{ app.password }} again"
        await here.configure(**changed)
        await here.must("systemctl", "reload", UNIT)
        assert here.read("/run/leasehold/app/again") == "one again", "at once"
        await here.configure(secrets={"app": {"pth": "x"}})
        assert (await here.machine.systemctl("reload", UNIT)).returncode != 0
        assert await here.machine.shown(UNIT, "ActiveState") == "active"
        await here.must(PROGRAM, "install", "--systemd", "--remove")
        await here.install()
        await here.configure(**sections(here))
        await here.start()
        exposure = await here.exposure()
        with capsys.disabled():
            print(f"\nexposure of {UNIT} under systemd 257: {exposure}")
        assert exposure <= LARGEST_EXPOSURE

"""Debian's package: installed, started, upgraded and removed with dpkg under a real systemd."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.package.__main__ import make_deb
from tests.rig.installed import WITHIN, Installed, installed
from tests.rig.needs import needs_program, needs_root
from tests.rig.postgres import Postgres
from tests.rig.waiting import eventually

INSTALLED_WITHIN = 300.0
"""Seconds; most of it is Python that compiles."""
EXAMPLES = "/usr/share/doc/leasehold/examples"
pytestmark = pytest.mark.timeout(900)
PROGRAM = "/usr/bin/leasehold"
FILE = "/etc/leasehold/leasehold.yaml"
CREDENTIALS = "CREDENTIALS_DIRECTORY=/etc/leasehold/credentials"
PASSWORD = "/run/leasehold/app/password"
LARGEST = 10_000_000
"""Bytes of the file."""


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make deb` makes it."""
    needs_root()
    for program in ("dpkg-deb", "strip"):
        needs_program(program)
    return make_deb(tmp_path_factory.mktemp("dist"), "1")


def next_version(deb: Path, folder: Path) -> Path:
    """The same with a higher version, which the command tells, too."""
    root, made = folder / "next", folder / "leasehold_next.deb"
    subprocess.run(["dpkg-deb", "-R", deb, root], check=True)
    for file, pattern in (
        (root / "DEBIAN/control", r"(?m)^Version: .*$"),
        (root / "usr/lib/leasehold/agent/__init__.py", r'(?m)^__version__ = ".*"$'),
    ):
        is_control = file.name == "control"
        new = "Version: 99.0-1" if is_control else '__version__ = "99.0"'
        text, count = re.subn(pattern, new, file.read_text())
        assert count == 1
        file.write_text(text)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", root, made], check=True)
    return made


async def dpkg(here: Installed, *arguments: str) -> None:
    done = await here.machine.do("dpkg", *arguments, timeout=INSTALLED_WITHIN)
    assert done.returncode == 0, f"dpkg {arguments}: {done.stdout}{done.stderr}"


async def is_there(here: Installed, *paths: str) -> list[bool]:
    found = [await here.machine.do("test", "-e", path) for path in paths]
    return [each.returncode == 0 for each in found]


async def configured(here: Installed) -> None:
    """A bundle with a password and a credential of the database, for a user `app`."""
    assert here.vault.database is not None
    await here.user("app")
    await here.credentials()
    bundle = {
        "directory": "/run/leasehold/app",
        "owner": "app",
        "debounce": "50ms",
        "files": {"password": "{{ app.password }}", "user": "{{ db.username }}"},
    }
    await here.configure(
        secrets={"app": here.secret("app"), "db": {"path": here.vault.database.path}},
        bundles={"app": bundle},
        cache={
            "file": "/var/lib/leasehold/cache",
            "key": {"file": "${CREDENTIALS_DIRECTORY}/cache-key"},
        },
        audit={"file": "/var/log/leasehold/audit.jsonl"},
        telemetry={"socket": "/run/leasehold/telemetry.sock"},
    )


async def test_a_life_with_dpkg(deb: Path, tmp_path: Path, postgres: Postgres) -> None:
    higher = await asyncio.to_thread(next_version, deb, tmp_path)
    async with installed(postgres) as here:
        for file in (deb, higher):
            await asyncio.to_thread(shutil.copy, file, here.machine.shared)

        await dpkg(here, "-i", f"/shared/{deb.name}")
        version = deb.name.split("_")[1].rpartition("-")[0]
        assert version in await here.must(PROGRAM, "version")
        assert await here.machine.shown("leasehold.service", "ActiveState") == "inactive"
        assert await here.owner("/etc/leasehold/credentials") == "root root 700"

        await configured(here)
        await here.must("env", CREDENTIALS, PROGRAM, "check", "-c", FILE)
        await here.must(
            *("install", "-D", "-t", "/etc/systemd/system/leasehold.service.d"),
            f"{EXAMPLES}/drop-in/keep-leases.conf",
        )
        await here.must("systemctl", "daemon-reload")
        await here.must("systemctl", "enable", "leasehold")
        await here.start()
        await here.becomes(PASSWORD, "one")
        here.vault.kv.put("app", password="two")
        await here.becomes(PASSWORD, "two")
        assert await here.owner(PASSWORD) == "app leasehold 440"
        await is_hardened(here)
        await is_upgraded(here, f"/shared/{higher.name}")
        await is_removed(here)


async def is_hardened(here: Installed) -> None:
    """What the agent has in force as a service, which is not root."""
    told = await here.must("env", CREDENTIALS, PROGRAM, "status", "--json", "-c", FILE)
    for name in ("core dumps off", "private memory", "no new privileges", "writes confined"):
        assert re.search(rf'"{name}": {{\s*"in_force": true', told), told


async def is_upgraded(here: Installed, file: str) -> None:
    """By the new version, in a new process, and with the leases of the old one."""
    leases, pid = here.vault.leases(), await here.pid()
    generation = await here.must("readlink", "/run/leasehold/app/..data")
    user = await here.must("cat", "/run/leasehold/app/user")
    assert len(leases) == 1
    await dpkg(here, "-i", file)
    await here.runs_anew(pid)
    assert "99.0" in await here.must(PROGRAM, "version")
    here.vault.kv.put("app", password="three")
    await here.becomes(PASSWORD, "three")
    assert here.vault.leases() == leases
    assert await here.must("cat", "/run/leasehold/app/user") == user
    assert await here.must("readlink", "/run/leasehold/app/..data") != generation


async def is_removed(here: Installed) -> None:
    """Stopped first, which gives the leases back; what is the administrator's stays for a purge."""
    await here.must("rm", "/etc/systemd/system/leasehold.service.d/keep-leases.conf")
    await here.must("systemctl", "daemon-reload")
    pid = await here.pid()
    await here.must("systemctl", "restart", "leasehold")
    await here.runs_anew(pid)
    kept = (FILE, "/var/lib/leasehold/cache", "/var/log/leasehold")
    gone = ("/usr/bin/leasehold", "/usr/lib/leasehold", "/usr/lib/systemd/system/leasehold.service")
    await dpkg(here, "-r", "leasehold")
    await eventually(lambda: not here.vault.leases(), within=WITHIN)
    assert await here.machine.shown("leasehold.service", "MainPID") in ("", "0")
    assert await is_there(here, *kept, *gone) == [True] * 3 + [False] * 3
    await dpkg(here, "-P", "leasehold")
    assert await is_there(here, *kept, "/etc/leasehold", "/var/lib/leasehold") == [False] * 5


def test_it_is_one_small_file_that_lintian_finds_no_error_in(deb: Path) -> None:
    lintian = needs_program("lintian")
    assert deb.stat().st_size < LARGEST
    checked = subprocess.run(
        [lintian, "--allow-root", "--fail-on", "error", deb],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert checked.returncode == 0, checked.stdout


def test_made_again_it_is_the_same_byte_by_byte(deb: Path, tmp_path: Path) -> None:
    assert make_deb(tmp_path, "1").read_bytes() == deb.read_bytes()

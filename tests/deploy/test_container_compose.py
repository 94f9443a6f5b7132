"""deploy/compose as its documentation says, by a real compose: up, a rotation, down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rig.compose import project
from tests.rig.needs import needs_file, needs_program
from tests.rig.processes import wait_until

SOON = 120.0
pytestmark = pytest.mark.timeout(900)


def test_up_a_rotation_and_down(leasehold_image: str, tmp_path: Path) -> None:
    needs_program("iptables")
    for program in ("netavark", "aardvark-dns"):
        needs_file(f"/usr/lib/podman/{program}", program)
    with project(tmp_path, leasehold_image) as here:
        here.up("vault")
        wait_until(lambda: here.execute("vault", "bao", "status").returncode == 0, within=SOON)
        prepared = here.execute("vault", "sh", "/srv/prepare-vault.sh")
        assert prepared.returncode == 0, prepared.stderr

        here.up("agent", "app")
        wait_until(lambda: '"label": "one"' in here.log("app"), within=SOON)
        wait_until(lambda: here.execute("agent", *health()).returncode == 0, within=SOON)
        restrictions = json.loads(here.seen("agent", "{{json .HostConfig}}"))
        assert restrictions["ReadonlyRootfs"] and restrictions["PidsLimit"] == 64
        assert restrictions["Memory"] == 96 << 20 and "CAP_KILL" in restrictions["CapDrop"]

        put = ("bao", "kv", "put", "secret/app/settings", "label=two", "password=second-password")
        assert here.execute("vault", *put).returncode == 0
        wait_until(lambda: '"label": "two", "why": "POST"' in here.log("app"), within=SOON)
        assert "password" not in here.log("app")
        write = here.execute("app", "python", "-c", "open('/run/secrets/app/new', 'w')")
        assert write.returncode == 1 and "Read-only file system" in write.stderr

        assert here.compose("stop", "--timeout", "60", "agent").returncode == 0
        assert here.seen("agent", "{{.State.ExitCode}}") == "0"


def health() -> list[str]:
    return ["leasehold", "health", "-c", "/etc/leasehold"]

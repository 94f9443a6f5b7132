"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
import shutil
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.rig.images import CHECKOUT, USER, build, inspected, podman, sources

MOST_BYTES = 120_000_000
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "busybox", "toybox"}
TOOLS = {"pip", "apt", "apt-get", "dpkg", "curl", "wget", "perl", "su", "mount", "gcc"}
LOCKS = CHECKOUT / "deploy/container"
pytestmark = pytest.mark.timeout(900)


def test_it_is_small_and_says_what_it_is(leasehold_image: str) -> None:
    size = int(inspected(leasehold_image, "{{.Size}}"))
    print(f"\n{size / 1e6:.0f} MB")
    assert size < MOST_BYTES
    config: dict[str, Any] = json.loads(inspected(leasehold_image, "{{json .Config}}"))
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["leasehold"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.title"] == "leasehold"
    check = json.loads(inspected(leasehold_image, "{{json .HealthCheck}}"))
    assert check["Test"] == ["CMD", "leasehold", "health", "-c", "/etc/leasehold"]
    assert not [each for each in config["Env"] if each.startswith(("PIP_", "SSL_"))]


def test_nothing_in_it_helps_an_attacker(leasehold_image: str) -> None:
    with mounted(leasehold_image) as root:
        files = list(root.rglob("*"))
        names = {path.name for path in files}
        assert not names & (SHELLS | TOOLS), "no shell and no tools"
        assert not {"pip.conf", "setuptools", "site.cfg"} & names
        for path in files:
            status = path.lstat()
            assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), path
            assert status.st_uid == status.st_gid == 0, path
            assert path.is_symlink() or not status.st_mode & 0o022, path
        programs = {path.name for path in files if path.parent.name == "bin"}
        assert {name.partition("3")[0] for name in programs} == {"leasehold", "python"}


def test_it_has_just_what_the_lock_pins(leasehold_image: str) -> None:
    wanted = dict(pinned())
    with mounted(leasehold_image) as root:
        site = next(root.glob("opt/leasehold/lib/python3*/site-packages"))
        found = dict(path.name.removesuffix(".dist-info").split("-") for path in installed(site))
    assert found.pop("leasehold")
    assert {_plain(name): version for name, version in found.items()}.items() <= wanted.items()
    assert {"hvac", "aiohttp", "cryptography"} <= found.keys()


def test_the_lock_satisfies_what_the_project_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    lines = (LOCKS / "build.in").read_text().splitlines()
    builds = project["build-system"]["requires"] + [line for line in lines if line[0] != "#"]
    for needed, lock in ((project["project"]["dependencies"], "requirements"), (builds, "build")):
        have = dict(pinned(lock))
        for requirement in map(Requirement, needed):
            version = have.get(_plain(requirement.name))
            assert version, f"{requirement} is not in {lock}.lock"
            assert requirement.specifier.contains(version), f"{requirement}: {version} is pinned"


@pytest.mark.parametrize("lock", ["requirements", "build"])
def test_every_pin_has_hashes(lock: str) -> None:
    text = (LOCKS / f"{lock}.lock").read_text()
    for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_same_sources_give_the_same_layer(leasehold_image: str, tmp_path: Path) -> None:
    for file in sources():
        there = tmp_path / file.relative_to(CHECKOUT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    one, two = f"{leasehold_image}-one", f"{leasehold_image}-two"
    build(one, sources=tmp_path)
    build(two, "--no-cache", sources=tmp_path)
    try:
        assert layers(one) == layers(two)
    finally:
        podman("rmi", one, two)


def layers(image: str) -> str:
    """Digests of what is in the layers, all metadata of their files among it."""
    return inspected(image, "{{json .RootFS.Layers}}")


def pinned(lock: str = "requirements") -> Iterator[tuple[str, str]]:
    for line in (LOCKS / f"{lock}.lock").read_text().splitlines():
        if found := re.match(r"([a-z0-9-]+)==([^ ]+)", line):
            yield found[1], found[2]


def installed(site: Path) -> list[Path]:
    return list(site.glob("*.dist-info"))


def _plain(name: str) -> str:
    """As the lock spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The image's files, as they are."""
    done = podman("image", "mount", image)
    assert done.returncode == 0, done.stderr
    try:
        yield Path(done.stdout.strip())
    finally:
        podman("image", "unmount", image)

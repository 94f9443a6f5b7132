"""Container images without a registry, kept in `STORE`, apart from everybody else's.

The image of this checkout is built on a Debian that stands in for `python:3.11-slim`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rig.needs import needs_program, needs_root

CHECKOUT = Path(__file__).parents[2]
STORE = Path("/var/tmp/leasehold-containers")
BASE, IMAGE, APP = "localhost/python:3.11-slim", "localhost/leasehold", "localhost/app"
PACKAGES = "python3,python3-venv,ca-certificates"
AUTHORITIES, LENT = "/etc/ssl/certs/ca-certificates.crt", "/run/authorities.pem"
"""Of this machine, and where a build sees them: at their own place the image would get a copy."""
USER = 10001
INDEX = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
BESIDE_THE_PACKAGE = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
SETTINGS = """
[containers]
default_ulimits=["nofile=1024:4096","nproc=4096:8192"]
netns="none"
log_driver="k8s-file"
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
"""
STORAGE = (f"--root={STORE}/storage", "--runroot=/run/leasehold-containers")

AN_APP = f"""
FROM {BASE}
RUN cp "$(readlink -f /usr/bin/python3)" /usr/local/bin/app
USER {USER}:{USER}
"""
"""Python as a program of its own name."""


def environment() -> dict[str, str]:
    """Of podman, buildah and what is built on them."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(STORE),
        "CONTAINERS_CONF": str(STORE / "containers.conf"),
    }


def podman(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """`podman …` to its end; whether it went well is for the caller. Blocks."""
    return subprocess.run(
        ["podman", *STORAGE, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def inspected(what: str, template: str) -> str:
    """A container's or an image's property, as a Go template names it."""
    done = podman("inspect", "--format", template, what)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def built() -> str:
    """The image of this checkout, with the base that it needs and an app beside it. Blocks."""
    needs_root()
    for program in ("podman", "buildah", "runc", "debootstrap"):
        needs_program(program)
    STORE.mkdir(parents=True, exist_ok=True)
    with _alone():
        (STORE / "containers.conf").write_text(SETTINGS)
        if not _exists(BASE):
            _import_base()
        if not _exists(APP):
            build_text(APP, AN_APP)
        name = f"{IMAGE}:{_digest()}"
        if not _exists(name):
            build(name)
            _forget_old()
        podman("tag", name, IMAGE)
    return name


def build(name: str, *options: str, sources: Path = CHECKOUT) -> None:
    """Its Dockerfile, through the package index that this machine uses."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(_pip_configuration())
        file.flush()
        index = (f"--secret=id=pip,src={file.name}", f"--volume={AUTHORITIES}:{LENT}:ro")
        _buildah(name, "--layers", *index, *options, str(sources))


def build_text(name: str, text: str) -> None:
    """An image from the text of a Dockerfile without a context."""
    with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
        file.write(text)
        file.flush()
        build_file(name, Path(file.name))


def build_file(name: str, file: Path, *options: str) -> None:
    """An image from a Dockerfile without a context."""
    with tempfile.TemporaryDirectory() as nothing:
        _buildah(name, "--layers", f"--file={file}", *options, nothing)


def _buildah(name: str, *arguments: str) -> None:
    command = ["buildah", *STORAGE, "bud", "--isolation=chroot", "--pull-never", "--format=docker"]
    done = subprocess.run(
        [*command, f"--tag={name}", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@contextmanager
def _alone() -> Iterator[None]:
    """One process makes images, others wait."""
    with (STORE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _exists(name: str) -> bool:
    return podman("image", "exists", name).returncode == 0


def _forget_old() -> None:
    """Images of former sources, and layers of former builds; what a container uses stays."""
    old = (f"--filter=reference={IMAGE}", "--filter=until=2h", "--format={{.Repository}}:{{.Tag}}")
    for name in podman("images", *old).stdout.split():
        podman("rmi", name)
    podman("image", "prune", "--force", "--filter=until=2h")


def _import_base() -> None:
    """A minute, from Debian's archive."""
    root = STORE / "root"
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=900)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    archive = STORE / "root.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True, timeout=300)
    done = podman("import", str(archive), BASE, timeout=300)
    assert done.returncode == 0, done.stderr
    archive.unlink()
    shutil.rmtree(root)


def sources() -> list[Path]:
    """All that the image is made of, in the order of their names."""
    files = [CHECKOUT / name for name in BESIDE_THE_PACKAGE]
    files += [each for each in (CHECKOUT / "deploy/container").iterdir() if each.is_file()]
    files += [each for each in (CHECKOUT / "agent").rglob("*") if _is_source(each)]
    return sorted(files)


def _digest() -> str:
    seen = hashlib.sha256()
    for file in sources():
        seen.update(str(file.relative_to(CHECKOUT)).encode() + b"\0" + file.read_bytes())
    return seen.hexdigest()[:12]


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _pip_configuration() -> str:
    """How pip is set up here, but for what is nobody else's business."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    settings = {}
    for line in said.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.removeprefix(":env:.").removeprefix("global.")
        if key in INDEX:
            settings[key] = shlex.split(value)[0]
    settings["cert"] = LENT
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())

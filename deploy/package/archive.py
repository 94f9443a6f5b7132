"""A folder as a .deb: control files, settled modes and times, and dpkg-deb's own hand.

The same sources give the same file, byte by byte: times are SOURCE_DATE_EPOCH, the owner is root.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

FILES = Path(__file__).parent / "debian"
MAINTAINER = "The leasehold developers <maintainers@leasehold.invalid>"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
LONG_AGO = "315532800"
"""What SOURCE_DATE_EPOCH is where it is not set: the first day of 1980."""


@dataclass(frozen=True)
class Debian:
    """`version` with the revision; `python` is (first that fits, first that does not)."""

    version: str
    architecture: str
    python: tuple[str, str]

    @classmethod
    def of(cls, version: str, revision: str) -> Debian:
        """For the machine and the Python that this runs on."""
        told = subprocess.run(
            ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
        )
        major, minor = sys.version_info[:2]
        python = (f"{major}.{minor}", f"{major}.{minor + 1}")
        return cls(f"{version}-{revision}", told.stdout.strip(), python)


def archived(root: Path, into: Path, package: Debian) -> Path:
    """The file in `into`."""
    documents = root / "usr/share/doc/leasehold"
    (documents / "changelog.Debian").write_text(_changelog(package), "utf-8")
    for name in ("changelog", "changelog.Debian"):
        _compress(documents / name)
    _settle(root)
    size = sum(each.lstat().st_size for each in root.rglob("*") if each.is_file())
    control = root / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(_control(package, size), "utf-8")
    (control / "md5sums").write_text(_sums(root), "utf-8")
    for name in SCRIPTS:
        if (FILES / name).exists():
            (control / name).write_text((FILES / name).read_text(encoding="utf-8"), "utf-8")
            (control / name).chmod(0o755)
    return _built(root, into / f"leasehold_{package.version}_{package.architecture}.deb")


def _control(package: Debian, size: int) -> str:
    first, beyond = package.python
    return (
        (FILES / "control")
        .read_text(encoding="utf-8")
        .format(
            version=package.version,
            architecture=package.architecture,
            size=-(-size // 1024),
            python=first,
            python_beyond=beyond,
            maintainer=MAINTAINER,
        )
    )


def _changelog(package: Debian) -> str:
    """In Debian's form; what has changed is in the changelog beside it."""
    date = format_datetime(datetime.fromtimestamp(int(_epoch()), UTC))
    return (
        f"leasehold ({package.version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n"
        f" -- {MAINTAINER}  {date}\n"
    )


def _compress(file: Path) -> None:
    file.with_name(f"{file.name}.gz").write_bytes(
        gzip.compress(file.read_bytes(), compresslevel=9, mtime=0)
    )
    file.unlink()


def _settle(root: Path) -> None:
    """Programs may be run, all else only read."""
    for each in (root, *root.rglob("*")):
        is_program = each.is_dir() or each.parent == root / "usr/bin"
        each.chmod(0o755 if is_program else 0o644)


def _sums(root: Path) -> str:
    lines = []
    for each in sorted(each for each in root.rglob("*") if each.is_file()):
        if root / "DEBIAN" not in each.parents:
            digest = hashlib.md5(each.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(f"{digest}  {each.relative_to(root)}\n")
    return "".join(lines)


def _built(root: Path, file: Path) -> Path:
    epoch = _epoch()
    for each in (root, *root.rglob("*")):
        os.utime(each, (int(epoch), int(epoch)))
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(file)]
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"SOURCE_DATE_EPOCH": epoch},
    )
    return file


def _epoch() -> str:
    return os.environ.get("SOURCE_DATE_EPOCH", LONG_AGO)

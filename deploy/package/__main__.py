"""`make deb`: one file that a machine without pip installs leasehold from.

What goes in is what `deploy/container/*.lock` pin by hash, and this checkout. The libraries are for
the Python that runs this, so the package depends on that version of Python.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from deploy.package.archive import Debian, archived
from deploy.package.libraries import installed_into
from deploy.package.tree import laid_out

CHECKOUT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=__doc__)
    parser.add_argument("--into", type=Path, default=CHECKOUT / "dist", help="folder for the file")
    parser.add_argument("--revision", default="1", help="Debian's revision of this version")
    wanted = parser.parse_args()
    sys.stdout.write(f"{make_deb(wanted.into, wanted.revision)}\n")


def make_deb(into: Path, revision: str) -> Path:
    """The finished file."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="leasehold-deb-") as work:
        root = Path(work) / "root"
        libraries = root / "usr/lib/leasehold"
        version = installed_into(libraries, CHECKOUT, Path(work))
        laid_out(root, libraries, CHECKOUT)
        return archived(root, into, Debian.of(version, revision))


if __name__ == "__main__":
    main()

"""The private folder of libraries: what the locks pin, and leasehold's own wheel on top."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

UNUSED = (
    *("__pycache__", "*.a", "*.c", "*.h", "*.pxd", "*.pyi", "*.pyx", "*.hash"),
    *("RECORD", "direct_url.json"),
    *("pygments", "pygments-*", "markdown_it", "markdown_it_py-*", "mdurl", "mdurl-*"),
)
"""What pip notes of the folder that it worked in, which is another each time; and what rich wants
for source code and Markdown, of which leasehold shows neither."""

HASHED = ("--require-hashes", "--only-binary", ":all:")


def installed_into(libraries: Path, checkout: Path, work: Path) -> str:
    """Install them; the version of leasehold. `work` is a folder for what is needed meanwhile."""
    locks = checkout / "deploy" / "container"
    venv.create(work / "build", with_pip=True)
    python = work / "build/bin/python"
    _pip(python, "install", *HASHED, "-r", str(locks / "build.lock"))
    wheel = _wheel(python, checkout, work / "wheel")
    target = ("install", "--no-compile", "--target", str(libraries))
    _pip(python, *target, *HASHED, "-r", str(locks / "requirements.lock"))
    shutil.rmtree(libraries / "bin")  # commands of the libraries, and then our own
    _pip(python, *target, "--no-deps", "--no-index", str(wheel))
    shutil.rmtree(libraries / "bin")
    for pattern in UNUSED:
        for each in sorted(libraries.rglob(pattern)):
            _remove(each)
    for each in sorted(libraries.rglob("*.so")):  # symbols for debuggers: 23 of 42 MB
        subprocess.run(["strip", "--strip-unneeded", str(each)], check=True)
    return wheel.name.split("-")[1]


def _wheel(python: Path, checkout: Path, into: Path) -> Path:
    _pip(
        *(python, "wheel", "--no-deps", "--no-index", "--no-build-isolation"),
        *("-w", str(into), str(checkout)),
    )
    [wheel] = into.glob("leasehold-*.whl")
    return wheel


def _pip(python: Path, *arguments: str) -> None:
    quiet = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([python, *quiet, *arguments], check=True, stdout=sys.stderr)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

"""What a test needs of the machine. Missing: the test is skipped and says so; under CI it fails."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def needs_root() -> None:
    """The test mounts, or acts as several users."""
    if os.geteuid() != 0:
        _missing("root")


def needs_program(name: str) -> str:
    """The path of a program: the system's, or one that came with a package of Python's."""
    path = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    return path or _missing(f"the program {name}")


def needs_file(pattern: str, what: str) -> str:
    """The first path that fits an absolute pattern."""
    found = sorted(Path("/").glob(pattern.removeprefix("/")))
    return str(found[0]) if found else _missing(what)


def needs_landlock() -> None:
    """A kernel that confines writes, for whoever runs the tests."""
    from agent.hardening import landlock

    try:
        landlock.version()
    except OSError as error:
        _missing(f"a kernel with Landlock: {error.strerror}")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"missing under CI: {what}", pytrace=False)
    pytest.skip(f"needs {what}")

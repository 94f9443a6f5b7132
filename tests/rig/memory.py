"""Directories on real tmpfs filesystems."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.needs import needs_program, needs_root

MakeTmpfs = Callable[[str], Path]


@pytest.fixture
def memory_directory() -> Iterator[Path]:
    """A directory of this test's own, on a tmpfs that needs no root."""
    with tempfile.TemporaryDirectory(prefix="leasehold-", dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def make_tmpfs(tmp_path: Path) -> Iterator[MakeTmpfs]:
    """Mounts a tmpfs with options (`size=64k`, `nr_inodes=12`), which is gone after the test."""
    needs_root()
    needs_program("mount")
    mounted: list[Path] = []

    def make(options: str) -> Path:
        directory = tmp_path / f"tmpfs-{len(mounted)}"
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
        mounted.append(directory)
        return directory

    yield make
    for directory in mounted:
        subprocess.run(["umount", "-l", directory], check=True)

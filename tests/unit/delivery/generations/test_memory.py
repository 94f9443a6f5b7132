"""Whether a directory lives in memory is what the kernel's mounts say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from agent.delivery.generations.memory import SWAPS, filesystem_of, is_memory, swap_advice
from tests.rig.memory import MakeTmpfs


def test_a_tmpfs_is_memory(memory_directory: Path) -> None:
    assert filesystem_of(memory_directory) == "tmpfs"
    assert is_memory(memory_directory)


def test_a_descriptor_is_as_good_as_a_path(memory_directory: Path) -> None:
    descriptor = os.open(memory_directory, os.O_RDONLY)
    try:
        assert is_memory(descriptor)
    finally:
        os.close(descriptor)


def test_other_filesystems_are_not_memory_and_have_their_name() -> None:
    assert filesystem_of(Path("/proc")) == "proc"
    assert not is_memory(Path("/proc"))


def test_a_path_that_does_not_exist_counts_as_its_nearest_parent(memory_directory: Path) -> None:
    assert is_memory(memory_directory / "not" / "yet")
    assert filesystem_of(Path("/proc/not/there")) == "proc"


def test_a_link_counts_as_what_it_points_to(memory_directory: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(memory_directory)
    assert is_memory(link / "below")


def test_a_mount_below_another_is_told_apart(make_tmpfs: MakeTmpfs, tmp_path: Path) -> None:
    inner = make_tmpfs("size=64k")
    assert is_memory(inner) and filesystem_of(inner.parent) == filesystem_of(tmp_path)


def test_a_ramfs_is_memory(make_tmpfs: MakeTmpfs) -> None:
    below = make_tmpfs("size=64k") / "ramfs"
    below.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", below], check=True)
    try:
        assert filesystem_of(below) == "ramfs" and is_memory(below)
        assert swap_advice(below) is None
    finally:
        subprocess.run(["umount", below], check=True)


def test_a_tmpfs_on_a_machine_with_swap_is_advised_against(memory_directory: Path) -> None:
    has_swap = len(SWAPS.read_text().splitlines()) > 1
    advice = swap_advice(memory_directory)
    assert (advice is not None) == has_swap
    assert advice is None or "noswap" in advice

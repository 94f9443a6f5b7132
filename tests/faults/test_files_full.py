"""No room, no right, no directory: nothing half done stays, and what was published stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.core.errors import PublishError
from agent.delivery.generations import RenderedFile
from tests.rig.generations import generations, names_in, published, rendered
from tests.rig.memory import MakeTmpfs
from tests.rig.needs import needs_root


def _used(directory: Path) -> tuple[int, int]:
    status = os.statvfs(directory)
    return status.f_blocks - status.f_bfree, status.f_files - status.f_ffree


def test_a_candidate_without_room_leaves_nothing_and_the_last_generation_stands(
    make_tmpfs: MakeTmpfs,
) -> None:
    directory = make_tmpfs("size=64k,mode=0755")
    of = generations(directory)
    of.prepare()
    published(of, small="1", big="1")
    before, used = names_in(directory), _used(directory)

    with pytest.raises(
        PublishError, match=r"app: .*/big: no space or inodes left on tmpfs; .*size="
    ):
        of.write(rendered(small="2", big="x" * 100_000))
    assert (names_in(directory), _used(directory)) == (before, used)
    assert (directory / "big").read_text() == "1"
    assert published(of, small="2", big="2") == 2


@pytest.mark.parametrize("left", range(10))
def test_without_inodes_a_generation_appears_whole_or_not_at_all(
    make_tmpfs: MakeTmpfs, left: int
) -> None:
    directory = make_tmpfs("size=1m,nr_inodes=40,mode=0755")
    of = generations(directory)
    of.prepare()
    published(of, a="1", b="1")
    of.mark_announced(1)
    free = os.statvfs(directory).f_ffree
    for number in range(free - left):
        (directory / f"filler-{number}").touch()
    before, used = names_in(directory), _used(directory)

    if left >= 8:  # a folder, three files in two folders, two links, and ..data
        assert published(of, a="2", new="2", tls__key="2") == 2
        assert (directory / "tls" / "key").read_text() == "2"
        assert not os.path.lexists(directory / "b")
        return
    candidate = None
    with pytest.raises(PublishError, match="no space or inodes left"):
        candidate = of.write(rendered(a="2", new="2", tls__key="2"))
        of.publish(candidate)
    assert (candidate is not None) == (left >= 5)
    if candidate is not None:
        of.discard(candidate)
    assert of.current() == 1
    assert (names_in(directory), _used(directory)) == (before, used)
    assert (directory / "a").read_text() == (directory / "b").read_text() == "1"


def test_a_full_filesystem_does_not_prevent_a_roll_back(make_tmpfs: MakeTmpfs) -> None:
    directory = make_tmpfs("size=64k,mode=0755")
    of = generations(directory)
    of.prepare()
    published(of, a="1")
    published(of, a="2")
    with (directory / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(b"x" * 4096)

    of.restore(1)
    assert (directory / "a").read_text() == "1"
    of.mark_announced(1)
    again = generations(directory)
    again.prepare()
    assert (again.current(), again.announced()) == (1, 1)
    (directory / "filler").unlink()
    assert published(again, a="3") == 3


def test_a_read_only_filesystem_is_named(make_tmpfs: MakeTmpfs) -> None:
    directory = make_tmpfs("size=64k,mode=0755,ro")
    of = generations(directory)
    of.prepare()
    with pytest.raises(PublishError, match="tmpfs is read-only there; mount it writable"):
        of.write(rendered(a="1"))


def test_a_directory_that_vanishes_between_writing_and_publishing_fails_once(
    memory_directory: Path,
) -> None:
    directory = memory_directory / "app"
    of = generations(directory)
    of.prepare()
    candidate = of.write(rendered(a="1"))
    directory.rename(memory_directory / "gone")

    with pytest.raises(PublishError, match="app: went away meanwhile"):
        of.publish(candidate)
    of.discard(candidate)
    assert published(of, a="2") == 2
    assert (directory / "a").read_text() == "2"


def test_an_owner_that_the_agent_may_not_give_is_explained(memory_directory: Path) -> None:
    needs_root()
    directory = memory_directory / "app"
    memory_directory.chmod(0o777)
    of = generations(directory)
    of.prepare()
    os.chown(directory, 65534, 65534)
    files = {"tls/key": RenderedFile(b"", 0o440, 10001, 10001)}

    before = os.geteuid()
    os.seteuid(65534)
    try:
        ordinary = generations(directory)
        ordinary.prepare()
        with pytest.raises(PublishError, match=r"tls/key: can't be given to 10001:10001; run"):
            ordinary.write(files)
        assert names_in(directory) == {"..announced"}
    finally:
        os.seteuid(before)

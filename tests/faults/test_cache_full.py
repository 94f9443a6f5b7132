"""A full, small or read-only disk costs the writing, never what is there, and passes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.core.errors import SealedFileError
from tests.rig.kept import NOW, WALL, book, key_file, opened
from tests.rig.memory import MakeTmpfs


def fill(directory: Path) -> Path:
    """Take all the space that is left."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    return path


def test_no_space_leaves_the_book_that_is_there(make_tmpfs: MakeTmpfs, tmp_path: Path) -> None:
    directory, key = make_tmpfs("size=64k,mode=0700"), key_file(tmp_path)
    file = opened(directory, key=key)
    file.save(book("first"))
    names = sorted(path.name for path in directory.iterdir())
    filler = fill(directory)
    for number in range(3):
        with pytest.raises(SealedFileError, match="can't be written: No space left on device"):
            file.save(book("second", now=NOW + number))
    assert sorted(path.name for path in directory.iterdir()) == sorted([*names, "filler"])
    assert file.load(NOW + 3, WALL) is not None
    filler.unlink()
    file.save(book("third", now=NOW + 3))
    file.close()
    loaded = opened(directory, key=key).load(NOW + 3, WALL)
    assert loaded is not None and loaded.now == NOW + 3


@pytest.mark.parametrize("inodes", range(2, 6))
def test_no_inodes_at_any_step(make_tmpfs: MakeTmpfs, tmp_path: Path, inodes: int) -> None:
    """The root takes one; lock, head, file and the candidate want one each."""
    directory, key = make_tmpfs(f"nr_inodes={inodes},mode=0700"), key_file(tmp_path)
    file = opened(directory, key=key)
    assert file.load(NOW, WALL) is None
    try:
        file.save(book())
    except SealedFileError as error:
        assert "No space left" in str(error)
    else:
        assert inodes == 5
    file.close()
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", directory], check=True)
    file = opened(directory, key=key)
    file.load(NOW, WALL)
    file.save(book(now=NOW + 1))
    loaded = file.load(NOW + 1, WALL)
    assert loaded is not None and loaded.now == NOW + 1


def test_a_head_on_a_full_disk_is_a_writing_that_failed(
    make_tmpfs: MakeTmpfs, tmp_path: Path
) -> None:
    """The file goes ahead by one writing and no more, however often that is tried."""
    memory = make_tmpfs("size=64k,mode=0700")
    file = opened(tmp_path, head=memory / "head")
    file.save(book())
    filler = fill(memory)
    for number in range(5):
        with pytest.raises(SealedFileError, match="head: can't be written: No space left"):
            file.save(book(now=NOW + number))
    file.close()
    filler.unlink()
    file = opened(tmp_path, head=memory / "head")
    loaded = file.load(NOW + 5, WALL)
    assert loaded is not None and loaded.now == NOW + 4
    file.save(book(now=NOW + 5))
    assert file.load(NOW + 5, WALL) is not None


def test_a_read_only_disk_is_read(make_tmpfs: MakeTmpfs, tmp_path: Path) -> None:
    directory, key = make_tmpfs("size=64k,mode=0700"), key_file(tmp_path)
    file = opened(directory, key=key)
    file.save(book())
    file.close()
    (directory / "cache.lock").unlink()
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
    file = opened(directory, key=key)
    assert file.load(NOW + 1, WALL) is not None
    with pytest.raises(SealedFileError, match="can't be written: Read-only file system"):
        file.save(book(now=NOW + 1))
    subprocess.run(["mount", "-o", "remount,rw", directory], check=True)
    file.save(book(now=NOW + 2))
    with pytest.raises(SealedFileError, match="used by another agent"):
        opened(directory, key=key)

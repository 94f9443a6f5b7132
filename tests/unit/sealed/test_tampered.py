"""Whatever is altered, cut, exchanged or put back is refused; nothing of it is believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.core.errors import SealedFileError
from agent.core.sealing import SealingKey, seal
from agent.sealed.file import HEAD_PURPOSE, PURPOSE
from tests.rig.kept import HOST, NOW, VALUE, WALL, book, opened

Alter = Callable[[bytes], bytes]
KEY = SealingKey(b"\xaa" * 32)
FILES = ["cache", "cache.head"]


def written(directory: Path, times: int = 3, **options: object) -> list[dict[str, bytes]]:
    """The two files after each writing."""
    file = opened(directory, **options)  # type: ignore[arg-type]
    states = []
    for number in range(times):
        file.save(book(now=NOW + number))
        states.append({path.name: path.read_bytes() for path in (file.path, file.head)})
    file.close()
    return states


def put(directory: Path, **contents: bytes) -> None:
    for name, content in contents.items():
        path = directory / name.replace("__", ".")
        path.write_bytes(content)
        path.chmod(0o600)


def refusal(directory: Path, **options: object) -> str:
    file = opened(directory, **options)  # type: ignore[arg-type]
    with pytest.raises(SealedFileError) as caught:
        file.load(NOW + 100, WALL)
    assert VALUE not in str(caught.value)
    file.save(book(now=NOW + 100))
    assert file.load(NOW + 100, WALL) is not None, "a refusal is no end"
    file.close()
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_byte_anywhere_is_refused(memory_directory: Path, name: str) -> None:
    [*_, others] = written(memory_directory)
    content, file = others[name], opened(memory_directory)
    for offset in range(len(content)):
        for flip in (0x01, 0x80):
            put(memory_directory, cache=others["cache"], cache__head=others["cache.head"])
            altered = bytearray(content)
            altered[offset] ^= flip
            put(memory_directory, **{name.replace(".", "__"): bytes(altered)})
            with pytest.raises(SealedFileError):
                file.load(NOW + 100, WALL)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_anywhere_is_refused(memory_directory: Path, name: str) -> None:
    [*_, last] = written(memory_directory)
    file = opened(memory_directory)
    for length in range(len(last[name])):
        put(memory_directory, cache=last["cache"], cache__head=last["cache.head"])
        put(memory_directory, **{name.replace(".", "__"): last[name][:length]})
        with pytest.raises(SealedFileError):
            file.load(NOW + 100, WALL)


@pytest.mark.parametrize(
    "alter",
    [
        lambda content: content + b"\0",
        lambda content: content + content,
        lambda content: b"\n" + content,
        lambda content: content.replace(b'"sequence":3', b'"sequence":4'),
        lambda content: content.replace(b'"purpose":"cache', b'"purpose":"cachf'),
        lambda content: content[:-16] + bytes(16),
        lambda content: bytes(len(content)),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_other_alterations_are_refused(tmp_path: Path, alter: Alter, name: str) -> None:
    [*_, last] = written(tmp_path)
    put(tmp_path, **{name.replace(".", "__"): alter(last[name])})
    assert name in refusal(tmp_path)


def test_an_older_file_put_back_is_refused(tmp_path: Path) -> None:
    first, second, _ = written(tmp_path)
    put(tmp_path, cache=first["cache"])
    assert "is an older copy (writing 1, where" in refusal(tmp_path)
    assert (tmp_path / "cache.refused").read_bytes() == first["cache"]
    assert second["cache"] != first["cache"]


def test_an_older_head_put_back_is_refused(tmp_path: Path) -> None:
    first, *_ = written(tmp_path)
    put(tmp_path, cache__head=first["cache.head"])
    assert "cache.head: is an older copy (writing 1, where" in refusal(tmp_path)


def test_both_put_back_are_seen_only_where_the_head_is_elsewhere(tmp_path: Path) -> None:
    """On one disk the two can't know; that is what `head:` is for."""
    first, *_ = written(tmp_path)
    put(tmp_path, cache=first["cache"], cache__head=first["cache.head"])
    file = opened(tmp_path)
    assert file.load(NOW + 100, WALL) is not None
    file.close()


def test_a_head_elsewhere_tells_an_older_disk(tmp_path: Path) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other"
    disk.mkdir()
    other.mkdir()
    first, *_ = written(disk, head=other / "head")
    assert not (disk / "cache.head").exists()
    put(disk, cache=first["cache"])
    assert "is an older copy" in refusal(disk, head=other / "head")


def test_files_of_two_lines_do_not_go_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    [*_, last] = written(one)
    written(two)
    put(two, cache=last["cache"])
    assert "does not belong to" in refusal(two)


@pytest.mark.parametrize(("name", "other"), [("cache", "cache.head"), ("cache.head", "cache")])
def test_file_and_head_are_not_each_other(tmp_path: Path, name: str, other: str) -> None:
    [*_, last] = written(tmp_path)
    put(tmp_path, **{name.replace(".", "__"): last[other]})
    assert ", not a '" in refusal(tmp_path)


def test_a_file_removed_is_seen(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "cache").unlink()
    assert "is missing, but" in refusal(tmp_path)


def test_a_head_removed_is_seen(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "cache.head").unlink()
    assert "cache.head: is missing" in refusal(tmp_path)


def test_a_head_in_memory_may_be_lost_with_the_boot_and_only_then(tmp_path: Path) -> None:
    disk, memory = tmp_path / "disk", tmp_path / "memory"
    disk.mkdir()
    memory.mkdir()
    head, rebooted = memory / "head", replace(HOST, boot="boot-2")
    written(disk, head=head)
    head.unlink()
    file = opened(disk, head=head, host=rebooted)
    assert file.load(9.0, WALL + 60) is not None
    file.save(book(now=10.0, wall=WALL + 61))
    file.close()
    file = opened(disk, head=head, host=rebooted)
    assert file.load(11.0, WALL + 62) is not None
    file.close()
    head.unlink()
    file = opened(disk, head=head, host=rebooted)
    with pytest.raises(SealedFileError, match="head: is missing"):
        file.load(11.0, WALL + 62)


def test_a_file_one_writing_ahead_of_its_head_is_a_killed_agents(tmp_path: Path) -> None:
    _, second, third = written(tmp_path)
    put(tmp_path, cache=third["cache"], cache__head=second["cache.head"])
    file = opened(tmp_path)
    loaded = file.load(NOW + 100, WALL)
    assert loaded is not None and loaded.now == NOW + 2
    file.save(book(now=NOW + 100))
    assert file.load(NOW + 100, WALL) is not None
    file.close()
    put(tmp_path, cache=third["cache"])
    assert "is an older copy (writing 3, where" in refusal(tmp_path)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"short",
        bytes(16),
        bytes(16) + b"\x80",
        bytes(16) + b"\x91" * 5000,
        bytes(16) + b"\xa5hello",
        bytes(16) + b"\x84\xa4host\x01\xa4boot\x01\xa3now\x01\xa4wall\x01",
        bytes(16)
        + b"\x84\xa4host\xa1a\xa4boot\xa1b\xa3now\xcb\x7f\xf8"
        + bytes(6)
        + b"\xa4wall\x01",
    ],
)
def test_what_the_key_opens_may_be_nonsense_nevertheless(tmp_path: Path, payload: bytes) -> None:
    line = payload[:16].ljust(16, b"\0")
    content = seal(payload, KEY, purpose=PURPOSE, sequence=1)
    put(tmp_path, cache=content)
    put(tmp_path, cache__head=seal(line, KEY, purpose=HEAD_PURPOSE, sequence=1))
    said = refusal(tmp_path)
    assert "does not hold what a cache" in said or "times that are none" in said


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    written(tmp_path)
    os.truncate(tmp_path / "cache", 2**40)
    assert "bytes" in refusal(tmp_path)

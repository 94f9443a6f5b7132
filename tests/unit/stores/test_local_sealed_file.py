"""Key files and encrypted files on a real disk: judged before they are read, written whole."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.config.model import LocalKey
from agent.core.errors import ConfigurationError, SealedFileError
from agent.core.sealing import seal, unseal
from agent.stores.sealed_file import locked, make_key, read_key, read_private, replace
from tests.rig.needs import needs_root

HEX = "0123456789abcdefABCDEF" + "0" * 42


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SealedFileError) as caught:
        read_key(LocalKey(file=path))
    assert str(path) in str(caught.value)
    return caught.value.reason


def opens(spec: LocalKey, other: LocalKey) -> bool:
    content = seal(b"x", read_key(spec), purpose="test", sequence=1)
    return unseal(content, read_key(other), purpose="test", name="F").payload == b"x"


def test_hexadecimal_and_raw_keys_are_the_same_key(tmp_path: Path) -> None:
    raw = LocalKey(file=private(tmp_path / "raw", bytes.fromhex(HEX)))
    for number, ending in enumerate(("", "\n", "\r\n")):
        text = private(tmp_path / f"hex{number}", f"{HEX}{ending}".encode(), 0o400)
        assert opens(raw, LocalKey(file=text))


def test_a_passphrase_does_not_count_its_newline(tmp_path: Path) -> None:
    bare = LocalKey(passphrase_file=private(tmp_path / "bare", b"correct horse"))
    line = LocalKey(passphrase_file=private(tmp_path / "line", b"correct horse\n"))
    assert opens(bare, line)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777, 0o610])
def test_a_key_that_others_may_touch_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "key", HEX.encode(), mode)
    assert f"mode {mode:04o}" in refusal(path)


def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    needs_root()
    path = private(tmp_path / "key", HEX.encode())
    os.chown(path, 12345, -1)
    assert "owned by user 12345" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"x" * 31, b"x" * 33, b"g" * 64, HEX.encode() + b"0", b" " * 64, b"\xff" * 64]
)
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = private(tmp_path / "key", content)
    assert refusal(path) == "a key has 64 hexadecimal characters or 32 bytes, this is neither"


def test_an_endless_key_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"")
    os.truncate(path, 2**40)
    assert refusal(path) == "has more than 4096 bytes"


def test_a_pipe_or_a_folder_is_no_key_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(tmp_path / "pipe") == "is not a regular file"
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "Is a directory" in refusal(tmp_path / "folder")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "socket"))
        assert "can't be read" in refusal(tmp_path / "socket")


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "passphrase", b"\n")
    with pytest.raises(SealedFileError, match="holds no passphrase"):
        read_key(LocalKey(passphrase_file=path))


def test_a_key_must_come_from_somewhere() -> None:
    with pytest.raises(ConfigurationError, match="file and passphrase_file"):
        read_key(LocalKey())


def test_a_missing_file_may_come_back_and_a_bad_mode_stays(tmp_path: Path) -> None:
    with pytest.raises(SealedFileError) as missing:
        read_private(tmp_path / "none", 10)
    assert not missing.value.is_lasting
    with pytest.raises(SealedFileError) as shared:
        read_private(private(tmp_path / "shared", b"", 0o644), 10)
    assert shared.value.is_lasting


def test_a_new_key_is_private_works_and_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert opens(LocalKey(file=path), LocalKey(file=path))
    with pytest.raises(SealedFileError, match="File exists"):
        make_key(path)
    assert path.read_bytes() == before


def test_a_link_put_where_the_new_key_is_to_be_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SealedFileError, match="can't be made"):
        make_key(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_replaced_by_a_new_one_and_nothing_is_left(tmp_path: Path) -> None:
    path = private(tmp_path / "file", b"old", 0o644)
    with path.open("rb") as reader:
        replace(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real/file")
    replace(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "real/file").read_bytes() == b"new"


def test_the_leftover_of_a_killed_run_or_a_planted_link_is_not_written_through(
    tmp_path: Path,
) -> None:
    victim = private(tmp_path / "victim", b"precious")
    (tmp_path / "file.new").symlink_to(victim)
    replace(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_file_that_can_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    with pytest.raises(SealedFileError, match="can't be written") as caught:
        replace(folder, b"new")
    assert not caught.value.is_lasting
    assert folder.is_dir()


def test_a_planted_link_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    (tmp_path / "file.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SealedFileError, match="can't be opened"), locked(tmp_path / "file"):
        pytest.fail("entered")
    assert not (tmp_path / "elsewhere").exists()

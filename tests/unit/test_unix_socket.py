"""A socket's name appears with its mode and owner, replaces the dead, and never the living."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.core.errors import AgentError
from agent.unix_socket import UnixSocket, bind_unix


@contextmanager
def bound(path: Path, mode: int = 0o660, uid: int = -1, gid: int = -1) -> Iterator[UnixSocket]:
    socket = bind_unix(path, mode=mode, uid=uid, gid=gid)
    try:
        yield socket
    finally:
        socket.remove()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as visitor:
        try:
            visitor.connect(str(path))
        except OSError:
            return False
    return True


def dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_it_listens_from_the_moment_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with bound(path) as listening:
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(path))
            accepted, _ = listening.socket.accept()
            visitor.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
            accepted.close()
        assert not listening.socket.getblocking()
        assert names(tmp_path) == ["s.sock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o177])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(
    tmp_path: Path, mode: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        with bound(tmp_path / "s.sock", mode) as listening:
            assert stat.S_IMODE(listening.path.stat().st_mode) == mode
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_the_owner_is_the_one_asked_for(tmp_path: Path) -> None:
    owner = (4321, 1234) if os.getuid() == 0 else (os.getuid(), os.getgid())
    with bound(tmp_path / "s.sock", uid=owner[0], gid=owner[1]) as listening:
        status = listening.path.stat()
        assert (status.st_uid, status.st_gid) == owner


def test_mode_and_owner_are_there_before_the_name_vault_9806(tmp_path: Path) -> None:
    path, seen, done = tmp_path / "s.sock", set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(stat.S_IMODE(path.lstat().st_mode))
            except FileNotFoundError:
                continue

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        with bound(path, 0o620):
            pass
    done.set()
    looking.join()
    assert seen <= {0o620}


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    dead_socket(path)
    with bound(path):
        assert connects(path)


@pytest.mark.parametrize("backlog", [0, 5])
def test_a_living_one_never(tmp_path: Path, backlog: int) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as visitor:
        living.bind(str(path))
        living.listen(backlog)
        visitor.connect(str(path))  # with a backlog of 0 nobody else gets in
        before = path.lstat().st_ino
        with pytest.raises(AgentError, match=f"{path}: another process listens there"):
            bind_unix(path, mode=0o660)
        assert path.lstat().st_ino == before
    assert names(tmp_path) == ["s.sock"]


@pytest.mark.parametrize("kind", ["file", "folder", "link to a dead socket", "dangling link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "link to a dead socket":
            dead_socket(tmp_path / "dead")
        path.symlink_to(tmp_path / "dead")
    before = names(tmp_path)
    with pytest.raises(AgentError, match="which is not a socket"):
        bind_unix(path, mode=0o660)
    assert names(tmp_path) == before


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"nowhere/s\.sock: No such file or directory"):
        bind_unix(tmp_path / "nowhere" / "s.sock", mode=0o660)


def test_an_owner_that_can_not_be_given_leaves_nothing(tmp_path: Path) -> None:
    uid = 0 if os.getuid() else 2**40  # which nobody has
    with pytest.raises((AgentError, OverflowError)):
        bind_unix(tmp_path / "s.sock", mode=0o660, uid=uid)
    assert names(tmp_path) == []


@pytest.mark.parametrize("excess", [0, 1])
def test_the_longest_path_works_and_a_longer_one_is_refused(excess: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        path = Path(short) / ("s" * (107 - len(short) - 1 + excess))
        if excess:
            with pytest.raises(AgentError, match="the path is too long"):
                bind_unix(path, mode=0o660)
        else:
            with bound(path):
                assert connects(path)


def test_a_name_that_is_somebody_elses_by_now_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    first = bind_unix(path, mode=0o660)
    path.unlink()
    with bound(path):
        first.remove()
        assert connects(path)
    assert not path.exists()

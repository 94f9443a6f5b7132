"""Memory files hold what they were given, for those who inherit them, and can't be changed."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import DeliveryError
from agent.delivery.process.memory_files import SEALS, memory_files, path_of
from agent.delivery.process.spawn import run_command, spawn
from tests.rig.descriptors import open_descriptors
from tests.rig.needs import needs_root
from tests.rig.reports import reports

RUNS_ON_EVERY_LOOP = True
NOBODY = 65534

ATTACK = """
import errno, fcntl, mmap, os, sys
fd = int(sys.argv[1])
report = open(os.environ["REPORTS"], "w")
os.setuid(int(sys.argv[2]))
told = []
def attempt(name, action):
    try:
        action()
        told.append(f"{name}=done")
    except OSError as error:
        told.append(f"{name}={errno.errorcode[error.errno]}")
attempt("write", lambda: os.write(fd, b"x"))
attempt("truncate", lambda: os.ftruncate(fd, 0))
attempt("grow", lambda: os.ftruncate(fd, 10000))
attempt("map", lambda: mmap.mmap(fd, 6))
attempt("unseal", lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0))
attempt("chmod", lambda: os.fchmod(fd, 0o777))
attempt("execute", lambda: os.execve(fd, ["x"], {}))
def through_path():
    with open(f"/proc/self/fd/{fd}", "r+b") as file:
        file.write(b"x")
attempt("path", through_path)
with open(f"/proc/self/fd/{fd}", "rb") as file:
    told.append(file.read().decode())
print(*told, file=report)
"""


@given(st.dictionaries(st.text("ABC_", min_size=1), st.binary(max_size=5000), max_size=5))
def test_each_file_has_its_own_bytes_and_may_be_read_again(contents: dict[str, bytes]) -> None:
    with memory_files(contents, None) as files:
        assert files.keys() == contents.keys()
        for _ in range(2):
            read = {name: Path(path_of(file)).read_bytes() for name, file in files.items()}
            assert read == contents


def test_a_file_larger_than_a_pipe_or_a_page_is_whole() -> None:
    content = os.urandom(3_000_000)
    with memory_files({"BIG": content}, None) as files:
        assert Path(path_of(files["BIG"])).read_bytes() == content


def test_files_are_sealed_private_and_say_nothing_by_their_name() -> None:
    with memory_files({"TLS_KEY_FILE": b"s3cret"}, NOBODY) as files:
        file = files["TLS_KEY_FILE"]
        assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & SEALS == SEALS
        assert os.fstat(file).st_mode & 0o7777 == 0o400
        assert os.fstat(file).st_uid == NOBODY
        assert not os.get_inheritable(file)
        assert Path(f"/proc/self/fd/{file}").readlink() == Path("/memfd:leasehold (deleted)")


def test_they_are_gone_afterwards_from_descriptors_and_mappings() -> None:
    before = open_descriptors()
    with memory_files({"A": b"a" * 9000, "EMPTY": b""}, None):
        _, _, mapping = Path("/proc/self/smaps").read_text().partition("memfd:leasehold")
        assert int(mapping.partition("Rss:")[2].split()[0]) == 12  # kB: every page is there
    assert open_descriptors() == before
    assert "memfd:leasehold" not in Path("/proc/self/maps").read_text()


def test_a_file_that_can_not_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with (
            pytest.raises(DeliveryError, match="memory file TLS_KEY_FILE: Too many open files"),
            memory_files({"TLS_KEY_FILE": b"s3cret"}, None),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "nobody"])
async def test_a_child_reads_it_and_can_change_nothing(tmp_path: Path, uid: int) -> None:
    needs_root()
    with reports(tmp_path) as told, memory_files({"KEY": b"s3cret"}, uid) as files:
        child = spawn(
            [sys.executable, "-I", "-c", ATTACK, str(files["KEY"]), str(uid)],
            environment={"REPORTS": str(told.path)},
            pass_fds=files.values(),
        )
        assert await child.wait() == 0
        line = await told.next()
    refused = dict(each.split("=") for each in line.split()[:-1])
    assert line.split()[-1] == "s3cret"
    assert refused.pop("chmod") in ("done", "EPERM")  # its owner's right, and of no use
    assert set(refused.values()) <= {"EPERM", "EACCES"}
    assert len(refused) == 7


async def test_the_path_works_for_what_the_child_starts_and_for_nobody_else(
    tmp_path: Path,
) -> None:
    environment = {"PATH": os.environ["PATH"], "OUT": str(tmp_path / "out")}
    with memory_files({"KEY": b"s3cret"}, None) as files:
        environment["KEY"] = path_of(files["KEY"])
        child = spawn(
            ["sh", "-c", 'sh -c "cat $KEY; cat $KEY" >$OUT'],
            environment=environment,
            pass_fds=files.values(),
        )
        assert await child.wait() == 0
        command = ["sh", "-c", "cat $KEY"]
        assert (await run_command(command, environment=environment, timeout=5)).code != 0
    assert (tmp_path / "out").read_text() == "s3crets3cret"

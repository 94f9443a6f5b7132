"""What is told of a caller is true of the process that connected, or is not told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.caller import ON_TCP, Caller
from agent.api.cgroup import Membership, container_of, membership, unit_of
from agent.api.identity import knows_processes, user_of, who_is, with_hash
from tests.rig.needs import needs_program, needs_root
from tests.rig.peers import Peer, open_folder, peer

OTHER = 54322
SYSTEM_PYTHON = Path("/usr/bin/python3")
PYTHON = Path(sys.executable).resolve()
OWN_GROUPS = Path("/proc/self/cgroup").read_text()
HIERARCHIES = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup")]
ID = "0123456789abcdef" * 4
OTHER_ID = "fedcba9876543210" * 4
UID = "11111111-2222-3333-4444-555555555555"
OWN_UNIT = "system.slice/leasehold-test.service"
UID_ = UID.replace("-", "_")


@pytest.fixture
def folder() -> Iterator[Path]:
    needs_root()
    with open_folder() as path:
        yield path


@pytest.fixture
def listening(folder: Path) -> Iterator[socket.socket]:
    """A listening socket at `folder/s`, for everybody."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "s"))
        (folder / "s").chmod(0o666)
        bound.listen()
        yield bound


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def program_of(other: Peer) -> Path:
    return Path(f"/proc/{other.pid}/exe").readlink()


async def caller_of(other: Peer, listening: socket.socket) -> Caller:
    await other.do("connect", listening.getsockname())
    connection, _ = listening.accept()
    with connection:
        caller = await asyncio.to_thread(who_is, connection)
        return await asyncio.to_thread(with_hash, connection, caller)


async def test_everything_that_the_kernel_knows(listening: socket.socket) -> None:
    own = membership(OWN_GROUPS)
    async with peer(OTHER, 7001, [7002]) as other:
        assert await caller_of(other, listening) == Caller(
            uid=OTHER,
            gid=7001,
            groups=frozenset({7002}),
            pid=other.pid,
            executable=str(PYTHON),
            sha256=digest_of(PYTHON),
            unit=own.unit,
            container=own.container,
            pod_uid=own.pod_uid,
        )


async def test_of_a_process_that_has_ended_only_the_user_is_told(
    listening: socket.socket,
) -> None:
    async with peer(OTHER) as other:
        await other.do("connect", listening.getsockname())
        await other.do("send", 0, "last words")
    connection, _ = listening.accept()
    with connection:
        assert connection.recv(100) == b"last words"
        assert await asyncio.to_thread(who_is, connection) == Caller(uid=OTHER, gid=OTHER)
        assert user_of(connection) == OTHER


async def test_of_one_that_ends_between_two_looks_no_hash_is_told(
    listening: socket.socket,
) -> None:
    async with peer(OTHER) as other:
        await other.do("connect", listening.getsockname())
        connection, _ = listening.accept()
        caller = await asyncio.to_thread(who_is, connection)
    with connection:
        assert caller.pid == other.pid
        assert (await asyncio.to_thread(with_hash, connection, caller)).sha256 is None


def test_a_zombie_is_not_taken_for_alive(listening: socket.socket) -> None:
    child = os.fork()
    if not child:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(listening.getsockname())
            os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    connection, _ = listening.accept()
    with connection:
        caller = who_is(connection)
    os.waitpid(child, 0)
    assert caller.uid == 0 and caller.pid is None and caller.executable is None


async def test_a_process_of_another_pid_namespace_is_known_by_its_user_alone(
    listening: socket.socket,
) -> None:
    """Seen from a namespace in which it is not, as from a container without a shared one."""
    unshare = needs_program("unshare")
    code = (
        "import socket, sys\n"
        "from agent.api.identity import who_is\n"
        "from agent.api.caller import Caller\n"
        "connection = socket.socket(fileno=int(sys.argv[1]))\n"
        "assert who_is(connection) == Caller(uid=54322, gid=54322), who_is(connection)\n"
    )
    async with peer(OTHER) as other:
        await other.do("connect", listening.getsockname())
        connection, _ = listening.accept()
        with connection:
            looking = await asyncio.create_subprocess_exec(
                *(unshare, "--pid", "--fork", "--mount-proc"),
                *(sys.executable, "-c", code, str(connection.fileno())),
                pass_fds=[connection.fileno()],
                cwd=Path(__file__).parents[3],
            )
            assert await looking.wait() == 0


async def test_a_path_in_a_mount_namespace_of_its_own_is_not_believed(
    listening: socket.socket, folder: Path
) -> None:
    """Another program in the place of /usr/bin/true, where only the attacker sees it."""
    unshare, victim = needs_program("unshare"), needs_program("true")
    needs_program(str(SYSTEM_PYTHON))
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    copy = folder / "copy"
    shutil.copy(SYSTEM_PYTHON, copy)
    before = [unshare, "--mount", "sh", "-c", script, str(copy), victim]
    async with peer(OTHER, before=before, program=[victim]) as other:
        assert program_of(other) == Path(victim).resolve()  # noqa: ASYNC240
        caller = await caller_of(other, listening)
    assert caller.uid == OTHER and caller.executable is None
    assert caller.sha256 == digest_of(copy)


async def test_a_program_that_was_replaced_since_has_no_path(
    listening: socket.socket, folder: Path
) -> None:
    needs_program(str(SYSTEM_PYTHON))
    copy = folder / "app"
    shutil.copy(SYSTEM_PYTHON, copy)
    async with peer(OTHER, program=[str(copy)]) as other:
        assert (await caller_of(other, listening)).executable == str(copy)
        copy.unlink()
        shutil.copy(SYSTEM_PYTHON, copy)
        assert (await caller_of(other, listening)).executable is None


async def test_changed_content_of_the_same_size_and_time_has_another_hash(
    listening: socket.socket, folder: Path
) -> None:
    needs_program(str(SYSTEM_PYTHON))
    copy = folder / "app"
    shutil.copy2(SYSTEM_PYTHON, copy)
    before = copy.stat()
    async with peer(OTHER, program=[str(copy)]) as other:
        first = (await caller_of(other, listening)).sha256
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    with copy.open("r+b") as file:
        file.write(content)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    async with peer(OTHER, program=[str(copy)]) as other:
        second = (await caller_of(other, listening)).sha256
    assert first == digest_of(SYSTEM_PYTHON)
    assert second == hashlib.sha256(content).hexdigest()


@contextmanager
def group_of_processes(name: str) -> Iterator[Path]:
    """A control group of this name at the top of the hierarchy that systemd uses, or would use."""
    top = next((each for each in HIERARCHIES if os.access(each, os.W_OK)), HIERARCHIES[-1])
    folders = [top / part for part in accumulated(name)]
    made = [each for each in folders if not each.exists()]
    try:
        for each in made:
            each.mkdir()
    except OSError:
        pytest.skip("needs control groups that can be written to")
    try:
        yield folders[-1] / "cgroup.procs"
    finally:
        for each in reversed(made):
            each.rmdir()


def accumulated(name: str) -> list[str]:
    steps = name.split("/")
    return ["/".join(steps[: number + 1]) for number in range(len(steps))]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (OWN_UNIT, Membership(unit="leasehold-test.service")),
        (f"docker/{ID}", Membership(container=ID)),
        (f"kubepods/pod{UID}/{ID}", Membership(container=ID, pod_uid=UID)),
        (
            f"system.slice/leasehold-test.service/docker-{ID}.scope",
            Membership("leasehold-test.service"),
        ),
    ],
)
async def test_a_group_of_processes_is_told(
    listening: socket.socket, name: str, place: Membership
) -> None:
    with group_of_processes(name) as processes:
        async with peer(OTHER) as other:
            processes.write_text(str(other.pid))
            caller = await caller_of(other, listening)
    assert Membership(caller.unit, caller.container, caller.pod_uid) == place


def test_on_tcp_nothing_is_known() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        connection, _ = server.accept()
        with connection:
            assert who_is(connection) is ON_TCP and user_of(connection) is None


def test_this_kernel_knows_processes() -> None:
    assert knows_processes()


# --- groups of processes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/app.service", "app.service"),
        ("/system.slice/system-app.slice/app@one.service", "app@one.service"),
        ("/system.slice/app.service/payload/x.service", "app.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service",
            "user@1000.service",
        ),
        ("/init.scope", "init.scope"),
        ("/system.slice/_cpu.service", "cpu.service"),
        (r"/system.slice/dev-disk\x2dby.swap", r"dev-disk\x2dby.swap"),
        (f"/docker/{ID}/system.slice/app.service", None),
        ("/../system.slice/app.service", None),
        ("/system.slice", None),
        ("/", None),
        ("/app.service (deleted)", None),
        ("/system.slice/.service", None),
    ],
)
def test_a_unit_is_what_the_systems_own_manager_named(path: str, unit: str | None) -> None:
    assert unit_of(path) == unit


SLICE = f"kubepods-burstable-pod{UID_}.slice"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/docker/{ID}", (ID, None)),
        (f"/system.slice/docker-{ID}.scope", (ID, None)),
        (f"/machine.slice/libpod-{ID}.scope/container", (ID, None)),
        (f"/libpod_parent/libpod-{ID}", (ID, None)),
        (f"/kubepods/burstable/pod{UID}/{ID}", (ID, UID)),
        (f"/kubepods/pod{UID}/{ID}", (ID, UID)),
        (
            f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{ID}.scope",
            (ID, UID),
        ),
        (f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope", (ID, UID)),
        (f"/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}", (ID, UID)),
        (f"/../../{SLICE}/cri-containerd-{ID}.scope", (ID, UID)),
        (f"/../cri-containerd-{ID}.scope", (ID, None)),
        (f"/kubepods/pod{ID[:32]}/{OTHER_ID}", (OTHER_ID, ID[:32])),
        (f"/docker/{ID}/docker/{OTHER_ID}", (ID, None)),
        # Names that their own user, or a container's root, may give:
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
            (None, None),
        ),
        (f"/system.slice/app.service/docker-{ID}.scope", (None, None)),
        (f"/machine.slice/machine-a.scope/payload/docker-{ID}.scope", (None, None)),
        (f"/lxc.payload.a/docker/{ID}", (None, None)),
        (f"/lxc.payload.a/kubepods/pod{UID}/{ID}", (None, None)),
        ("/", (None, None)),
    ],
)
def test_a_container_is_what_its_runtime_named(path: str, found: tuple[str, str]) -> None:
    assert container_of(path) == found


def test_systemds_own_hierarchy_is_the_one_that_counts() -> None:
    text = f"5:memory:/docker/{ID}\n1:name=systemd:/system.slice/app.service\n0::/x\n"
    assert membership(text) == Membership(unit="app.service")
    assert membership(f"0::/system.slice/docker-{ID}.scope\n") == Membership(
        unit=f"docker-{ID}.scope", container=ID
    )


def test_where_systemd_manages_nothing_the_others_must_agree() -> None:
    agreed = f"5:memory:/docker/{ID}\n4:pids:/docker/{ID}\n2:cpu:/\n1:name=systemd:/\n"
    assert membership(agreed) == Membership(container=ID)
    assert membership(agreed + f"9:blkio:/docker/{OTHER_ID}\n") == Membership()


STEPS = st.sampled_from(
    ["system.slice", "app.service", "user@1.service", "docker", "..", f"docker-{ID}.scope", ID]
) | st.text(st.characters(exclude_characters="/\n"), min_size=1, max_size=12)


@given(st.lists(STEPS, max_size=6), st.lists(STEPS, max_size=6))
def test_what_a_service_names_inside_of_itself_changes_nothing(
    before: list[str], inside: list[str]
) -> None:
    path = "/".join(["/system.slice", *before, "app.service"])
    assert membership(f"0::{path}/{'/'.join(inside)}") == membership(f"0::{path}")


@given(st.text())
def test_any_text_is_read_without_a_complaint(text: str) -> None:
    found = membership(text)
    assert found.container is None or len(found.container) == 64

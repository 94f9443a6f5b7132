"""Each kind of socket: where it is, whose it is, and what is refused."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.api.sockets import ListeningSocket, is_same_socket, name_of, open_socket, passed_names
from agent.config.listener_model import (
    ApiRule,
    AwsListener,
    CredentialsListener,
    Limits,
    LocalDoor,
    SecretsListener,
    VaultListener,
)
from agent.core.errors import AgentError
from tests.rig.needs import needs_root
from tests.rig.processes import free_port

ROOT = Path(__file__).parents[3]


@contextmanager
def opened(spec: LocalDoor) -> Iterator[ListeningSocket]:
    listening = open_socket(spec, {})
    try:
        yield listening
    finally:
        listening.close()


def refusal(spec: LocalDoor, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(AgentError) as caught:
        open_socket(spec, environment or {})
    return str(caught.value)


def connects(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as visitor:
        return visitor.connect_ex(address) == 0


def test_a_file_has_its_mode_and_owner_and_goes_at_the_end(tmp_path: Path) -> None:
    needs_root()
    path = tmp_path / "s.sock"
    with opened(SecretsListener(socket=str(path), owner="1", group="2", mode=0o640)) as listening:
        status = path.stat()
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o640
        assert (status.st_uid, status.st_gid) == (1, 2)
        assert listening.name == str(path) and connects(str(path))
        assert not listening.socket.getblocking()
    assert not path.exists()


def test_a_dead_socket_is_replaced_and_a_living_one_never(tmp_path: Path) -> None:
    spec = SecretsListener(socket=str(tmp_path / "s.sock"))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s.sock"))
    with opened(spec):
        assert "another process listens there" in refusal(spec)
        assert connects(str(tmp_path / "s.sock"))


def test_an_owner_that_the_host_lacks_is_said(tmp_path: Path) -> None:
    spec = SecretsListener(socket=str(tmp_path / "s"), owner="no-such-user")
    assert refusal(spec).endswith("there is no user no-such-user on this host")
    spec = SecretsListener(socket=str(tmp_path / "s"), group="no-such-group")
    assert refusal(spec).endswith("there is no group no-such-group on this host")
    assert list(tmp_path.iterdir()) == []


def test_an_abstract_name_is_free_or_refused() -> None:
    name = f"@leasehold-test-{os.getpid()}"
    with opened(SecretsListener(socket=name)) as listening:
        assert listening.name == name and connects(f"\0{name[1:]}")
        assert refusal(SecretsListener(socket=name)) == (
            f"can't listen at {name}: Address already in use"
        )
    assert not connects(f"\0{name[1:]}")


def test_tcp_is_on_loopback() -> None:
    port = free_port()
    for address in (f"127.0.0.1:{port}", f"localhost:{port}"):
        with opened(VaultListener(address=address)) as listening:
            assert listening.socket.getsockname() == ("127.0.0.1", port)
            assert connects(("127.0.0.1", port))
            assert "Address already in use" in refusal(AwsListener(address=address))
    with opened(VaultListener(address=f"[::1]:{port}")) as listening:
        assert listening.socket.getsockname()[:2] == ("::1", port)


# --- from systemd -----------------------------------------------------------------------------

PASSED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from agent.api.sockets import open_socket
from agent.config.listener_model import SecretsListener, VaultListener
from agent.core.errors import AgentError
door = {"secrets": SecretsListener, "vault": VaultListener}[sys.argv[1]]
for _ in range(2):  # a reload finds it again
    try:
        listening = open_socket(door(activated=sys.argv[2]))
    except AgentError as error:
        print(error)
    else:
        print(listening.name, listening.socket.getblocking(), listening.socket.fileno())
        connection = None
        try:
            listening.socket.accept()
        except BlockingIOError:
            print("listens")
        listening.close()
"""


def passed(each: socket.socket, *, door: str = "secrets", names: str = "other:app") -> list[str]:
    """What a process says that systemd has passed something and `each` to."""
    with socket.socket(socket.AF_UNIX) as first:

        def place() -> None:
            os.dup2(os.dup(first.fileno()), 3)
            os.dup2(keep, 4)

        keep = os.dup(each.fileno())
        ran = subprocess.run(
            [sys.executable, "-c", PASSED, door, "app"],
            env={"LISTEN_FDS": "2", "LISTEN_FDNAMES": names, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            preexec_fn=place,
            pass_fds=(3, 4),
            capture_output=True,
            text=True,
            timeout=20,
        )
        os.close(keep)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        bound.listen()
        yield bound


def test_a_passed_socket_is_found_by_its_name_and_stays(
    listening: socket.socket, tmp_path: Path
) -> None:
    said = passed(listening)
    assert said[0].startswith("systemd:app False ") and said[1::2] == ["listens", "listens"]
    assert connects(str(tmp_path / "s"))


def test_a_name_that_was_not_passed_is_refused(listening: socket.socket) -> None:
    reason = "can't listen at systemd:app: there is none of this name among the sockets"
    assert passed(listening, names="a:b")[0].startswith(reason)
    assert "there are 2 of this name" in passed(listening, names="app:app")[0]


def test_what_can_not_serve_is_refused(listening: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        assert passed(silent)[0].endswith("it does not listen; use Accept=no")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        assert passed(datagrams)[0].endswith("it is no stream socket; use ListenStream=")
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        assert passed(tcp)[0].endswith("it is no UNIX socket")
        assert passed(tcp, door="vault")[1] == "listens"
    with socket.create_server(("0.0.0.0", 0)) as tcp:
        assert passed(tcp, door="vault")[0].endswith("it can be reached from other hosts")


def test_sockets_that_were_passed_to_another_process_are_not_ours() -> None:
    names = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "app"}
    assert passed_names({**names, "LISTEN_PID": str(os.getpid())}) == {3: "app"}
    assert passed_names({**names, "LISTEN_PID": str(os.getpid() + 1)}) == {}
    assert passed_names({**names, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == {}
    assert passed_names({}) == {}
    assert "there is none of this name" in refusal(SecretsListener(activated="app"))


def test_a_listener_goes_on_where_only_its_rules_differ(tmp_path: Path) -> None:
    one = SecretsListener(socket=str(tmp_path / "s"))
    allow = (ApiRule(secrets=("*",)),)
    same = SecretsListener(socket=str(tmp_path / "s"), allow=allow, limits=Limits(idle=5.0))
    assert is_same_socket(one, same)
    assert not is_same_socket(one, SecretsListener(socket=str(tmp_path / "s"), mode=0o600))
    assert not is_same_socket(one, SecretsListener(socket=str(tmp_path / "t")))
    assert not is_same_socket(one, VaultListener(socket=str(tmp_path / "s")))
    assert not is_same_socket(one, CredentialsListener(socket=str(tmp_path / "s")))
    assert [name_of(each) for each in (one, VaultListener(address="127.0.0.1:1"))] == [
        str(tmp_path / "s"),
        "127.0.0.1:1",
    ]

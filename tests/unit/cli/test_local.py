"""`leasehold local`: the real commands on real files, through pipes and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.local import command
from agent.core.errors import AgentError, Missing, SealedFileError

ROOT = Path(__file__).parents[3]
CONFIGURATION = """\
stores:
  local: {type: local, file: secrets.sealed, key: {file: key}}
"""


@dataclass(frozen=True)
class Local:
    """`leasehold local … -c` for one configuration; the store has been made."""

    configuration: Path

    @property
    def folder(self) -> Path:
        return self.configuration.parent

    def __call__(self, *arguments: str, given: bytes | str = b"", code: int = 0) -> bytes:
        runner = CliRunner()
        result = runner.invoke(
            command, [*arguments, "-c", str(self.configuration)], input=given, prog_name="local"
        )
        if isinstance(result.exception, AgentError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stderr_bytes or b"" if code else result.stdout_bytes


@pytest.fixture
def bare(tmp_path: Path) -> Local:
    configuration = tmp_path / "leasehold.yaml"
    configuration.write_text(CONFIGURATION)
    return Local(configuration)


@pytest.fixture
def local(bare: Local) -> Local:
    bare("init")
    return bare


def test_init_makes_a_private_key_and_store_and_then_leaves_them(bare: Local) -> None:
    said = bare("init").decode()
    assert f"made {bare.folder}/key" in said
    assert f"made {bare.folder}/secrets.sealed" in said
    for name in ("key", "secrets.sealed"):
        assert (bare.folder / name).stat().st_mode & 0o777 == 0o600
    before = (bare.folder / "key").read_bytes(), (bare.folder / "secrets.sealed").read_bytes()
    assert "its key opens it" in bare("init").decode()
    assert before == (
        (bare.folder / "key").read_bytes(),
        (bare.folder / "secrets.sealed").read_bytes(),
    )


def test_init_does_not_make_a_new_key_for_an_old_store(local: Local) -> None:
    (local.folder / "key").unlink()
    with pytest.raises(AgentError, match="needs that very key"):
        local("init")
    assert not (local.folder / "key").exists()


def test_before_init_it_is_said_what_to_do(bare: Local) -> None:
    with pytest.raises(SealedFileError):
        bare("list")
    (bare.folder / "key").touch(0o600)
    (bare.folder / "key").write_text("0" * 64)
    with pytest.raises(SealedFileError, match="`leasehold local init` makes it"):
        bare("set", "app.password", given="x")


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        (b"one\n", [], b"one"),
        (b"one\r\n", [], b"one"),
        (b"one\n\n", [], b"one\n"),
        (b"one\n", ["--keep-newline"], b"one\n"),
        ("grüße".encode(), [], "grüße".encode()),
        (b"\xff\xfe\n", [], b"\xff\xfe\n"),
        (b"/wD+\n", ["--base64"], b"\xff\x00\xfe"),
    ],
)
def test_what_is_set_is_what_is_got(
    local: Local, given: bytes, options: list[str], expected: bytes
) -> None:
    assert local("set", "app.password", *options, given=given) == b""
    assert local("get", "app.password") == expected


def test_a_value_can_come_from_a_file(local: Local, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"\x00from a file\n")
    local("set", "app.blob", "--from-file", str(tmp_path / "value"))
    assert local("get", "app.blob") == b"\x00from a file"
    with pytest.raises(SealedFileError, match="can't be read"):
        local("set", "app.blob", "--from-file", str(tmp_path / "none"))


def test_a_value_can_not_come_from_an_argument(local: Local) -> None:
    assert b"unexpected extra argument" in local("set", "app.password", "hunter2", code=2)


def test_an_empty_pipe_changes_nothing(local: Local) -> None:
    local("set", "app.password", given="one")
    with pytest.raises(AgentError, match="empty"):
        local("set", "app.password", given="\n")
    assert local("get", "app.password") == b"one"


def test_what_is_no_base64_changes_nothing_and_is_not_shown(local: Local) -> None:
    with pytest.raises(AgentError, match="not base64") as caught:
        local("set", "app.blob", "--base64", given="hunter2!")
    assert "hunter2" not in str(caught.value)


def test_all_fields_are_got_as_json(local: Local) -> None:
    local("set", "app.password", given="one")
    local("set", "app.user name", given="u")
    local("set", "app.blob", given=b"\xff")
    assert json.loads(local("get", "app")) == {
        "password": "one",
        "user name": "u",
        "blob": {"base64": "/w=="},
    }


def test_an_older_version_is_got_while_it_is_kept(local: Local) -> None:
    for number in range(1, 13):
        local("set", "app.password", given=str(number))
    assert local("get", "app.password", "--version", "3") == b"3"
    with pytest.raises(Missing, match="version 2 is not kept; 3, 4"):
        local("get", "app.password", "--version", "2")


def test_list_shows_all_but_the_values(local: Local) -> None:
    local("set", "web.key", given="hunter2")
    local("set", "app.password", given="hunter2")
    local("set", "app.user", given="hunter2")
    lines = local("list").decode().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["app", "web"]
    assert "version 2" in lines[0]
    assert lines[0].endswith("password, user")
    rows = json.loads(local("list", "--json"))
    assert [(row["name"], row["fields"], row["versions"]) for row in rows] == [
        ("app", ["password", "user"], [1, 2]),
        ("web", ["key"], [1]),
    ]
    assert b"hunter2" not in local("list") + local("list", "--json")


def test_rotate_draws_a_new_value_tells_nothing_and_keeps_the_old(local: Local) -> None:
    local("set", "app.password", given="old")
    assert local("rotate", "app.password") == b""
    first = local("get", "app.password")
    local("rotate", "app.password", "--length", "12", "--alphabet", "ab")
    second = local("get", "app.password").decode()
    assert first.decode().isalnum()
    assert len(first) == 32
    assert len(second) == 12
    assert set(second) <= set("ab")
    assert local("get", "app.password", "--version", "1") == b"old"


def test_rotate_needs_a_field_that_is_there_and_an_alphabet(local: Local) -> None:
    local("set", "app.password", given="old")
    with pytest.raises(Missing, match="no entry"):
        local("rotate", "other.password")
    with pytest.raises(Missing, match="has no field pasword; it has password"):
        local("rotate", "app.pasword")
    assert b"two different characters" in local(
        "rotate", "app.password", "--alphabet", "aa", code=2
    )


def test_a_field_and_an_entry_can_be_removed(local: Local) -> None:
    local("set", "app.password", given="p")
    local("set", "app.user", given="u")
    local("remove", "app.user")
    assert json.loads(local("get", "app")) == {"password": "p"}
    local("remove", "app")
    with pytest.raises(Missing, match="no entry"):
        local("get", "app")
    with pytest.raises(Missing, match="no entry"):
        local("remove", "app.user")


@pytest.mark.parametrize("arguments", [["set", "app"], ["get", "1app"], ["rotate", "app."]])
def test_a_target_that_is_none_is_wrong_usage(local: Local, arguments: list[str]) -> None:
    assert b"Invalid value for 'NAME" in local(*arguments, code=2)


def test_of_several_local_stores_one_must_be_named(local: Local) -> None:
    local.configuration.write_text(
        CONFIGURATION + "  other: {type: local, file: other.sealed, key: {file: key}}\n"
    )
    assert b"local stores of the configuration: local, other" in local("list", code=2)
    assert b"there are: local, other" in local("list", "--store", "none", code=2)
    local("init", "--store", "other")
    local("set", "app.password", "--store", "other", given="x")
    assert local("list", "--store", "local") == b""


def test_a_key_that_others_may_read_is_refused(local: Local) -> None:
    (local.folder / "key").chmod(0o640)
    with pytest.raises(SealedFileError, match="mode 0640"):
        local("list")


@pytest.mark.parametrize("name", ["init", "set", "get", "list", "rotate", "remove"])
def test_each_command_shows_an_example(bare: Local, name: str) -> None:
    assert f"leasehold local {name} " in bare(name, "--help").decode()


# --- as a process -----------------------------------------------------------------------------


def started(local: Local, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "agent", "local", *arguments, "-c", str(local.configuration)]
    return subprocess.Popen(line, cwd=ROOT, **options)  # type: ignore[call-overload, no-any-return]


def read_until(terminal: int, is_enough: Callable[[bytes], bool]) -> bytes:
    """What a program shows on its terminal."""
    shown = b""
    while not is_enough(shown):
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other end has been closed
            return shown
        shown += chunk
    return shown


def test_on_a_terminal_a_value_is_asked_for_twice_and_not_shown(local: Local) -> None:
    ours, theirs = pty.openpty()
    with started(
        local,
        "set",
        "app.password",
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = read_until(ours, lambda shown: b"Value: " in shown)
        os.write(ours, b"hunter2\n")
        shown += read_until(ours, lambda shown: b"confirm" in shown or b"Repeat" in shown)
        os.write(ours, b"hunter2\n")
        shown += read_until(ours, lambda _: False)
        assert process.wait(20) == 0, shown
    os.close(ours)
    assert b"hunter2" not in shown
    assert local("get", "app.password") == b"hunter2"


def test_an_error_is_one_line_and_the_exit_code_of_the_contract(local: Local) -> None:
    (local.folder / "key").chmod(0o644)
    with started(
        local,
        "get",
        "app",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"leasehold: ")
    assert err.count(b"\n") == 1

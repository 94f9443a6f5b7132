"""Landlock for real: a process of its own is confined as configured, and then tries to get out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rig.needs import needs_landlock

SCRIPT = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from agent.config.load import load
from agent.core.errors import ConfigurationError
from agent.hardening import harden
from agent.unix_socket import bind_unix

folder, is_parent = Path(sys.argv[1]), sys.argv[2] == "parent"
if sys.argv[2] == "threads":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    done = harden(load([folder / "c.yaml"]).configuration, is_parent=is_parent)
except ConfigurationError as error:
    print(json.dumps({"refused": error.problems}))
    sys.exit()

def tried(do):
    try:
        do()
    except OSError as error:
        return error.strerror
    return "done"

def make(path):
    return lambda: Path(path).write_text("x")

def in_thread(do):
    said = []
    thread = threading.Thread(target=lambda: said.append(tried(do)))
    thread.start()
    thread.join()
    return said[0]

def child():
    return subprocess.run(
        ["sh", "-c", f"echo x >{folder}/outside/child"], capture_output=True,
    ).returncode

print(json.dumps({
    "protections": {each.name: [each.is_in_force, each.reason] for each in done.protections},
    "inside": tried(make(folder / "memory/app.new")),
    "socket": tried(lambda: bind_unix(folder / "doors/s", mode=0o600).remove()),
    "made": tried(make(folder / "outside/made")),
    "thread": in_thread(make(folder / "outside/thread")),
    "existing": tried(make(folder / "outside/there")),
    "cut": tried(lambda: os.truncate(folder / "outside/there", 0)),
    "removed": tried((folder / "outside/there").unlink),
    "folder": tried((folder / "outside/folder").mkdir),
    "link": tried(lambda: (folder / "outside/link").symlink_to("there")),
    "brought_out": tried(lambda: (folder / "memory/app.new").rename(folder / "outside/app.new")),
    "socket_outside": tried(lambda: socket.socket(socket.AF_UNIX).bind(f"{folder}/outside/s")),
    "device": tried(lambda: os.mknod(folder / "memory/device", 0o20600, os.makedev(1, 3))),
    "read": tried((folder / "outside/there").read_text),
    "child": child(),
    "problems": done.problems(load([folder / sys.argv[3]]).configuration),
}))
"""
CONFIGURATION = """
stores: {{local: {{type: local, file: secrets.sealed, key: {{file: key}}}}}}
secrets: {{app: {{path: app}}}}
bundles:
  app:
    directory: {directory}
    allow_disk: true
    files: {{app: "{{{{ app.password }}}}"}}
    {more}
listeners:
  - {{protocol: secrets, socket: doors/s, allow: [{{user: "0", {condition} secrets: [app]}}]}}
hardening: {{{hardening}}}
"""
COMMAND = "notify: [{command: [/bin/true]}]"


@pytest.fixture(autouse=True)
def has_landlock() -> None:
    needs_landlock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("memory", "doors", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside/there").write_text("x")
    return tmp_path


def write(
    place: Path,
    hardening: str = "landlock: auto",
    *,
    name: str = "c.yaml",
    directory: str = "memory/app",
    more: str = "",
    condition: str = "",
) -> None:
    text = CONFIGURATION.format(
        hardening=hardening, directory=directory, more=more, condition=condition
    )
    (place / name).write_text(text)


def confined(place: Path, mode: str = "agent", then: str = "c.yaml") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place), mode, then],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_writes_are_confined_on_every_thread_and_in_what_is_started(place: Path) -> None:
    write(place)
    told = confined(place)
    is_in_force, reason = told["protections"]["writes confined"]
    assert is_in_force and reason == f"to {place}/doors, {place}/memory"
    assert told["protections"]["no new privileges"][0]
    assert told["inside"] == told["socket"] == told["read"] == "done"
    attempts = ("made", "thread", "existing", "cut", "removed", "folder", "link", "socket_outside")
    assert {told[each] for each in attempts} == {"Permission denied"}
    assert told["device"] != "done" and told["brought_out"] != "done" and told["child"] != 0
    assert sorted(each.name for each in (place / "outside").iterdir()) == ["there"]
    assert (place / "outside/there").read_text() == "x"
    assert told["problems"] == []


def test_off_is_off(place: Path) -> None:
    write(place, "landlock: off, no_new_privileges: off, memory_lock: off")
    told = confined(place)
    assert told["made"] == told["thread"] == "done" and told["child"] == 0
    for name in ("writes confined", "no new privileges", "memory lock"):
        is_in_force, reason = told["protections"][name]
        assert not is_in_force and "off by configuration" in reason


@pytest.mark.parametrize("mode", ["agent", "parent"])
def test_by_itself_nothing_that_is_started_is_confined(place: Path, mode: str) -> None:
    write(place, more=COMMAND if mode == "agent" else "")
    told = confined(place, mode)
    assert told["child"] == 0
    key = "bundles.app.notify[0].command" if mode == "agent" else "process"
    for name in ("writes confined", "no new privileges"):
        is_in_force, reason = told["protections"][name]
        assert not is_in_force and key in reason and ": on" in reason


def test_where_asked_for_commands_are_confined_to_what_is_named_for_them(place: Path) -> None:
    write(place, "landlock: on, no_new_privileges: on, writable: [outside]", more=COMMAND)
    told = confined(place)
    assert told["child"] == 0 and (place / "outside/child").exists()
    write(place, "landlock: on, no_new_privileges: on", more=COMMAND)
    assert confined(place)["child"] != 0


@pytest.mark.parametrize("hardening", ["landlock: on", "landlock: auto"])
def test_a_rule_by_program_wins_or_is_refused(place: Path, hardening: str) -> None:
    write(place, hardening, condition="executable: /bin/sh,")
    told = confined(place)
    if hardening.endswith("on"):
        [problem] = told["refused"]
        assert problem.startswith("hardening.landlock: is on, and can't be had: ")
        assert "listeners[0].allow[0].executable" in problem
    else:
        assert not told["protections"]["writes confined"][0] and told["made"] == "done"


def test_with_threads_before_it_is_not_claimed(place: Path) -> None:
    write(place)
    is_in_force, reason = confined(place, "threads")["protections"]["writes confined"]
    assert not is_in_force and "threads" in reason


def test_a_new_configuration_that_needs_more_is_told_so(place: Path) -> None:
    write(place)
    write(place, name="other.yaml", directory="memory/other")
    assert confined(place, then="other.yaml")["problems"] == []
    (place / "memory/app.new").unlink(missing_ok=True)
    write(place, name="wider.yaml", directory="outside/app", more=COMMAND)
    wider, command = confined(place, then="wider.yaml")["problems"]
    assert wider == (
        f"bundles.app.directory: this run may not write to {place}/outside "
        "(Landlock, until its end); start the agent again"
    )
    assert "bundles.app.notify[0].command" in command and command.endswith("start the agent again")
    write(place, "landlock: off", name="off.yaml")
    [problem] = confined(place, then="off.yaml")["problems"]
    assert problem.startswith("hardening: can't be changed")

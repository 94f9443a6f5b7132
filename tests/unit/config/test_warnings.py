"""What is odd and what isn't there: said, and refused only on the host itself."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from agent.config.load import load
from tests.unit.config.conftest import VAULT, LoadText, Problems

STORE = f"stores: {{{VAULT}}}\n"
ON_HOST = """\
stores: {box: {type: local, file: none/box, key: {file: none/key}}}
secrets: {database: {path: x}}
bundles:
  app:
    directory: /run/app
    owner: no-such-user
    group: no-such-group
    files: {a: {template: none.j2}, b: {format: env, secrets: [database]}}
process: {user: no-such-user}
"""


def test_what_the_host_lacks_is_a_warning(load_text: LoadText) -> None:
    warnings = load_text(ON_HOST).warnings
    assert [each.partition("0.yaml:")[2] for each in warnings] == [
        '1: stores.box.file: there is no readable file "none/box" on this host',
        '1: stores.box.key.file: there is no readable file "none/key" on this host',
        '6: bundles.app.owner: there is no user "no-such-user" on this host',
        '7: bundles.app.group: there is no group "no-such-group" on this host',
        '8: bundles.app.files.a.template: there is no readable file "none.j2" on this host',
        '9: process.user: there is no user "no-such-user" on this host',
    ]


def test_on_the_host_itself_it_is_a_problem(problems: Problems) -> None:
    assert len(problems(ON_HOST, on_this_host=True)) == 6


def test_what_the_host_has_is_fine(load_text: LoadText, tmp_path: Path) -> None:
    for name in ("box", "key"):
        (tmp_path / name).write_text("x")
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    text = (
        ON_HOST.replace("none/", "").replace("no-such-user", user).replace("no-such-group", group)
    )
    assert load_text(text.replace("none.j2", "box"), on_this_host=True).warnings == []


def test_a_number_needs_no_entry(load_text: LoadText) -> None:
    text = "process: {user: 54321, group: '54321'}"
    assert load_text(text, on_this_host=True).warnings == []


def test_a_directory_or_a_pipe_is_no_readable_file(load_text: LoadText, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    template = "bundles: {a: {directory: /a, files: {x: {template: pipe}, y: {template: .}}}}"
    assert len(load_text(template).warnings) == 2


def test_a_name_that_no_file_can_have_is_only_not_there(load_text: LoadText) -> None:
    text = f"bundles: {{a: {{directory: /a, files: {{x: {{template: {'x' * 300}}}}}}}}}"
    assert len(load_text(text).warnings) == 1


@pytest.mark.parametrize(
    ("address", "is_warned"),
    [
        ("http://vault.example:8200", True),
        ("http://127.0.0.1.example", True),
        ("http://127.0.0.1:8200", False),
        ("http://localhost:8200", False),
        ("http://[::1]:8200", False),
        ("https://vault.example", False),
        ("unix:/run/vault.sock", False),
    ],
)
def test_plain_http_to_another_host_is_a_warning(
    load_text: LoadText, address: str, is_warned: bool
) -> None:
    text = STORE.replace("https://vault.example", f'"{address}"')
    warnings = [each for each in load_text(text).warnings if "http://" in each]
    assert bool(warnings) is is_warned


def test_a_secret_that_nothing_uses_is_a_warning(load_text: LoadText) -> None:
    warnings = load_text(
        STORE
        + """
secrets:
  template: {path: x}
  variable: {path: x}
  memory: {path: x}
  format: {path: x}
  my-db: {path: x}
  unused: {path: x}
bundles:
  a:
    directory: /a
    files:
      a: "{{ template.x }} {{ secrets['my-db'].x }}"
      b: {format: env, secrets: [format]}
process:
  environment: {A: "{{ variable.x }}"}
  memory_files: {B: "{{ memory.x }}"}
"""
    ).warnings
    assert [each.partition(": ")[2] for each in warnings] == [
        "secrets.unused: is used by no file, no variable and no listener"
    ]


def test_without_a_judge_of_templates_nothing_is_said_of_them(tmp_path: Path) -> None:
    text = STORE + "secrets: {a: {path: x}}\nbundles: {a: {directory: /a, files: {x: '{{'}}}\n"
    (tmp_path / "a.yaml").write_text(text)
    assert load([tmp_path / "a.yaml"], environment={}).warnings == []


def test_a_key_beside_the_cache_protects_from_nobody_who_takes_the_disk(
    load_text: LoadText, tmp_path: Path
) -> None:
    text = "cache: {file: state/cache, key: {file: %s/key}}"
    for folder in ("state", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "key").write_text("x")
    assert load_text(text % "elsewhere").warnings == []
    [warning] = load_text(text % "state").warnings
    assert warning.endswith("cache.key: lies beside the cache: who takes the disk has both")


def test_the_keys_of_the_cache_are_looked_for_on_the_host(load_text: LoadText) -> None:
    text = "cache: {file: /a/cache, key: {file: none/a, previous: {passphrase_file: none/b}}}"
    assert [each.partition("0.yaml:1: ")[2] for each in load_text(text).warnings] == [
        'cache.key.file: there is no readable file "none/a" on this host',
        'cache.key.previous.passphrase_file: there is no readable file "none/b" on this host',
    ]


DOORS = """\
stores: {box: {type: local, file: /etc/passwd, key: {file: /etc/passwd}}}
secrets: {database: {path: x}, web: {path: x}, unused: {path: x}}
listeners:
  - {protocol: secrets, socket: a.sock}
  - {protocol: secrets, socket: b.sock, allow: []}
  - protocol: secrets
    socket: c.sock
    allow:
      - {secrets: [web, "x*"]}
      - {user: "0", secrets: ["data*"], executable: /usr/bin/app}
      - {secrets: [database], sha256: SHA256}
  - protocol: aws
    address: 127.0.0.1:2773
    allow: [{secrets: [web]}, {user: "0", secrets: [web]}]
  - {protocol: credentials, activated: x, allow: [{credentials: [web.key, ghost.key]}]}
""".replace("SHA256", "ab" * 32)


def test_doors_that_open_to_nobody_and_rules_that_prove_nothing_are_warnings(
    load_text: LoadText,
) -> None:
    warnings = [each.partition("0.yaml:")[2] for each in load_text(DOORS).warnings]
    nobody = "nobody may have anything here: `allow` has no rule"
    alone = "any user may run that file with code of their own inside"
    assert warnings == [
        "2: secrets.unused: is used by no file, no variable and no listener",
        f"4: listeners[0]: {nobody}",
        f"5: listeners[1].allow: {nobody}",
        '9: listeners[2].allow[0].secrets: "x*" matches no secret',
        "11: listeners[2].allow[2].sha256: is no proof alone: "
        f"{alone}; name the user or the unit, too",
        "14: listeners[3].allow: allow[1] can match nobody: on TCP no caller has a known user",
        '15: listeners[4].allow[0].credentials: "ghost.key" matches no secret',
    ]


def test_a_pattern_of_bundles_that_matches_none_is_a_warning(load_text: LoadText) -> None:
    text = """
    stores: {local: {type: local, file: x, key: {file: k}}}
    secrets: {database: {path: app}}
    bundles: {app: {directory: /run/app, files: {password: "{{ database.password }}"}}}
    listeners:
      - {protocol: secrets, socket: /run/a, allow: [{user: "0", bundles: ["a*", "ghost"]}]}
    """
    warnings = [each.partition("0.yaml:")[2] for each in load_text(text).warnings]
    assert warnings[-1] == '6: listeners[0].allow[0].bundles: "ghost" matches no bundle'
    assert not any('"a*"' in each for each in warnings)

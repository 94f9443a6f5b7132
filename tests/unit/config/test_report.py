"""One report: everything that is wrong, in one go, in the files' order."""

from __future__ import annotations

from agent.config.report import key_path, quoted
from tests.unit.config.conftest import Problems

TEN_MISTAKES = """\
stores:
  vault:
    type: vault
    address: ${NOWHERE}
    auth: {method: approle, role_id: r, secret_id: literal}
  other: {type: local, file: x, key: {file: k}}
secrets:
  database: {path: database/creds/app}
  web: {store: vualt, path: x, refresh_every: 5 minutes}
bundles:
  app:
    directory: /run/app
    mode: "999"
    fils: {}
    files:
      password: |
        user={{ database.username }}
        password={{ databse.password }}
      app.env: {format: env, secrets: [wep]}
    notify:
      - {signal: HUPP, pid_file: /run/app.pid}
telemetry: {address: 127.0.0.1}
"""


def test_ten_mistakes_and_one_are_eleven_problems(problems: Problems) -> None:
    found = problems(TEN_MISTAKES)
    assert [each.partition(": ")[0] for each in found] == [
        f"0.yaml:{line}" for line in (4, 5, 8, 9, 9, 13, 14, 18, 19, 21, 22)
    ]
    assert [each.split(": ")[1] for each in found] == [
        "stores.vault.address",
        "stores.vault.auth.secret_id",
        "secrets.database",
        "secrets.web.store",
        "secrets.web.refresh_every",
        "bundles.app.mode",
        "bundles.app",
        "bundles.app.files.password",
        'bundles.app.files["app.env"].secrets[0]',
        "bundles.app.notify[0].signal",
        "telemetry.address",
    ]


def test_what_is_inside_a_broken_section_is_still_looked_at(problems: Problems) -> None:
    found = problems(
        """
        bundles:
          app:
            files: {app.env: {format: env, secrets: [nothing]}}
        """
    )
    assert len(found) == 2
    assert 'key "directory" is missing' in found[0]
    assert 'unknown secret "nothing"' in found[1]


def test_an_entry_with_a_problem_is_no_unknown_name(problems: Problems) -> None:
    found = problems(
        """
        stores: {vault: {type: vault}}
        secrets: {database: {store: vault}}
        bundles: {app: {directory: /a, files: {a: "{{ database.password }}"}}}
        """
    )
    assert len(found) == 3
    assert not [each for each in found if "unknown" in each or "no secret" in each]


def test_each_value_remembers_its_own_file(problems: Problems) -> None:
    found = problems("log:\n  level: loud\n", "\n\nlog:\n  format: paper\n", "process: {usr: x}\n")
    assert [each.partition(": ")[0] for each in found] == ["0.yaml:2", "1.yaml:4", "2.yaml:1"]


def test_a_file_that_cannot_be_read_is_named_and_makes_nothing_unknown(problems: Problems) -> None:
    good = "bundles: {a: {directory: /a, files: {x: {format: env, secrets: [database]}}}}\n"
    found = problems(good, "secrets: {database\n")
    assert len(found) == 1 and found[0].startswith("1.yaml:2: is no YAML")


def test_key_paths_are_unambiguous() -> None:
    assert key_path(("bundles", "app", "files", "app.env", "secrets", 0)) == (
        'bundles.app.files["app.env"].secrets[0]'
    )
    assert key_path(()) == ""


def test_a_quote_is_one_short_line() -> None:
    assert quoted('a"b\n\x1b[31m\u2028') == '"a\\"b\\n\\u001b[31m\\u2028"'
    assert len(quoted("x" * 10_000)) < 70

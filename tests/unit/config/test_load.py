"""What a sound configuration becomes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.load import load
from agent.config.model import (
    AppRole,
    ConfirmCommand,
    FormatFile,
    InlineFile,
    LocalStore,
    NotifyCommand,
    NotifyHttp,
    NotifySignal,
    NotifySystemd,
    OnChangeSignal,
    TemplateFile,
    TokenFile,
    VaultStore,
)
from agent.core.errors import ConfigurationError
from tests.unit.config.conftest import VAULT, LoadText, Problems

STORE = f"stores: {{{VAULT}}}\n"


def test_nothing_is_a_configuration_with_defaults(load_text: LoadText) -> None:
    configuration = load_text("").configuration
    assert configuration.stores == {} and configuration.log.level == "info"
    assert load_text("# only a comment\n", "log:\nprocess: ~\n").configuration == configuration


def test_the_members_of_unions_are_told_apart(load_text: LoadText, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ database.password }}")
    bundle = load_text(
        f"""
        stores: {{{VAULT}, box: {{type: local, file: box, key: {{file: k}}}}}}
        secrets: {{database: {{store: box, path: x}}}}
        bundles:
          app:
            directory: /run/app
            files:
              text: "{{{{ database.password }}}}"
              inline: {{content: "{{{{ database.password }}}}", mode: "0400"}}
              file: {{template: t.j2}}
              env: {{format: env, secrets: [database]}}
            notify:
              - {{signal: SIGHUP, pid_file: app.pid}}
              - {{systemd: app.service}}
              - {{http: "http+unix:/run/a.sock:/reload"}}
              - {{command: [reload, 5, no]}}
            confirm: {{command: ["true"]}}
        process: {{on_change: {{signal: USR1}}}}
        """
    ).configuration
    app = bundle.bundles["app"]
    assert app.files["text"] == InlineFile(content="{{ database.password }}")
    assert app.files["inline"] == InlineFile(content="{{ database.password }}", mode=0o400)
    assert app.files["file"] == TemplateFile(template=tmp_path / "t.j2")
    assert app.files["env"] == FormatFile(format="env", secrets=("database",))
    assert app.notify == (
        NotifySignal(signal="HUP", pid_file=tmp_path / "app.pid"),
        NotifySystemd(systemd="app.service"),
        NotifyHttp(http="http+unix:/run/a.sock:/reload"),
        NotifyCommand(command=("reload", "5", "no")),
    )
    assert app.confirm == ConfirmCommand(command=("true",))
    assert isinstance(bundle.stores["box"], LocalStore)
    assert bundle.process and bundle.process.on_change == OnChangeSignal(signal="USR1")


def test_later_files_win_key_by_key_and_lists_are_replaced(load_text: LoadText) -> None:
    merged = load_text(
        "process: {command: [a, b], environment: {A: one, B: two}, user: '1'}\nlog: {level: debug}",
        "process: {command: [c], environment: {B: three}, user: }\nshutdown_timeout: 1m",
    ).configuration
    assert merged.process is not None
    assert merged.process.command == ("c",)
    assert merged.process.environment == {"A": "one", "B": "three"}
    assert merged.process.user is None
    assert (merged.log.level, merged.shutdown_timeout) == ("debug", 60.0)


def test_a_folder_means_its_yaml_files_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "20-b.yml").write_text("log: {level: error}")
    (folder / "10-a.yaml").write_text("log: {level: debug, format: json}")
    (folder / ".hidden.yaml").write_text("nonsense: 1")
    (folder / "notes.txt").write_text("nonsense: 1")
    loaded = load([folder], environment={})
    assert (loaded.configuration.log.level, loaded.configuration.log.format) == ("error", "json")
    assert loaded.files == (folder, folder / "10-a.yaml", folder / "20-b.yml")


def test_an_empty_folder_and_a_missing_file_are_problems(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    with pytest.raises(ConfigurationError) as caught:
        load([tmp_path / "conf.d", tmp_path / "none.yaml"], environment={})
    assert caught.value.problems == [
        f"{tmp_path}/conf.d: the folder has no *.yaml",
        f"{tmp_path}/none.yaml: can't be read: No such file or directory",
    ]


def test_relative_paths_are_relative_to_the_file_that_says_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    store = "stores: {box: {type: local, file: box, key: {file: key}}}"
    (tmp_path / "a/one.yaml").write_text(store)
    (tmp_path / "b/two.yaml").write_text("stores: {box: {key: {file: key}}}")
    monkeypatch.chdir(tmp_path)
    box = load([Path("a/one.yaml"), Path("b/two.yaml")], environment={}).configuration.stores["box"]
    assert isinstance(box, LocalStore)
    assert (box.file, box.key.file) == (tmp_path / "a/box", tmp_path / "b/key")
    monkeypatch.chdir(tmp_path / "a")
    box = load([Path("one.yaml")], environment={}).configuration.stores["box"]
    assert isinstance(box, LocalStore) and box.file == tmp_path / "a/box"


def test_the_only_store_is_filled_in(load_text: LoadText) -> None:
    secrets = load_text(STORE + "secrets: {database: {path: x}}").configuration.secrets
    assert secrets["database"].store == "vault"


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"VAULT_ADDR": "http://127.0.0.1:1", "BAO_ADDR": "https://b"}, "http://127.0.0.1:1"),
        ({"BAO_ADDR": "https://b", "VAULT_ADDR": ""}, "https://b"),
        ({"BAO_ADDR": "unix:///run/vault.sock"}, "unix:/run/vault.sock"),
    ],
)
def test_the_address_is_that_of_the_vaults_own_programs(
    load_text: LoadText, environment: dict[str, str], address: str
) -> None:
    text = "stores: {vault: {type: vault, auth: {method: kubernetes, role: app}}}"
    store = load_text(text, environment=environment).configuration.stores["vault"]
    assert isinstance(store, VaultStore) and store.address == address


def test_a_bad_address_from_the_environment_is_not_shown(problems: Problems) -> None:
    text = "stores: {vault: {type: vault, auth: {method: kubernetes, role: app}}}"
    found = problems(text, environment={"VAULT_ADDR": "s3cret"})
    assert len(found) == 1 and '"${VAULT_ADDR}" is no address' in found[0]


def test_a_credential_from_the_environment_is_in_no_repr(load_text: LoadText) -> None:
    store = STORE.replace("method: kubernetes, role: app", 'method: token_file, token: "${T}"')
    secret = 'secrets: {web: {path: x, data: {password: "${T}"}}}\n'
    loaded = load_text(store + secret, environment={"T": "hunter2"})
    configuration = loaded.configuration
    vault = configuration.stores["vault"]
    assert isinstance(vault, VaultStore) and isinstance(vault.auth, TokenFile)
    assert vault.auth.token == "hunter2"
    assert configuration.secrets["web"].data == {"password": "hunter2"}
    assert "hunter2" not in repr(loaded)


def test_an_expanded_text_is_read_by_the_type_wanted(load_text: LoadText) -> None:
    store = STORE.replace("role: app}", 'role: app}, timeout: "${T}", budget: {concurrent: "${N}"}')
    loaded = load_text(
        store
        + 'bundles: {a: {directory: "/${N}", files: {x: "y"}, mode: "${M}", allow_disk: "${B}"}}',
        environment={"N": "7", "T": "1m", "M": "600", "B": "true"},
    ).configuration
    vault = loaded.stores["vault"]
    assert isinstance(vault, VaultStore)
    assert (vault.timeout, vault.budget.concurrent) == (60.0, 7)
    bundle = loaded.bundles["a"]
    assert (bundle.directory, bundle.mode, bundle.allow_disk) == (Path("/7"), 0o600, True)


def test_a_variable_adds_no_structure(load_text: LoadText) -> None:
    loaded = load_text(
        "process: {command: [echo, '${X}']}", environment={"X": "a]}\nlog: {level: debug}"}
    ).configuration
    assert loaded.process and loaded.process.command == ("echo", "a]}\nlog: {level: debug}")
    assert loaded.log.level == "info"


def test_defaults_escapes_and_emptiness(load_text: LoadText) -> None:
    loaded = load_text(
        """
        process:
          command: ["${A:-x}", "${E:-y}", "$${A}", "$5", "${E}", "${A:-}"]
          user: "${A:-}"
          environment: {OPTIONAL: "${A:-}"}
        """,
        environment={"E": ""},
    ).configuration.process
    assert loaded is not None
    assert loaded.command == ("x", "y", "${A}", "$5", "", "")
    assert loaded.user is None
    assert loaded.environment == {"OPTIONAL": ""}


def test_data_is_what_json_has(load_text: LoadText) -> None:
    data = (
        load_text(
            STORE
            + """
secrets:
  web:
    path: x
    data:
      {a: 1, b: 1.5, c: true, d: ~, e: no, f: "1", g: 0440, h: [x, {i: 1:30}], j: "${N}",
       k: 2026-01-01}
""",
            environment={"N": "1"},
        )
        .configuration.secrets["web"]
        .data
    )
    assert data == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "no",
        "f": "1",
        "g": "0440",
        "h": ["x", {"i": "1:30"}],
        "j": "1",
        "k": "2026-01-01",
    }


def test_anchors_and_merge_keys_work(load_text: LoadText) -> None:
    secrets = load_text(
        STORE
        + """
secrets:
  one: &base {path: x, max_stale: 1h}
  two: {<<: *base, path: y}
  three: *base
"""
    ).configuration.secrets
    assert [(each.path, each.max_stale) for each in secrets.values()] == [
        ("x", 3600.0),
        ("y", 3600.0),
        ("x", 3600.0),
    ]


def test_a_variable_behind_an_anchor_is_expanded_in_each_place(load_text: LoadText) -> None:
    log = load_text("process: {command: [&x '${A}', *x]}", environment={"A": "${A}"}).configuration
    assert log.process and log.process.command == ("${A}", "${A}")


def test_approle_with_a_credentials_directory(load_text: LoadText) -> None:
    auth = "{method: approle, role_id_file: role, secret_id_file: '${CREDENTIALS_DIRECTORY}/s'}"
    vault = load_text(
        STORE.replace("{method: kubernetes, role: app}", auth),
        environment={"CREDENTIALS_DIRECTORY": "/run/credentials/x"},
    ).configuration.stores["vault"]
    assert isinstance(vault, VaultStore) and isinstance(vault.auth, AppRole)
    assert vault.auth.secret_id_file == Path("/run/credentials/x/s")


def test_the_environment_is_the_process_s_own_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "LEASEHOLD_LEVEL", "error")
    (tmp_path / "a.yaml").write_text("log: {level: '${LEASEHOLD_LEVEL}'}")
    assert load([tmp_path / "a.yaml"]).configuration.log.level == "error"


def test_variables_of_credentials_are_known_so_that_a_child_does_not_get_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "leasehold.yaml"
    file.write_text(
        "stores:\n"
        "  vault:\n"
        "    type: vault\n"
        "    address: ${WHERE}\n"
        "    auth: {method: token_file, token: '${MY_TOKEN}'}\n"
    )
    loaded = load([file], environment={"WHERE": "https://vault.example", "MY_TOKEN": "s.abc"})
    assert loaded.credential_variables == {"MY_TOKEN"}

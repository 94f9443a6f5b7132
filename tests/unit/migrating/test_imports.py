"""Whole files of other agents: what becomes of them loads, and nothing is lost in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import leasehold
from agent.cli.import_ import reader
from agent.config.load import load
from agent.config.model import Configuration, VaultStore
from agent.migrating.consul_template import import_consul_template
from agent.migrating.draft import Draft
from agent.migrating.findings import Findings, Unreadable
from agent.migrating.manifests import Annotation, Workload, workloads
from agent.migrating.reference import written
from agent.migrating.table import MAPPED
from agent.migrating.vault_agent import import_vault_agent
from agent.migrating.vault_agent_table import VAULT_AGENT
from agent.migrating.vault_k8s import import_workload
from agent.migrating.vault_k8s_table import VAULT_K8S
from agent.rendering.templates import check_template, compile_template

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/migrating.md"
ENVIRONMENT = {"VAULT_ADDR": "https://vault.example:8200"}


def loaded(draft: Draft, folder: Path) -> Configuration:
    """What our loader makes of it, without a problem."""
    path = folder / "imported.yaml"
    path.write_text(draft.text())
    return load(
        [path],
        environment=ENVIRONMENT,
        check_template=check_template,
        template_secrets=lambda source: compile_template(source, "").secrets,
    ).configuration


def vault_agent(text: str) -> Draft:
    source = HERE / "everything.hcl"
    return import_vault_agent(text, Findings("agent.hcl"), reader(source))


def by_hand(draft: Draft) -> list[str]:
    return [f"{each.line} {each.subject}" for each in draft.findings.all if each.by_hand]


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text()


def test_each_directive_with_a_counterpart_is_taken_over(tmp_path: Path) -> None:
    source = HERE / "everything.hcl"
    text = source.read_text()
    for row in VAULT_AGENT.values():
        if row.kind == MAPPED and "method(" not in row.name:
            assert row.name.rpartition(".")[2] in text, row.name
    draft = vault_agent(text)
    assert [each.split()[1] for each in by_hand(draft)] == ["cache.persist"]
    made = loaded(draft, tmp_path)
    store = made.stores["vault"]
    assert isinstance(store, VaultStore) and store.namespace == "team"
    assert store.tls.server_name == "vault.example" and store.budget.concurrent == 7
    assert made.secrets["app"].refresh_every == 120 and made.secrets["app"].renew_at == 0.8
    bundle = made.bundles["app"]
    assert set(bundle.files) == {"one", "two"} and bundle.debounce == 3 and bundle.notify_first
    assert [each.command for each in bundle.notify] == [  # type: ignore[union-attr]
        ("/bin/sh", "-c", "systemctl reload app"),
        ("/usr/bin/true", "x"),
    ]
    assert bundle.files["one"].mode == 0o600 and bundle.files["two"].owner == "1000"
    assert made.process is not None and set(made.process.environment) == {"WORD", "OTHER"}
    assert made.process.on_change == "none" and made.process.stop.signal == "INT"
    assert made.cache is not None and made.telemetry is not None and made.log.level == "warning"
    (door,) = made.listeners
    assert door.mode == 0o660 and door.owner == "app" and door.allow == ()


@pytest.mark.parametrize(
    ("method", "config"),
    [
        ("kubernetes", 'role = "app" token_path = "/t"'),
        ("jwt", 'path = "/j" role = "app"'),
        ("cert", 'name = "r" client_cert = "/c" client_key = "/k" ca_cert = "/ca"'),
        ("token_file", 'token_file_path = "/t"'),
        ("ldap", 'username = "u" password_file_path = "/p"'),
    ],
)
def test_auth_methods(method: str, config: str, tmp_path: Path) -> None:
    text = f'auto_auth {{ method "{method}" {{ config {{ {config} }} }} }}'
    draft = vault_agent(text)
    assert by_hand(draft) == []
    store = loaded(draft, tmp_path).stores["vault"]
    assert isinstance(store, VaultStore) and type(store.auth).__name__.lower() == (
        method.replace("_", "")
    )


@pytest.mark.parametrize("method", ["aws", "azure", "gcp", "kerberos", "sesame"])
def test_a_method_that_can_not_be_had_is_named(method: str, tmp_path: Path) -> None:
    config = 'config { role = "r" secret_key = "hunter2-hunter2" }'
    draft = vault_agent(f'auto_auth {{ method "{method}" {{ {config} }} }}')
    assert by_hand(draft) == [f"1 auto_auth.method({method})"]
    loaded(draft, tmp_path)
    assert "hunter2" not in draft.text() and "hunter2" not in str(draft.findings.all)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault { tls_skip_verify = true }", "1 vault.tls_skip_verify"),
        ('vault { ca_path = "/etc/ssl" }', "1 vault.ca_path"),
        ("\nbogus = 1", "2 bogus"),
        ('vault { token = "hunter2" }', "1 vault.token"),
        ('auto_auth { sink "file" { config = { path = "/t" } } }', "1 auto_auth.sink"),
        ('listener "tcp" { address = "0.0.0.0:8100" }', "1 listener.address"),
        (
            'api_proxy { use_auto_auth_token = true }\nlistener "tcp" {}',
            "2 listener.allow",
        ),
        ('template { destination = "/run/a/b" }', "1 template /run/a/b"),
        ('template { contents = "x" destination = "b" }', "1 template b"),
        (
            'template { contents = "x" destination = "/etc/app/b" }',
            "1 template /etc/app/b.destination",
        ),
        ('env_template "A-B" { contents = "x" }', "1 env_template"),
        ("log_level = 5", "1 log_level"),
        (
            'template { destination = "/run/a/b"'
            ' contents = "{{ with secret `kv/a` }}{{ .Data.x }}{{ .Data.data.x }}{{ end }}" }',
            "0 secret kv/a",
        ),
        ('vault { address = "vault:8200" }', "0 vault.address"),
        ('template { perms = "rw" contents = "" destination = "/run/a/b" }', "1 template.perms"),
        ('telemetry { statsd_address = "x" }', "1 telemetry.*"),
        (
            'template {\n contents = <<E\nx\n{{ key "a" }}\nE\n destination = "/run/a/b"\n}',
            "4 template /run/a/b, line 2 of the template",
        ),
    ],
)
def test_what_is_left_by_hand_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    draft = vault_agent(text)
    loaded(draft, tmp_path)
    assert said in by_hand(draft)
    assert "hunter2" not in draft.text() and "hunter2" not in str(draft.findings.all)


def test_destinations_on_disk_go_to_memory_and_directories_stay_apart(tmp_path: Path) -> None:
    paths = ("/etc/a/conf/x", "/etc/b/conf/x", "/run/app/sub/y", "/run/app/z", "/etc/k", "/run/q")
    blocks = "\n".join(f'template {{ contents = "x" destination = "{path}" }}' for path in paths)
    made = loaded(vault_agent(blocks), tmp_path)
    assert {str(each.directory): set(each.files) for each in made.bundles.values()} == {
        "/run/leasehold/conf": {"x"},
        "/run/leasehold/b-conf": {"x"},
        "/run/app": {"sub/y", "z"},
        "/run/leasehold/etc": {"k"},
        "/run/leasehold/run": {"q"},
    }


def test_consul_template(tmp_path: Path) -> None:
    text = """
    vault { address = "https://v:8200" vault_agent_token_file = "/t" default_lease_duration = "60s"
            ssl { ca_cert = "/ca" verify = true enabled = true } }
    wait { min = "1s" max = "9s" }
    default_delimiters { left = "[[" right = "]]" }
    template { contents = "[[ with secret \\"secret/app\\" ]][[ .Data.x ]][[ end ]]"
               destination = "/run/app/b" }
    exec { command = ["/usr/bin/app"] reload_signal = "SIGHUP" kill_timeout = "5s" }
    """
    draft = import_consul_template(text, Findings("ct.hcl"), lambda _: None)
    made = loaded(draft, tmp_path)
    assert by_hand(draft) == [] and made.bundles["app"].debounce == 1
    assert made.secrets["app"].refresh_every == 60
    assert made.process is not None and made.process.command == ("/usr/bin/app",)
    assert made.process.stop.timeout == 5


def test_what_consul_template_has_that_is_not_taken_over(tmp_path: Path) -> None:
    text = """
    vault { namespace = "team" token = "hunter2" k8s_auth_role_name = "app"
            k8s_service_mount_path = "auth/here" k8s_service_account_token_path = "/t"
            lease_renewal_threshold = 0.99
            ssl { verify = false cert = "/c" key = "/k" server_name = "v" ca_path = "/d" } }
    consul { address = "x" }
    wait = "1s:9s"
    exec { command = "app --serve" kill_signal = "SIGINT" env { custom = ["A=hunter2"] } }
    log_level = "err"
    """
    draft = import_consul_template(text, Findings("ct.hcl"), lambda _: None)
    made = loaded(draft, tmp_path)
    assert [each.split()[1] for each in by_hand(draft)] == [
        *("vault.ssl.verify", "vault.ssl.ca_path", "vault.token", "exec.env.custom", "consul"),
    ]
    assert "hunter2" not in draft.text() and "hunter2" not in str(draft.findings.all)
    assert made.secrets == {} and made.log.level == "error"


def test_annotations_of_an_injector(tmp_path: Path) -> None:
    (pod, other) = workloads((HERE / "injected.yaml").read_text())
    draft = import_workload(pod, Findings("injected.yaml"), lambda _: None)
    made = loaded(draft, tmp_path)
    store = made.stores["vault"]
    assert isinstance(store, VaultStore) and store.address == "https://vault.example:8200"
    files = made.bundles["secrets"].files
    assert set(files) == {"db", "Shop.env", "conf/app.json"} and files["db"].mode == 0o440
    assert {each.path for each in made.secrets.values()} == {
        *("database/creds/shop", "secret/data/shop/web", "secret/data/shop/app"),
    }
    assert all(each.refresh_every == 30 for each in made.secrets.values())
    assert by_hand(draft) == [
        *("15 agent-inject-secret-app", "22 agent-limits-mem", "6 Deployment shop"),
    ]
    assert other.name == "cleanup" and other.kind == "CronJob"
    draft = import_workload(other, Findings("injected.yaml"), lambda _: None)
    assert "agent-pre-populate-only" in str(by_hand(draft))
    loaded(draft, tmp_path)


def test_every_annotation_of_the_table_is_known_and_said_if_it_is_lost(tmp_path: Path) -> None:
    annotations = {
        row.replace("NAME", "db"): Annotation("true", number)
        for number, row in enumerate(VAULT_K8S, start=1)
    }
    pod = Workload("app", "Pod", 0, annotations | {"bogus": Annotation("x", 999)})
    draft = import_workload(pod, Findings("pod.yaml"), lambda _: None)
    loaded(draft, tmp_path)
    said = {each.subject for each in draft.findings.all}
    lost = {row.name.replace("NAME", "db") for row in VAULT_K8S.values() if row.kind != MAPPED}
    assert lost <= said and "999 bogus" in by_hand(draft)


def test_a_trial_writes_files_elsewhere_and_touches_nothing_else(tmp_path: Path) -> None:
    source, out = tmp_path / "everything.hcl", tmp_path / "trial.yaml"
    source.write_text((HERE / "everything.hcl").read_text().replace("= false", "= true", 1))
    (tmp_path / "everything.tmpl").write_text((HERE / "everything.tmpl").read_text())
    assert run("vault-agent", source, "-o", out, "--trial", "/dev/shm/trial").exit_code == 1
    made = load([out], environment={}).configuration
    (bundle,) = made.bundles.values()
    assert str(bundle.directory) == "/dev/shm/trial/app" and not bundle.notify
    assert not made.listeners and made.process is None and made.cache is None
    assert "remove_secret_id_file: false" in out.read_text()
    assert run("vault-agent", source, "--trial", "relative").exit_code != 0


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leasehold, ["import", *map(str, arguments)])


def test_the_example_of_the_page_is_what_comes_out() -> None:
    page = PAGE.read_text()
    (text,) = re.findall(r"```hcl\n(.*?)```", page, re.DOTALL)
    yaml_blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    draft = import_vault_agent(text, Findings("/etc/bao-agent.d/agent.hcl"), lambda _: None)
    assert yaml_blocks[0] in draft.text()
    assert all(str(each) in page for each in draft.findings.all) and draft.findings.all


def test_nothing_of_a_source_breaks_out_of_a_comment_or_a_line(tmp_path: Path) -> None:
    nasty = "/run/a\\u2028log: {level: debug}\\n#\\u0085x: \\x1b[31m/b"
    text = f'template {{ contents = "x" destination = "{nasty}" }} log_level = "{nasty}"'
    draft = vault_agent(text)
    assert loaded(draft, tmp_path).log.level == "info"
    assert "\x1b" not in "".join(map(str, draft.findings.all)) + draft.text()


def test_a_result_that_does_not_load_is_said(tmp_path: Path) -> None:
    source = tmp_path / "agent.hcl"
    long = "x" * 300
    source.write_text(f'template {{ contents = "x" destination = "/run/a/{long}" }}')
    told = run("vault-agent", source)
    assert told.exit_code == 1 and "the result, line" in told.stderr


def test_the_command(tmp_path: Path) -> None:
    source, out = tmp_path / "agent.hcl", tmp_path / "leasehold.yaml"
    source.write_text('auto_auth { method "token_file" { config { token_file_path = "/t" } } }')
    assert run("vault-agent", source, "-o", out).exit_code == 0
    assert "method: token_file" in out.read_text()
    assert run("vault-agent", source, "-o", out).exception is not None
    assert run("vault-agent", source, "-o", out, "--force").exit_code == 0
    assert "method: token_file" in run("vault-agent", source).stdout
    source.write_text("bogus = 1")
    told = run("vault-agent", source)
    assert told.exit_code == 1 and f"{source}:1: by hand: bogus" in told.stderr
    assert run("vault-k8s", HERE / "injected.yaml").exit_code == 2
    assert run("vault-k8s", HERE / "injected.yaml", "-o", tmp_path / "all").exit_code == 1
    assert {each.name for each in (tmp_path / "all").iterdir()} == {"shop.yaml", "cleanup.yaml"}


_WORDS = st.sampled_from(
    [
        *(
            "vault {",
            "}",
            "address =",
            '"https://v:1"',
            "auto_auth {",
            'method "approle" {',
            "[",
            "]",
        ),
        *("template {", "destination =", '"/run/a/b"', '"/etc/x"', "contents =", '"{{ env `A` }}"'),
        *("perms =", "0640", "command =", '"a b"', "wait {", "min =", '"5s"', "listener {", "true"),
        *('env_template "X" {', "exec {", "config {", "role =", "cache {", "persist {", "1e400"),
        *("socket_mode =", "log_level =", '"\\u0085\\u2028é"', '"$${x} ${y}"', "=", "-1", "user ="),
    ]
)


@given(words=st.lists(_WORDS, max_size=30).map(" ".join))
def test_whatever_a_file_has_what_comes_out_loads(
    words: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = words + " }" * (words.count("{") - words.count("{{") * 2 - words.count("}"))
    try:
        draft = vault_agent(text)
    except Unreadable:
        return
    loaded(draft, tmp_path_factory.getbasetemp())

"""The shape of the configuration is the contract with users: keys may be added, not renamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import model
from agent.config.load import Loaded
from tests.unit.config.conftest import load_judged

FILE = Path(__file__).parent / "contract.yaml"
ENVIRONMENT = {"CREDENTIALS_DIRECTORY": "/run/credentials/leasehold.service"}


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_judged([FILE], ENVIRONMENT)


def test_only_what_is_on_the_host_is_missing(loaded: Loaded) -> None:
    assert loaded.warnings and all(each.endswith("on this host") for each in loaded.warnings)


def test_a_store_and_its_login_mean_what_they_say(loaded: Loaded) -> None:
    assert loaded.configuration.stores["vault"] == model.VaultStore(
        address="https://vault.example:8200",
        namespace="team-a",
        tls=model.Tls(ca_file=Path("/etc/ssl/vault.pem")),
        timeout=10.0,
        budget=model.Budget(per_second=20.0, burst=40, concurrent=16),
        auth=model.AppRole(
            mount="approle",
            role_id_file=Path("/etc/leasehold/role-id"),
            secret_id_file=Path("/run/credentials/leasehold.service/secret-id"),
            secret_id_wrapped=False,
            remove_secret_id_file=True,
        ),
    )


def test_secrets_mean_what_they_say(loaded: Loaded) -> None:
    assert loaded.configuration.secrets == {
        "database": model.SecretEntry(
            store="vault",
            path="database/creds/app",
            refresh_every=300.0,
            renew_at=0.67,
            max_stale=86400.0,
            revoke="on_retire",
        ),
        "web": model.SecretEntry(
            store="vault",
            path="pki/issue/web",
            data={"common_name": "app.example", "ttl": "24h"},
            revoke="never",
        ),
    }


def test_a_bundle_means_what_it_says(loaded: Loaded) -> None:
    app = loaded.configuration.bundles["app"]
    assert (app.directory, app.owner, app.group) == (Path("/run/leasehold/app"), "app", "app")
    assert (app.mode, app.allow_disk, app.notify_first, app.remove_on_exit) == (0o440, *[True] * 3)
    assert app.files == {
        "password": model.InlineFile(content="{{ database.password }}"),
        "app.env": model.FormatFile(format="env", secrets=("database",), keys="as_is"),
        "all.json": model.FormatFile(format="json", secrets=("database", "web")),
        "user": model.FormatFile(format="raw", secrets=("database",), field="username"),
        "web.pem": model.FormatFile(
            format="pem", secrets=("web",), parts=("certificate", "chain", "private_key")
        ),
        "app.conf": model.TemplateFile(template=FILE.parent / "app.conf.j2", mode=0o400),
    }


def test_validate_notify_and_confirm_mean_what_they_say(loaded: Loaded) -> None:
    app = loaded.configuration.bundles["app"]
    nginx = ("/usr/sbin/nginx", "-t", "-c", "{directory}/app.conf")
    assert app.validate == model.Validate(command=nginx, timeout=10.0)
    assert app.notify == (
        model.NotifySignal(signal="HUP", pid_file=Path("/run/app.pid")),
        model.NotifySignal(signal="HUP", unit="app.service"),
        model.NotifySignal(signal="HUP", process=Path("/usr/bin/app")),
        model.NotifySystemd(systemd="app.service", action="reload"),
        model.NotifySystemd(systemd="app.service", action="reload-or-restart"),
        model.NotifyHttp(http="http://127.0.0.1:8080/-/reload", method="POST"),
        model.NotifyHttp(http="http+unix:/run/app.sock:/reload", method="POST"),
        model.NotifyCommand(command=("/usr/local/bin/reload-app",), timeout=30.0),
    )
    assert app.confirm == model.ConfirmHttp(
        http="http://127.0.0.1:8080/health", status=200, timeout=30.0, every=1.0
    )


def test_the_process_means_what_it_says(loaded: Loaded) -> None:
    assert loaded.configuration.process == model.Process(
        command=("/usr/bin/app", "--serve"),
        user="app",
        environment={
            "DB_USER": "{{ database.username }}",
            "DB_PASSWORD": "{{ database.password }}",
        },
        memory_files={"TLS_KEY_FILE": "{{ web.private_key }}"},
        on_change="restart",
        stop=model.Stop(signal="TERM", timeout=30.0),
    )


def test_the_rest_means_what_it_says(loaded: Loaded) -> None:
    configuration = loaded.configuration
    assert configuration.cache == model.Cache(
        file=Path("/var/lib/leasehold/cache"),
        key=model.CacheKey(file=Path("/run/credentials/leasehold.service/cache-key")),
        max_age=86400.0,
    )
    assert configuration.audit == model.Audit(
        file=Path("/var/log/leasehold/audit.jsonl"),
        key=None,
        on_error="open",
        max_size=16 * 2**20,
        keep=3,
        sync=False,
        journal=False,
        syslog="/dev/log",
    )
    assert configuration.telemetry == model.Telemetry(address="127.0.0.1:9847")
    assert configuration.log == model.Log(level="info", format="auto")
    assert [configuration.stores[name] for name in ("box", "phrase")] == [
        model.LocalStore(
            file=FILE.parent / "secrets.sealed", key=model.LocalKey(file=FILE.parent / "key")
        ),
        model.LocalStore(
            file=FILE.parent / "other.sealed",
            key=model.LocalKey(passphrase_file=FILE.parent / "phrase"),
        ),
    ]


def test_listeners_mean_what_they_say(loaded: Loaded) -> None:
    secrets, vault, aws, abstract, credentials = loaded.configuration.listeners
    assert secrets == model.SecretsListener(
        socket="/run/leasehold/secrets.sock",
        owner="root",
        group="app",
        mode=0o660,
        limits=model.Limits(
            connections=512, per_user=128, request_bytes=1048576, idle=75.0, slow=10.0
        ),
        allow=(
            model.ApiRule(user="app", secrets=("database", "web*")),
            model.ApiRule(unit="app.service", secrets=("web",)),
            model.ApiRule(
                user="app",
                executable=Path("/usr/bin/app"),
                sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                container="0123456789ab",
                pod_uid="11111111-2222-3333-4444-55555555555a",
                secrets=("[dw]*",),
            ),
        ),
    )
    assert vault == model.VaultListener(
        store="vault",
        address="127.0.0.1:8200",
        limits=model.Limits(connections=100, per_user=10, request_bytes=4096, idle=60.0, slow=5.0),
        allow=(
            model.VaultRule(
                secrets=("web",),
                paths=(model.PathRule(path="kv/data/*", capabilities=("read", "list")),),
            ),
        ),
    )
    assert aws == model.AwsListener(
        address="127.0.0.1:2773",
        token=model.TokenSource(file=FILE.parent / "token"),
        allow=(model.SecretsRule(secrets=("web",)),),
    )
    assert abstract == model.AwsListener(
        socket="@aws", allow=(model.SecretsRule(group="app", secrets=("web",)),)
    )
    assert credentials == model.CredentialsListener(
        activated="leasehold-credentials.socket",
        mode=0o600,
        allow=(
            model.CredentialRule(
                unit="app@*.service", credentials=("database.password", "web*"), secrets=("web",)
            ),
        ),
    )

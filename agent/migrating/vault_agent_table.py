"""Every directive of Vault Agent and OpenBao Agent, as `docs/migrating.md` shows them.

Names are paths of blocks and keys; `method(TYPE)` is a method's own `config`.
"""

from __future__ import annotations

from agent.migrating.table import Row, by_hand, mapped, otherwise, table

ONE_BACKOFF = "one backoff with jitter for everything; `Retry-After` is honoured"
GOES_ON = "the agent goes on, with what it has; `leasehold once --timeout` ends with 3"
TO_STDERR = "the log goes to standard error; the journal or the container's runtime keeps it"
_NO_TLS = "the door listens on loopback and UNIX sockets only, without TLS; use `socket:`"
_SEEN_TO = "a UNIX socket's caller is known; on TCP the door sees to this by itself"
_NO_METHOD = (
    "this auth method can't be had; log in by jwt, cert, kubernetes or approle, or let"
    " another program keep a token in a file (`method: token_file`)"
)
_SINK = (
    "no token is written to a file; let what reads it ask a listener of protocol vault,"
    " which needs no token (`VAULT_ADDR=unix:///run/leasehold/vault.sock`)"
)
_CONSISTENCY = "a value comes from the agent's memory; what is passed on, the vault answers"
_NOT_ENV = "a variable has no file; it is left out"


def _methods() -> list[Row]:
    methods = ("alicloud", "aws", "azure", "cf", "gcp", "kerberos", "oci", "userpass")
    return [by_hand(f"auto_auth.method({each})", _NO_METHOD) for each in methods]


def template_rows(block: str) -> list[Row]:
    """What consul-template's blocks have, too."""
    return [
        mapped(f"{block}.source", "the text of a file of a bundle"),
        mapped(f"{block}.contents", "the text of a file of a bundle"),
        mapped(f"{block}.destination", "bundles.NAME.directory and a name in files"),
        mapped(f"{block}.perms", "bundles.NAME.files.NAME.mode"),
        mapped(f"{block}.user", "bundles.NAME.files.NAME.owner"),
        mapped(f"{block}.uid", "bundles.NAME.files.NAME.owner"),
        mapped(f"{block}.group", "bundles.NAME.files.NAME.group"),
        mapped(f"{block}.gid", "bundles.NAME.files.NAME.group"),
        mapped(f"{block}.command", "bundles.NAME.notify[].command"),
        mapped(f"{block}.command_timeout", "bundles.NAME.notify[].timeout"),
        mapped(f"{block}.exec.command", "bundles.NAME.notify[].command"),
        mapped(f"{block}.exec.timeout", "bundles.NAME.notify[].timeout"),
        by_hand(f"{block}.exec.env", "put an `env -i` or `env NAME=…` before the command"),
        otherwise(f"{block}.exec.enabled", "a command that is there is run"),
        otherwise(f"{block}.exec.kill_signal", "after its timeout the command is killed"),
        otherwise(f"{block}.exec.kill_timeout", "after its timeout the command is killed"),
        otherwise(f"{block}.exec.reload_signal", "the command runs anew with each change"),
        otherwise(f"{block}.exec.splay", "reads are spread in time, so changes are"),
        mapped(f"{block}.left_delimiter", "the template is translated to `{{` and `}}`"),
        mapped(f"{block}.right_delimiter", "the template is translated to `{{` and `}}`"),
        otherwise(f"{block}.error_on_missing_key", "a field that is not there is an error, always"),
        otherwise(f"{block}.error_fatal", GOES_ON),
        otherwise(f"{block}.backup", "the last generation is kept, and put back if need be"),
        otherwise(f"{block}.create_dest_dirs", "the directory is made where there is none"),
        mapped(f"{block}.wait.min", "bundles.NAME.debounce"),
        otherwise(
            f"{block}.wait.max", "`debounce` counts from the first change: it is the longest"
        ),
        otherwise(f"{block}.wait.enabled", "see `debounce`"),
        otherwise(f"{block}.sandbox_path", "templates read no files"),
        otherwise(f"{block}.function_denylist", "templates can neither run nor write anything"),
        otherwise(f"{block}.function_blacklist", "templates can neither run nor write anything"),
    ]


def _listener() -> list[Row]:
    tls: tuple[str, ...] = ("tls_cert_file", "tls_key_file", "tls_client_ca_file")
    tls += ("tls_require_and_verify_client_cert", "tls_disable_client_certs")
    seen_to: tuple[str, ...] = (
        "max_request_size",
        "max_request_duration",
        "http_idle_timeout",
        "proxy_protocol",
    )
    seen_to += ("http_read_timeout", "http_read_header_timeout", "http_write_timeout")
    seen_to += ("tls_min_version", "tls_max_version", "tls_cipher_suites", "purpose")
    return [
        mapped("listener.type", "listeners[].protocol: vault"),
        mapped("listener.address", "listeners[].address, or socket"),
        mapped("listener.socket_mode", "listeners[].mode"),
        mapped("listener.socket_user", "listeners[].owner"),
        mapped("listener.socket_group", "listeners[].group"),
        mapped("listener.role", "metrics_only becomes telemetry.address"),
        mapped("listener.tls_disable", "the door has no TLS"),
        *(by_hand(f"listener.{each}", _NO_TLS) for each in tls),
        otherwise("listener.require_request_header", "on TCP it is required, always"),
        by_hand("listener.agent_api.enable_quit", "end the agent by SIGTERM"),
        by_hand("listener.proxy_api.enable_quit", "end the agent by SIGTERM"),
        *(otherwise(f"listener.{each}", _SEEN_TO) for each in seen_to),
        otherwise("listener.telemetry", "metrics have a listener of their own, `telemetry`"),
        otherwise("listener.profiling", "there is none"),
        by_hand("listener.cors_enabled", "no web page gets anything from the door"),
        by_hand("listener.cors_allowed_origins", "no web page gets anything from the door"),
        by_hand("listener.custom_response_headers", "put a proxy before the door"),
    ]


VAULT_AGENT = table(
    mapped("vault.address", "stores.vault.address"),
    mapped("vault.ca_cert", "stores.vault.tls.ca_file"),
    by_hand("vault.ca_path", "put the authorities into one file, and name it as `tls.ca_file`"),
    mapped("vault.client_cert", "stores.vault.tls.cert_file"),
    mapped("vault.client_key", "stores.vault.tls.key_file"),
    mapped("vault.tls_server_name", "stores.vault.tls.server_name"),
    by_hand("vault.tls_skip_verify", "the vault is always verified; name its CA as `tls.ca_file`"),
    mapped("vault.namespace", "stores.vault.namespace"),
    otherwise("vault.retry.num_retries", ONE_BACKOFF),
    mapped("auto_auth.method.type", "stores.vault.auth.method"),
    mapped("auto_auth.method.mount_path", "stores.vault.auth.mount"),
    mapped("auto_auth.method.namespace", "stores.vault.namespace"),
    mapped("auto_auth.method.config", "stores.vault.auth, by method as below"),
    by_hand("auto_auth.method.wrap_ttl", "the token is handed to nobody, so it is not wrapped"),
    otherwise("auto_auth.method.min_backoff", ONE_BACKOFF),
    otherwise("auto_auth.method.max_backoff", ONE_BACKOFF),
    otherwise("auto_auth.method.exit_on_err", GOES_ON),
    otherwise("auto_auth.enable_reauth_on_new_credentials", "a new credential is used at once"),
    mapped("auto_auth.method(approle).role_id_file_path", "stores.vault.auth.role_id_file"),
    mapped("auto_auth.method(approle).secret_id_file_path", "stores.vault.auth.secret_id_file"),
    mapped(
        "auto_auth.method(approle).remove_secret_id_file_after_reading",
        "stores.vault.auth.remove_secret_id_file",
    ),
    mapped(
        "auto_auth.method(approle).secret_id_response_wrapping_path",
        "stores.vault.auth.secret_id_wrapped and wrapped_path",
    ),
    mapped("auto_auth.method(kubernetes).role", "stores.vault.auth.role"),
    mapped("auto_auth.method(kubernetes).token_path", "stores.vault.auth.jwt_file"),
    mapped("auto_auth.method(jwt).path", "stores.vault.auth.jwt_file"),
    mapped("auto_auth.method(jwt).role", "stores.vault.auth.role"),
    by_hand(
        "auto_auth.method(jwt).remove_jwt_after_reading",
        "the file stays, to be read again when it changes; let its owner take it away",
    ),
    otherwise("auto_auth.method(jwt).remove_jwt_follows_symlinks", "the file stays"),
    otherwise("auto_auth.method(jwt).jwt_read_period", "the file is watched"),
    otherwise("auto_auth.method(jwt).skip_token_read", "the file is watched"),
    mapped("auto_auth.method(cert).name", "stores.vault.auth.role"),
    mapped("auto_auth.method(cert).client_cert", "stores.vault.tls.cert_file"),
    mapped("auto_auth.method(cert).client_key", "stores.vault.tls.key_file"),
    mapped("auto_auth.method(cert).ca_cert", "stores.vault.tls.ca_file"),
    otherwise("auto_auth.method(cert).reload", "the files are watched"),
    mapped("auto_auth.method(token_file).token_file_path", "stores.vault.auth.token_file"),
    mapped("auto_auth.method(ldap).username", "stores.vault.auth.username"),
    mapped("auto_auth.method(ldap).password_file_path", "stores.vault.auth.password_file"),
    by_hand(
        "auto_auth.method(ldap).remove_password_after_reading",
        "the file stays, to log in again; let its owner take it away",
    ),
    otherwise("auto_auth.method(ldap).remove_password_follows_symlinks", "the file stays"),
    *_methods(),
    by_hand("auto_auth.sink", _SINK),
    mapped("template", "a file of a bundle"),
    *template_rows("template"),
    otherwise("template_config.exit_on_retry_failure", GOES_ON),
    mapped("template_config.static_secret_render_interval", "secrets.NAME.refresh_every"),
    mapped("template_config.max_connections_per_host", "stores.vault.budget.concurrent"),
    mapped("template_config.lease_renewal_threshold", "secrets.NAME.renew_at"),
    mapped("env_template", "process.environment"),
    mapped("env_template.contents", "process.environment.NAME"),
    mapped("env_template.source", "process.environment.NAME"),
    mapped("env_template.left_delimiter", "the template is translated to `{{` and `}}`"),
    mapped("env_template.right_delimiter", "the template is translated to `{{` and `}}`"),
    otherwise("env_template.error_on_missing_key", "a field that is not there is an error, always"),
    *(
        otherwise(f"env_template.{each}", _NOT_ENV)
        for each in ("destination", "perms", "user", "uid", "group", "gid", "backup", "wait")
    ),
    *(
        otherwise(f"env_template.{each}", _NOT_ENV)
        for each in ("command", "command_timeout", "exec", "create_dest_dirs", "sandbox_path")
    ),
    otherwise("env_template.error_fatal", GOES_ON),
    otherwise("env_template.function_denylist", "templates can neither run nor write anything"),
    mapped("exec.command", "process.command"),
    mapped("exec.restart_on_secret_changes", "process.on_change"),
    mapped("exec.restart_stop_signal", "process.stop.signal"),
    by_hand("exec.child_process_stdout", "it is the agent's own; redirect it in a shell"),
    by_hand("exec.child_process_stderr", "it is the agent's own; redirect it in a shell"),
    by_hand(
        "cache.use_auto_auth_token",
        "name under `allow` of the listener who may have which secrets and paths",
    ),
    otherwise("cache.enforce_consistency", _CONSISTENCY),
    otherwise("cache.when_inconsistent", _CONSISTENCY),
    mapped("cache.persist", "cache, with a key of your own"),
    mapped("cache.persist.type", "cache"),
    mapped("cache.persist.path", "cache.file"),
    otherwise("cache.persist.keep_after_import", "the file is kept, and written anew"),
    otherwise("cache.persist.exit_on_err", "a cache that can't be used is named, and not used"),
    otherwise(
        "cache.persist.service_account_token_file", "the key is a file, `cache.key`, not a token"
    ),
    otherwise("cache.cache_static_secrets", "what the configuration names is kept, of all kinds"),
    otherwise("cache.disable_caching_dynamic_secrets", "callers share the lease that is held"),
    otherwise(
        "cache.static_secret_token_capability_refresh_interval",
        "the agent's rules decide, not a caller's token",
    ),
    otherwise(
        "cache.static_secret_token_capability_refresh_behavior",
        "the agent's rules decide, not a caller's token",
    ),
    by_hand(
        "api_proxy.use_auto_auth_token",
        "name under `allow` of the listener who may have which secrets and paths",
    ),
    otherwise("api_proxy.enforce_consistency", _CONSISTENCY),
    otherwise("api_proxy.when_inconsistent", _CONSISTENCY),
    by_hand(
        "api_proxy.prepend_configured_namespace",
        "a caller's namespace counts from the root; see docs/vault-door.md",
    ),
    mapped("listener", "listeners[]"),
    *_listener(),
    mapped("telemetry", "telemetry.address, for Prometheus"),
    otherwise("telemetry.prometheus_retention_time", "metrics are kept as long as the agent runs"),
    otherwise("telemetry.disable_hostname", "no metric has the host's name"),
    by_hand("telemetry.*", "metrics are scraped by Prometheus; nothing is sent elsewhere"),
    otherwise(
        "exit_after_auth", "use `leasehold once`, which ends when everything has been rendered"
    ),
    otherwise("pid_file", "there is none; use systemd's MainPID, or `systemctl reload`"),
    mapped("log_level", "log.level"),
    mapped("log_format", "log.format"),
    *(
        otherwise(each, TO_STDERR)
        for each in ("log_file", "log_rotate_bytes", "log_rotate_duration", "log_rotate_max_files")
    ),
    otherwise("disable_idle_connections", "a few connections are kept and shared"),
    otherwise("disable_keep_alives", "a few connections are kept and shared"),
    otherwise("disable_mlock", "memory is locked where that is allowed"),
    otherwise("cluster_name", "it had no effect in an agent"),
)

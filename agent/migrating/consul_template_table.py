"""Every directive of consul-template's configuration, as `docs/migrating.md` shows them."""

from __future__ import annotations

from agent.migrating.table import by_hand, mapped, otherwise, table
from agent.migrating.vault_agent_table import GOES_ON, ONE_BACKOFF, TO_STDERR, template_rows

_CONSUL = "Consul is no store of ours; keep consul-template for what comes from there"
_NOMAD = "Nomad is no store of ours; keep consul-template for what comes from there"
_TRANSPORT = "a few connections are kept and shared"
_KEPT_OUT = (
    "no token stands in a configuration: put it into a file that only the agent reads, named as"
    " token_file; or log in by approle, jwt, cert or kubernetes"
)

CONSUL_TEMPLATE = table(
    mapped("vault.address", "stores.vault.address"),
    otherwise("vault.enabled", "what the configuration names is used"),
    mapped("vault.namespace", "stores.vault.namespace"),
    otherwise("vault.renew_token", "the agent renews its token, always"),
    otherwise("vault.retry", ONE_BACKOFF),
    otherwise("vault.ssl.enabled", "https:// in the address says so"),
    by_hand("vault.ssl.verify", "the vault is always verified; name its CA as `tls.ca_file`"),
    mapped("vault.ssl.cert", "stores.vault.tls.cert_file"),
    mapped("vault.ssl.key", "stores.vault.tls.key_file"),
    mapped("vault.ssl.ca_cert", "stores.vault.tls.ca_file"),
    by_hand("vault.ssl.ca_path", "put the authorities into one file, and name it as `tls.ca_file`"),
    by_hand("vault.ssl.ca_cert_bytes", "put it into a file, and name it as `tls.ca_file`"),
    mapped("vault.ssl.server_name", "stores.vault.tls.server_name"),
    by_hand("vault.token", _KEPT_OUT),
    mapped("vault.vault_agent_token_file", "stores.vault.auth.token_file"),
    otherwise("vault.transport", _TRANSPORT),
    by_hand("vault.unwrap_token", "with approle, `secret_id_wrapped` does this for the secret-id"),
    otherwise("vault.client_user_agent", "the agent names itself"),
    mapped("vault.default_lease_duration", "secrets.NAME.refresh_every"),
    mapped("vault.lease_renewal_threshold", "secrets.NAME.renew_at"),
    mapped("vault.k8s_auth_role_name", "stores.vault.auth.role"),
    mapped("vault.k8s_service_account_token_path", "stores.vault.auth.jwt_file"),
    by_hand("vault.k8s_service_account_token", "put it into a file, and name it as `jwt_file`"),
    mapped("vault.k8s_service_mount_path", "stores.vault.auth.mount"),
    mapped("template", "a file of a bundle"),
    *template_rows("template"),
    mapped("default_delimiters.left", "templates are translated to `{{` and `}}`"),
    mapped("default_delimiters.right", "templates are translated to `{{` and `}}`"),
    mapped("wait.min", "bundles.NAME.debounce"),
    otherwise("wait.max", "`debounce` counts from the first change: it is the longest"),
    otherwise("wait.enabled", "see `debounce`"),
    mapped("exec.command", "process.command"),
    otherwise("exec.enabled", "a command that is there is run"),
    by_hand("exec.env.custom", "the child inherits the environment; see `process.environment`"),
    by_hand("exec.env.pristine", "the child inherits the environment; start it with `env -i`"),
    by_hand("exec.env.allowlist", "the child inherits the environment; start it with `env -i`"),
    by_hand("exec.env.denylist", "the child inherits the environment; start it with `env -u NAME`"),
    mapped("exec.kill_signal", "process.stop.signal"),
    mapped("exec.kill_timeout", "process.stop.timeout"),
    mapped("exec.reload_signal", "process.on_change.signal"),
    otherwise("exec.splay", "reads are spread in time, so changes are"),
    otherwise("exec.timeout", "the child runs as long as it likes"),
    otherwise("kill_signal", "SIGTERM and SIGINT end the agent in order"),
    otherwise("reload_signal", "SIGHUP reloads; so does a changed file"),
    mapped("log_level", "log.level"),
    otherwise("log_file", TO_STDERR),
    otherwise("syslog", TO_STDERR),
    otherwise("pid_file", "there is none; use systemd's MainPID, or `systemctl reload`"),
    otherwise("template_error_fatal", GOES_ON),
    otherwise("err_on_failed_lookup", GOES_ON),
    otherwise("max_stale", "it is about Consul; for secrets see `max_stale` of each"),
    otherwise("block_query_wait", "it is about Consul"),
    by_hand("consul", _CONSUL),
    otherwise("deduplicate", "it is about Consul"),
    by_hand("nomad", _NOMAD),
)

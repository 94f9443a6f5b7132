"""Every annotation of the injectors of Vault and OpenBao, as `docs/migrating.md` shows them.

Names are without the domain; NAME is a file's own part.
"""

from __future__ import annotations

from agent.migrating.table import by_hand, mapped, otherwise, table
from agent.migrating.vault_agent_table import GOES_ON, ONE_BACKOFF

_IN_POD = "write it into the container of deploy/kubernetes, which has a value for it"
_INIT = "a native sidecar is started before the app, and its startup probe waits for the files"
_SINK = "nobody is given the agent's token; let the app ask a listener of protocol vault"

VAULT_K8S = table(
    otherwise("agent-inject", "the container stands in the pod's own manifest"),
    otherwise("agent-inject-status", "the injector's own mark"),
    mapped("agent-inject-secret-NAME", "secrets.NAME.path"),
    mapped("agent-inject-template-NAME", "bundles.NAME.files.NAME.content"),
    mapped("agent-inject-template-file-NAME", "bundles.NAME.files.NAME.content"),
    mapped("agent-inject-file-NAME", "the name in bundles.NAME.files"),
    mapped("agent-inject-perms-NAME", "bundles.NAME.files.NAME.mode"),
    mapped("agent-inject-command-NAME", "bundles.NAME.notify[].command"),
    mapped("agent-inject-default-template", "json or map, written out"),
    mapped("agent-template-left-delim-NAME", "the template is translated to `{{` and `}}`"),
    mapped("agent-template-right-delim-NAME", "the template is translated to `{{` and `}}`"),
    otherwise("error-on-missing-key-NAME", "a field that is not there is an error, always"),
    mapped("secret-volume-path", "bundles.NAME.directory"),
    mapped("secret-volume-path-NAME", "bundles.NAME.directory"),
    mapped("preserve-secret-case", "the name in bundles.NAME.files"),
    mapped("preserve-secret-case-NAME", "the name in bundles.NAME.files"),
    by_hand("agent-inject-token", _SINK),
    by_hand("agent-inject-containers", "mount the volume in just these containers"),
    mapped("role", "stores.vault.auth.role"),
    mapped("auth-type", "stores.vault.auth.method"),
    mapped("auth-path", "stores.vault.auth.mount"),
    mapped("auth-config-NAME", "stores.vault.auth, as with Vault Agent"),
    otherwise("auth-min-backoff", ONE_BACKOFF),
    otherwise("auth-max-backoff", ONE_BACKOFF),
    otherwise("agent-auto-auth-exit-on-err", GOES_ON),
    mapped("namespace", "stores.vault.namespace"),
    mapped("service", "stores.vault.address"),
    by_hand("proxy-address", "set HTTPS_PROXY if the agent has to go through a proxy, and try it"),
    mapped("tls-server-name", "stores.vault.tls.server_name"),
    mapped("ca-cert", "stores.vault.tls.ca_file"),
    by_hand("ca-key", "the agent needs no authority's key"),
    mapped("client-cert", "stores.vault.tls.cert_file"),
    mapped("client-key", "stores.vault.tls.key_file"),
    by_hand("tls-secret", "mount this Secret into the agent's container, at /vault/tls"),
    mapped("tls-skip-verify", "the vault is always verified; name its CA as `tls.ca_file`"),
    mapped("client-timeout", "stores.vault.timeout"),
    otherwise("client-max-retries", ONE_BACKOFF),
    mapped("log-level", "log.level"),
    mapped("log-format", "log.format"),
    otherwise("go-max-procs", "there is one thread that works"),
    mapped("template-static-secret-render-interval", "secrets.NAME.refresh_every"),
    mapped("template-max-connections-per-host", "stores.vault.budget.concurrent"),
    mapped("template-lease-renewal-threshold", "secrets.NAME.renew_at"),
    otherwise("template-config-exit-on-retry-failure", GOES_ON),
    mapped("agent-cache-enable", "listeners[], a door of protocol vault"),
    mapped("agent-cache-listener-port", "listeners[].address"),
    mapped("agent-cache-use-auto-auth-token", "listeners[].allow, where nobody may anything yet"),
    otherwise("agent-cache-exit-on-err", "a cache that can't be used is named, and not used"),
    otherwise("agent-pre-populate", _INIT),
    by_hand("agent-pre-populate-only", "use `once` in an init container: deploy/kubernetes, job"),
    otherwise("agent-init-first", "the order of initContainers is the manifest's"),
    by_hand("agent-configmap", "run `leasehold import vault-agent` for the HCL files in it"),
    by_hand("agent-extra-secret", "mount this Secret into the agent's container"),
    by_hand("agent-copy-volume-mounts", "write these mounts into the agent's container"),
    by_hand(
        "agent-service-account-token-volume-name",
        "project a token with the audience of the vault, and name it as `auth.jwt_file`",
    ),
    by_hand("agent-share-process-namespace", "set it in the pod: deploy/kubernetes, shared-pid"),
    by_hand("agent-run-as-user", _IN_POD),
    by_hand("agent-run-as-group", _IN_POD),
    by_hand("agent-run-as-same-user", _IN_POD),
    otherwise("agent-set-security-context", "the container has one"),
    *(
        by_hand(f"agent-{kind}-{what}", f"{_IN_POD}; the agent needs 96Mi of memory at most")
        for kind in ("limits", "requests")
        for what in ("cpu", "mem", "ephemeral")
    ),
    by_hand("agent-json-patch", "the container stands in the manifest: change it there"),
    by_hand("agent-init-json-patch", "the container stands in the manifest: change it there"),
    otherwise("agent-image", "the image stands in the manifest"),
    otherwise("agent-request-namespace", "the injector's own mark"),
    otherwise("agent-revoke-on-shutdown", "leases and token are given back at the end, always"),
    otherwise("agent-revoke-grace", "`shutdown_timeout`"),
    otherwise("agent-enable-quit", "the pod ends a native sidecar when the app has ended"),
    otherwise("agent-disable-idle-connections", "a few connections are kept and shared"),
    otherwise("agent-disable-keep-alives", "a few connections are kept and shared"),
    mapped("agent-telemetry-NAME", "telemetry.address, for Prometheus"),
)

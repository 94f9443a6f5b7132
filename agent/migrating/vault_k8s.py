"""Annotations of an injector, as a draft of ours: first what the injector would make of them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from agent.migrating.blocks import Read
from agent.migrating.draft import STORE, Draft
from agent.migrating.findings import Findings
from agent.migrating.hcl import Item, Object
from agent.migrating.manifests import Annotation, Workload
from agent.migrating.section import seconds_of
from agent.migrating.table import HAND, MAPPED, Row
from agent.migrating.vault_agent import draft_of
from agent.migrating.vault_k8s_table import VAULT_K8S
from agent.migrating.yaml_text import Verbatim

VOLUME = "/vault/secrets"
ADDRESS = "https://vault.vault.svc:8200"
_OF_FILES = tuple(row.removesuffix("-NAME") for row in VAULT_K8S if row.endswith("-NAME"))
_FILES = ("agent-inject-secret-", "agent-inject-template-file-", "agent-inject-template-")
_VAULT = {
    "service": "address",
    "ca-cert": "ca_cert",
    "client-cert": "client_cert",
    "client-key": "client_key",
    "tls-server-name": "tls_server_name",
    "tls-skip-verify": "tls_skip_verify",
}
_TEMPLATE_CONFIG = {
    "template-static-secret-render-interval": "static_secret_render_interval",
    "template-max-connections-per-host": "max_connections_per_host",
    "template-lease-renewal-threshold": "lease_renewal_threshold",
}
_PER_FILE = {
    "agent-inject-command": "command",
    "agent-inject-perms": "perms",
    "agent-template-left-delim": "left_delimiter",
    "agent-template-right-delim": "right_delimiter",
}
_DEFAULTS = {
    "map": "{{ range $k, $v := FIELDS }}{{ $k }}: {{ $v }}\n{{ end }}",
    "json": "{{ FIELDS | toJSON }}\n",
}
_POD = (
    "take the agent's container and volumes of deploy/kubernetes into its manifest, with a memory"
    " volume at {directories}, and take the annotations out"
)

_COMMAND = (
    "it runs in the agent's container; see deploy/kubernetes, shared-pid, for a signal instead"
)


def import_workload(
    workload: Workload, findings: Findings, read: Read, *, into: PurePosixPath | None = None
) -> Draft:
    """One pod's annotations; `read` gives template files of the pod, where they can be had."""
    pod = _Pod(workload, findings)
    directories = pod.directories()
    draft = draft_of(pod.configuration(), findings, read, into=into, memory=directories)
    address = ("stores", STORE, "address")
    if "service" not in workload.annotations:
        draft.put(address, Verbatim(f"${{VAULT_ADDR:-{ADDRESS}}}"), "the injector's was its own")
    timeout = seconds_of(pod.value("client-timeout"))
    draft.put(("stores", STORE, "timeout"), f"{timeout:g}s" if timeout else None)
    probes = "the kubelet's probes come from outside of the pod"
    draft.put(("telemetry", "address"), "0.0.0.0:9847", probes)
    pod.tell_rest()
    name = f"{workload.kind} {workload.name}".strip()
    findings.by_hand(workload.line, name, _POD.format(directories=", ".join(directories)))
    return draft


class _Pod:
    """Annotations, as the configuration that the injector would give to its agent."""

    def __init__(self, workload: Workload, findings: Findings) -> None:
        self._annotations, self._findings = workload.annotations, findings
        self._names = [name for name in map(_file, workload.annotations) if name]
        self._names = list(dict.fromkeys(self._names))

    def value(self, key: str) -> str:
        found = self._annotations.get(key)
        return found.value.strip() if found else ""

    def directories(self) -> tuple[str, ...]:
        """Where files are mounted; volumes in memory, all of them."""
        return tuple(dict.fromkeys(self._directory(name) for name in self._names)) or (VOLUME,)

    def configuration(self) -> Object:
        items = [
            _block("vault", self._renamed(_VAULT)),
            _block("auto_auth", [self._method()]),
            _block("template_config", self._renamed(_TEMPLATE_CONFIG)),
            *(_block("template", self._template(name)) for name in self._names),
            *self._doors(),
            *self._renamed({"log-level": "log_level", "log-format": "log_format"}),
        ]
        return Object(items, 0)

    # --- parts --------------------------------------------------------------------------------

    def _renamed(self, names: dict[str, str]) -> list[Item]:
        return [
            Item(ours, (), self.value(theirs), self._annotations[theirs].line)
            for theirs, ours in names.items()
            if self.value(theirs)
        ]

    def _method(self) -> Item:
        config = self._renamed({"role": "role"})
        for key, annotation in self._annotations.items():
            if key.startswith("auth-config-"):
                name = key.removeprefix("auth-config-").replace("-", "_")
                config.append(Item(name, (), annotation.value.strip(), annotation.line))
        names = {"auth-path": "mount_path", "namespace": "namespace"}
        kind = Item("type", (), self.value("auth-type") or "kubernetes", 0)
        lines = [each.line for each in config]
        inner = [kind, *self._renamed(names), Item("config", (), Object(config, 0), 0)]
        return Item("method", (), Object(inner, min(lines, default=0)), 0)

    def _template(self, name: str) -> list[Item]:
        directory = self._directory(name)
        file = self.value(f"agent-inject-file-{name}") or self._cased(name)
        items = self._renamed({f"{key}-{name}": ours for key, ours in _PER_FILE.items()})
        items.append(Item("destination", (), f"{directory}/{file.lstrip('/')}", 0))
        text = self._annotations.get(f"agent-inject-template-{name}")
        source = self._annotations.get(f"agent-inject-template-file-{name}")
        if text is not None and text.value.strip():
            return [*items, Item("contents", (), text.value, text.line - 1)]
        if source is not None and source.value.strip():
            return [*items, Item("source", (), source.value.strip(), source.line)]
        return [*items, self._default(name)]

    def _default(self, name: str) -> Item:
        """The injector's own template; for KV version 2 it is of no use, so ours is another."""
        annotation = self._annotations[f"agent-inject-secret-{name}"]
        path, kind = annotation.value.strip(), self.value("agent-inject-default-template") or "map"
        is_kv2 = "/data/" in path
        if is_kv2:
            why = "the injector's default writes `data` and `metadata` of KV version 2; here it is"
            text = f"{why} the fields of `data`: see what the app reads"
            self._findings.by_hand(annotation.line, f"agent-inject-secret-{name}", text)
        fields = ".Data.data" if is_kv2 else ".Data"
        body = _DEFAULTS.get(kind, _DEFAULTS["map"]).replace("FIELDS", fields)
        quoted = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        text = f'{{{{ with secret "{quoted}" }}}}{body}{{{{ end }}}}'
        return Item("contents", (), text, annotation.line)

    def _doors(self) -> list[Item]:
        if self.value("agent-cache-enable").lower() != "true":
            return []
        line = self._annotations["agent-cache-enable"].line
        address = f"127.0.0.1:{self.value('agent-cache-listener-port') or '8200'}"
        uses = self._renamed({"agent-cache-use-auto-auth-token": "use_auto_auth_token"})
        listener = Object([Item("address", (), address, line)], line)
        return [Item("listener", ("tcp",), listener, line), _block("cache", uses)]

    def _directory(self, name: str) -> str:
        own = self.value(f"secret-volume-path-{name}")
        return "/" + (own or self.value("secret-volume-path") or VOLUME).strip("/")

    def _cased(self, name: str) -> str:
        """Names of files are in lower case, unless that was not wanted."""
        own = self.value(f"preserve-secret-case-{name}") or self.value("preserve-secret-case")
        return name if own.lower() == "true" else name.lower()

    # --- what is said -------------------------------------------------------------------------

    def tell_rest(self) -> None:
        """What the table has for the annotations that became nothing."""
        for key, annotation in self._annotations.items():
            row = _row(key)
            if key.startswith("agent-inject-command-"):
                self._findings.note(annotation.line, key, _COMMAND)
            if row is None:
                why = "is no annotation that is known here; see what it does"
                self._findings.by_hand(annotation.line, key, why)
            elif row.kind != MAPPED and _is_meant(annotation):
                say = self._findings.by_hand if row.kind == HAND else self._findings.note
                say(annotation.line, key, row.text)


def _file(key: str) -> str:
    """The file's own part of an annotation that makes one."""
    prefix = next((each for each in _FILES if key.startswith(each)), "")
    return key.removeprefix(prefix) if prefix else ""


def _row(key: str) -> Row | None:
    if key in VAULT_K8S:
        return VAULT_K8S[key]
    own = [each for each in _OF_FILES if key.startswith(f"{each}-")]
    return VAULT_K8S[f"{max(own, key=len)}-NAME"] if own else None


def _is_meant(annotation: Annotation) -> bool:
    return annotation.value.strip().lower() not in ("", "false")


def _block(key: str, items: list[Any]) -> Item:
    line = min((each.line for each in items if each.line), default=0)
    return Item(key, (), Object(items, line), line)

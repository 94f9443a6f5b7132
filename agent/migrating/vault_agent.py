"""A configuration of Vault Agent or OpenBao Agent, as a draft of ours."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from agent.config.kinds import VARIABLE
from agent.migrating.auth import put_method, put_token_file
from agent.migrating.blocks import Read, template_of
from agent.migrating.draft import STORE, Draft, duration
from agent.migrating.findings import Findings
from agent.migrating.hcl import Object, parse_hcl
from agent.migrating.listeners import put_listeners, put_telemetry_block
from agent.migrating.section import Section
from agent.migrating.template_block import Bundles, translated
from agent.migrating.vault_agent_table import VAULT_AGENT
from agent.migrating.yaml_text import Verbatim

CACHE_KEY = "/etc/leasehold/cache-key"
_ADDRESS = re.compile(r"https?://[^\s/@]+/?|unix:/+[^\s]+")
ADDRESS = "https://127.0.0.1:8200"
LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "err": "error"}
LEVELS |= {"notice": "info", "warning": "warning", "error": "error"}
FORMATS = {"standard": "text", "json": "json"}
_TLS = {
    "ca_cert": "ca_file",
    "client_cert": "cert_file",
    "client_key": "key_file",
    "tls_server_name": "server_name",
}


def import_vault_agent(
    text: str, findings: Findings, read: Read, *, into: PurePosixPath | None = None
) -> Draft:
    """`findings` names the file; `into` is where bundles go, if not where they were.

    `Unreadable` where the text is no HCL.
    """
    return draft_of(parse_hcl(text), findings, read, into=into)


def draft_of(
    configuration: Object,
    findings: Findings,
    read: Read,
    *,
    into: PurePosixPath | None = None,
    memory: tuple[str, ...] = (),
) -> Draft:
    """The same of what has been read; `memory` are directories that are in memory there."""
    draft = Draft(findings)
    root = Section(configuration, "", VAULT_AGENT, findings)
    _put_store(draft, root)
    _put_freshness(draft, root)
    _put_templates(draft, root, read, Bundles(draft, into, memory=memory))
    _put_process(draft, root, read)
    _put_doors_and_cache(draft, root)
    put_telemetry_block(draft, root)
    put_log(draft, root)
    root.rest()
    return draft


def put_address(draft: Draft, address: str | None, comment: str = "") -> None:
    """As it stands, or as the vault's own programs would find it."""
    if address is not None and not _ADDRESS.fullmatch(address):
        why = "is no http://, https:// or unix: address; one from the environment stands there"
        draft.findings.by_hand(0, "vault.address", why)
        address = None
    if address is None:
        draft.put(("stores", STORE, "address"), Verbatim(f"${{VAULT_ADDR:-{ADDRESS}}}"))
    elif address.startswith("unix:"):
        path = "/" + address.removeprefix("unix:").lstrip("/")
        draft.put(("stores", STORE, "address"), f"unix:{path}", comment)
    else:
        draft.put(("stores", STORE, "address"), address, comment)


def put_log(draft: Draft, root: Section) -> None:
    """log_level and log_format."""
    for key, words in (("log_level", LEVELS), ("log_format", FORMATS)):
        word = root.text(key)
        if word is not None and word.lower() in words:
            draft.put(("log", key.removeprefix("log_")), words[word.lower()])
        elif word:
            why = f"is none of {', '.join(words)}; left out"
            draft.findings.by_hand(root.line_of(key), key, why)


def put_renewal(draft: Draft, section: Section) -> None:
    """lease_renewal_threshold, within what is possible."""
    threshold = section.number("lease_renewal_threshold")
    if threshold is not None:
        draft.freshness["renew_at"] = min(max(threshold, 0.1), 0.95)


def _put_store(draft: Draft, root: Section) -> None:
    draft.put(("stores", STORE, "type"), "vault")
    vault = root.section("vault")
    put_address(draft, vault.text("address") if vault else None)
    if vault is not None:
        for theirs, ours in _TLS.items():
            draft.put(("stores", STORE, "tls", ours), vault.text(theirs))
        draft.put(("stores", STORE, "namespace"), vault.text("namespace") or None)
        if vault.flag("tls_skip_verify"):
            vault.tell("tls_skip_verify")
        vault.rest()
    _put_auth(draft, root)


def _put_auth(draft: Draft, root: Section) -> None:
    auto_auth = root.section("auto_auth")
    methods = auto_auth.sections("method", labelled=True) if auto_auth else []
    if not methods:
        draft.findings.by_hand(0, "auto_auth", "there is none; say under auth how to log in")
        put_token_file(draft)
    for label, method in methods[-1:]:
        put_method(draft, method, label, VAULT_AGENT, "auto_auth.method")
        _put_namespace(draft, method)
        method.rest()
    if auto_auth is not None:
        for _, sink in auto_auth.sections("sink", labelled=True):
            sink.take_all()
            auto_auth.tell("sink", sink.line)
        auto_auth.rest()


def _put_namespace(draft: Draft, method: Section) -> None:
    namespace = (method.text("namespace") or "").strip("/")
    before = draft.tree["stores"][STORE].get("namespace", "").strip("/")
    if namespace and before and before != namespace:
        why = "another than vault.namespace; a store has one: make it two stores"
        draft.findings.by_hand(method.line_of("namespace"), "auto_auth.method.namespace", why)
    elif namespace:
        draft.put(("stores", STORE, "namespace"), namespace)


def _put_freshness(draft: Draft, root: Section) -> None:
    section = root.section("template_config")
    if section is None:
        return
    interval = section.seconds("static_secret_render_interval")
    if interval:
        draft.freshness["refresh_every"] = duration(max(interval, 1.0))
    put_renewal(draft, section)
    connections = section.number("max_connections_per_host")
    if connections:
        most = min(max(int(connections), 1), 1024)
        draft.put(("stores", STORE, "budget", "concurrent"), most)
    section.rest()


def _put_templates(draft: Draft, root: Section, read: Read, bundles: Bundles) -> None:
    found = [template_of(draft, section, read) for _, section in root.sections("template")]
    bundles.add_all([each for each in found if each is not None])


def _put_process(draft: Draft, root: Section, read: Read) -> None:
    for name, section in root.sections("env_template", labelled=True):
        template = template_of(draft, section, read, variable=name)
        if template is None:
            continue
        if not re.fullmatch(VARIABLE.pattern, name):
            why = f"{name!r} is no name of a variable that a shell knows; left out"
            draft.findings.by_hand(section.line, "env_template", why)
        elif (text := translated(draft, template, f"variable {name}")) is not None:
            path = ("process", "environment", name)
            draft.put(path, text, draft.origin(section.line))
    execution = root.section("exec")
    if execution is not None:
        _put_exec(draft, execution)


def _put_exec(draft: Draft, section: Section) -> None:
    command = section.words("command")
    draft.put(("process", "command"), list(command) if command else None)
    never = section.text("restart_on_secret_changes") == "never"
    draft.put(("process", "on_change"), "none" if never else "restart")
    put_stop_signal(draft, section, "restart_stop_signal")
    section.rest()


def put_stop_signal(draft: Draft, section: Section, key: str) -> None:
    """Theirs is TERM by default, as ours."""
    word = (section.text(key) or "").removeprefix("SIG")
    if word and re.fullmatch("[A-Z][A-Z0-9]*", word):
        draft.put(("process", "stop", "signal"), word)


def _put_doors_and_cache(draft: Draft, root: Section) -> None:
    """Who asked without a token got the agent's, if either block says so."""
    proxy, cache = root.section("api_proxy"), root.section("cache")
    uses = [_uses_own_token(each) for each in (proxy, cache) if each is not None]
    put_listeners(draft, root, uses_own_token=any(uses))
    if proxy is not None:
        proxy.rest()
    if cache is not None:
        _put_cache(draft, cache)


def _uses_own_token(section: Section) -> bool:
    word = section.raw("use_auto_auth_token")
    return str(word).lower() in ("true", "1", "t", "force")


def _put_cache(draft: Draft, section: Section) -> None:
    for _, persist in section.sections("persist", labelled=True)[-1:]:
        persist.take("type")
        path = PurePosixPath(persist.text("path") or "/var/lib/leasehold")
        entry = {"file": str(path / "leasehold.cache"), "key": {"file": CACHE_KEY}}
        draft.put(("cache",), entry, draft.origin(persist.line))
        make = f"make the key: (umask 077; openssl rand -hex 32 > {CACHE_KEY})"
        draft.findings.by_hand(persist.line, "cache.persist", make)
        persist.rest()
    section.rest()

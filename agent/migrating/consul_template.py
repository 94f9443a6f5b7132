"""A configuration of consul-template, as a draft of ours: what it takes from Vault."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import msgspec

from agent.config.kinds import VARIABLE
from agent.migrating.auth import PATH, put_token_file
from agent.migrating.blocks import Read, template_of
from agent.migrating.consul_template_table import CONSUL_TEMPLATE
from agent.migrating.draft import STORE, Draft, duration
from agent.migrating.findings import Findings
from agent.migrating.hcl import parse_hcl
from agent.migrating.section import Section, seconds_of
from agent.migrating.template_block import Bundles, argv
from agent.migrating.vault_agent import put_address, put_log, put_renewal, put_stop_signal

_SSL = {
    "cert": "cert_file",
    "key": "key_file",
    "ca_cert": "ca_file",
    "server_name": "server_name",
}


def import_consul_template(
    text: str, findings: Findings, read: Read, *, into: PurePosixPath | None = None
) -> Draft:
    """`findings` names the file; `into` is where bundles go, if not where they were.

    `Unreadable` where the text is no HCL.
    """
    draft = Draft(findings)
    root = Section(parse_hcl(text), "", CONSUL_TEMPLATE, findings)
    draft.put(("stores", STORE, "type"), "vault")
    vault = root.section("vault")
    put_address(draft, vault.text("address") if vault else None)
    if vault is not None:
        _put_vault(draft, vault)
    else:
        _put_no_auth(draft, 0)
    _put_templates(draft, root, read, into)
    execution = root.section("exec") if root.has_block("exec") else None
    if execution is not None:
        _put_exec(draft, execution)
    put_log(draft, root)
    root.rest()
    return draft


def _put_vault(draft: Draft, vault: Section) -> None:
    draft.put(("stores", STORE, "namespace"), vault.text("namespace") or None)
    ssl = vault.section("ssl")
    if ssl is not None:
        for theirs, ours in _SSL.items():
            draft.put(("stores", STORE, "tls", ours), ssl.text(theirs) or None)
        if ssl.flag("verify") is False:
            ssl.tell("verify")
        ssl.rest()
    _put_auth(draft, vault)
    interval = vault.seconds("default_lease_duration")
    if interval:
        draft.freshness["refresh_every"] = duration(max(interval, 1.0))
    put_renewal(draft, vault)
    vault.rest()


def _put_auth(draft: Draft, vault: Section) -> None:
    token_file, role = vault.text("vault_agent_token_file"), vault.text("k8s_auth_role_name")
    jwt = vault.text("k8s_service_account_token_path")
    mount = (vault.text("k8s_service_mount_path") or "").strip("/").removeprefix("auth/")
    if role:
        auth = {"method": "kubernetes", "role": role}
        auth |= {"mount": mount} if mount else {}
        draft.put(PATH, auth | ({"jwt_file": jwt} if jwt else {}))
    elif token_file:
        draft.put(PATH, {"method": "token_file", "token_file": token_file})
    else:
        _put_no_auth(draft, vault.line)


def _put_no_auth(draft: Draft, line: int) -> None:
    why = "it logged in by VAULT_TOKEN or a token; /etc/leasehold/token stands there now"
    draft.findings.by_hand(line, "vault", f"{why}: put one there, or choose another method")
    put_token_file(draft)


def _put_templates(draft: Draft, root: Section, read: Read, into: PurePosixPath | None) -> None:
    wait = _wait(root)
    delimiters = root.section("default_delimiters")
    left = delimiters.text("left") if delimiters else None
    right = delimiters.text("right") if delimiters else None
    if delimiters is not None:
        delimiters.rest()
    found = []
    for _, section in root.sections("template"):
        has_own = section.has("left_delimiter"), section.has("right_delimiter")
        template = template_of(draft, section, read, wait=wait)
        if template is not None:
            given = {} if has_own[0] or not left else {"left": left}
            given |= {} if has_own[1] or not right else {"right": right}
            found.append(msgspec.structs.replace(template, **given))
    Bundles(draft, into).add_all(found)


def _wait(root: Section) -> float | None:
    """`wait {min = …}` or `wait = "min:max"`."""
    if not root.has_block("wait"):
        return seconds_of(str(root.raw("wait")).partition(":")[0])
    section = root.section("wait")
    if section is None:
        return None
    least = section.seconds("min")
    section.rest()
    return least


def _put_exec(draft: Draft, section: Section) -> None:
    command = section.words("command")
    draft.put(("process", "command"), list(argv(command)) if command else None)
    reload = (section.text("reload_signal") or "").removeprefix("SIG")
    is_signal = re.fullmatch("[A-Z][A-Z0-9]*", reload)
    draft.put(("process", "on_change"), {"signal": reload} if is_signal else "restart")
    put_stop_signal(draft, section, "kill_signal")
    timeout = section.seconds("kill_timeout")
    draft.put(("process", "stop", "timeout"), duration(timeout) if timeout else None)
    environment = section.section("env")
    if environment is not None:
        _say_environment(draft, environment)
        environment.rest()
    section.rest()


def _say_environment(draft: Draft, section: Section) -> None:
    """`custom = ["NAME=value"]`: a value may be a credential, so it is not copied."""
    for each in section.words("custom") or ():
        name, _, _ = each.partition("=")
        shown = name if re.fullmatch(VARIABLE.pattern, name) else "one"
        why = "the value may be a secret and is not copied; the child inherits the environment"
        text = f"{why}: set it where the agent is started, or under process.environment"
        draft.findings.by_hand(section.line_of("custom"), f"exec.env.custom {shown}", text)

"""Listeners become doors of protocol vault, where nobody gets anything until named."""

from __future__ import annotations

import re
from typing import Any

from agent.migrating.draft import Draft
from agent.migrating.section import Section

_LOOPBACK = re.compile(r"(?:127(?:\.[0-9]{1,3}){3}|localhost|\[::1\]):[0-9]{1,5}")
_TELEMETRY = "127.0.0.1:9847"
_ALLOW = 'name under allow who may have what, such as {user: app, secrets: ["*"]}'
_ALLOW_TCP = 'on TCP nobody is known: with allow: [{secrets: ["*"]}] every local process may read'


def put_listeners(draft: Draft, root: Section, *, uses_own_token: bool) -> None:
    """All listener blocks; `uses_own_token`: callers without a token were given the agent's."""
    doors: list[dict[str, Any]] = []
    for label, section in root.sections("listener", labelled=True):
        kind = (section.text("type") or label or "tcp").lower()
        role = section.text("role")
        section.flag("tls_disable")
        if role == "metrics_only":
            _put_telemetry(draft, section)
        elif (door := _door(draft, section, kind)) is not None:
            draft.comments["listeners", len(doors)] = draft.origin(section.line)
            doors.append(door)
            _say_allow(draft, section, kind, uses_own_token)
        section.rest()
    if doors:
        draft.tree["listeners"] = doors


def put_telemetry_block(draft: Draft, root: Section) -> None:
    """Metrics to be scraped; whatever was sent elsewhere is said."""
    section = root.section("telemetry")
    if section is None:
        return
    draft.put(("telemetry", "address"), _TELEMETRY, draft.origin(section.line))
    known = ("prometheus_retention_time", "disable_hostname")
    for key in known:
        if section.has(key):
            section.tell(key)
    section.take(*known)
    section.tell_rest_as("*")


def _put_telemetry(draft: Draft, section: Section) -> None:
    address = section.text("address") or _TELEMETRY
    draft.put(("telemetry", "address"), address, draft.origin(section.line))


def _door(draft: Draft, section: Section, kind: str) -> dict[str, Any] | None:
    address = section.text("address") or ""
    door: dict[str, Any] = {"protocol": "vault"}
    if kind == "unix" and address.startswith("/"):
        door["socket"] = address
        _put_owner(door, section)
    elif kind == "tcp" and _is_loopback(address or "127.0.0.1:8200"):
        door["address"] = (address or "127.0.0.1:8200").replace("localhost", "127.0.0.1")
    else:
        why = "only UNIX sockets and loopback are listened on; secrets cross no network like this"
        draft.findings.by_hand(section.line_of("address"), f"{section.name}.address", why)
        return None
    return door | {"allow": []}


def _is_loopback(address: str) -> bool:
    return bool(_LOOPBACK.fullmatch(address)) and 0 < int(address.rpartition(":")[2]) < 65536


def _put_owner(door: dict[str, Any], section: Section) -> None:
    mode = section.text("socket_mode")
    if mode and re.fullmatch("0?[0-7]{3}", mode):
        door["mode"] = f"{int(mode, 8):04o}"
    elif mode:
        section.tell("socket_mode")
    for theirs, ours in (("socket_user", "owner"), ("socket_group", "group")):
        if value := section.text(theirs):
            door[ours] = value


def _say_allow(draft: Draft, section: Section, kind: str, uses_own_token: bool) -> None:
    if uses_own_token:
        advice = _ALLOW if kind == "unix" else f"{_ALLOW_TCP}; a socket is better"
        text = (
            f"callers without a token had all that the agent may; now they have nothing: {advice}"
        )
        draft.findings.by_hand(section.line, f"{section.name}.allow", text)

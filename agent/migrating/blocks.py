"""A `template` or `env_template` block, as Vault Agent and consul-template have it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from agent.migrating.draft import Draft
from agent.migrating.section import Section, seconds_of
from agent.migrating.template_block import Template, argv

_NO_MODE = "is no file mode such as 0640; 0644, their default, stands there"
Read = Callable[[str], str | None]


def template_of(
    draft: Draft, section: Section, read: Read, *, variable: str = "", wait: float | None = None
) -> Template | None:
    """The block, or None where it has no text that can be had; `wait` is the file's own default."""
    destination = variable or section.text("destination") or ""
    subject = f"{section.name} {destination}".strip()
    text, line = _text(draft, section, read, subject)
    if text is None:
        return None
    left, right = section.text("left_delimiter"), section.text("right_delimiter")
    options = _delivery(draft, section) if not variable else {}
    section.rest()
    if not destination:
        draft.findings.by_hand(section.line, subject, "there is no destination; left out")
        return None
    given: dict[str, Any] = {"debounce": wait} | options
    return Template(
        subject=subject,
        line=section.line,
        text=text,
        text_line=line,
        destination=destination,
        left=left or "{{",
        right=right or "}}",
        **given,
    )


def _text(draft: Draft, section: Section, read: Read, subject: str) -> tuple[str | None, int]:
    """The template's text; its first line in the configuration where it stands there over lines."""
    contents, source = section.text("contents"), section.text("source")
    if contents is not None:
        is_over_lines = contents.count("\n") > 1
        return contents, section.line_of("contents") + 1 if is_over_lines else 0
    if not source:
        draft.findings.by_hand(section.line, subject, "there is no template in it; left out")
        return None, 0
    text = read(source)
    if text is None:
        why = f"{source} can't be read here: run the import where it is, or put it beside the file"
        draft.findings.by_hand(section.line, subject, why)
    return text, 0


def _delivery(draft: Draft, section: Section) -> dict[str, Any]:
    """Mode, owner, command and pauses: fields of `Template`, those that are there."""
    found: dict[str, Any] = {"mode": mode_of(section.raw("perms"))}
    if section.has("perms") and found["mode"] is None:
        draft.findings.by_hand(section.line_of("perms"), f"{section.name}.perms", _NO_MODE)
    found["owner"] = section.text("user") or section.text("uid")
    found["group"] = section.text("group") or section.text("gid")
    command, timeout = section.words("command"), section.seconds("command_timeout")
    execution = section.section("exec")
    if execution is not None:
        command = execution.words("command") or command
        timeout = execution.seconds("timeout") or timeout
        execution.rest()
    found |= {"command": argv(command) if command else None, "timeout": timeout}
    waiting = section.section("wait") if section.has_block("wait") else None
    if waiting is not None:
        found["debounce"] = waiting.seconds("min")
        waiting.rest()
    elif isinstance(bounds := section.raw("wait"), str):  # "2s:10s"
        found["debounce"] = seconds_of(bounds.partition(":")[0])
    return {key: value for key, value in found.items() if value is not None}


def mode_of(perms: object) -> int | None:
    """Of `"0640"`, or 0640, which HCL reads as octal; None for anything else."""
    if isinstance(perms, int) and not isinstance(perms, bool) and 0 < perms <= 0o777:
        return perms
    if isinstance(perms, str) and re.fullmatch("0?[0-7]{3}", perms):
        return int(perms, 8)
    return None

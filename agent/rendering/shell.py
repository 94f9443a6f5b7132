"""Lines that a POSIX shell can `source`: names of variables, and quoting.

The quoting is also understood by systemd's EnvironmentFile: single quotes, or double quotes with
backslashes where the value itself has a single quote. Bare where no reader could misread it.
"""

from __future__ import annotations

import re

from agent.rendering.text import Fault

_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_REFUSED = re.compile(
    "_|IFS|PATH|ENV|PS4|PROMPT_COMMAND|UID|EUID|PPID|GROUPS|SHELLOPTS|DIRSTACK|FUNCNAME|OPTIND"
    "|HISTCMD|LINENO|RANDOM|SRANDOM|SECONDS|EPOCHSECONDS|EPOCHREALTIME|BASH.*|LD_.*"
)
"""Bash keeps them read-only or ignores what is assigned; evaluates it as arithmetic, and
with that commands in it (RANDOM, HISTCMD, OPTIND); or goes by it when it runs anything."""


def shell_quote(text: str) -> str:
    """One word of a shell that stands for exactly this text."""
    if "\0" in text:
        raise Fault("a NUL, which no environment variable can hold")
    if _BARE.fullmatch(text):
        return text
    if "'" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'(["\\$`])', r"\\\1", text) + '"'


def variable_name(name: str, *, is_upper: bool) -> str:
    """The variable for a field; `is_upper`: upper case, and `_` for all but letters and digits."""
    if is_upper:
        variable = _NOT_IN_NAME.sub("_", name).upper()
        variable = f"_{variable}" if variable[:1].isdigit() else variable
    else:
        variable = name
    if not _NAME.fullmatch(variable):
        raise Fault(f'"{name}" is no name for a shell variable (letters, digits and _)')
    if _REFUSED.fullmatch(variable):
        raise Fault(f'"{name}" would set {variable}, which belongs to the shell or the loader')
    return variable

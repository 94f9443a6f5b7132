"""No new privileges: nothing that this process starts gains rights by its file (setuid, sudo)."""

from __future__ import annotations

from agent.hardening.kernel import call, own_status
from agent.hardening.protection import Protection

PR_SET_NO_NEW_PRIVS = 38
NAME = "no new privileges"
IN_FORCE = "nothing that the agent starts gains rights by a file (setuid, sudo)"


def without_new_privileges(wish: str, commands: list[str]) -> Protection:
    """`commands`: the keys of the configuration that have something started.

    It counts for the calling thread and those that it starts, and is never taken back.
    """
    if own_status().get("NoNewPrivs") == "1":
        return Protection(NAME, True, f"{IN_FORCE}; set by what started it")
    if wish == "off":
        return Protection(NAME, False, "off by configuration (hardening.no_new_privileges)")
    if wish == "auto" and commands:
        reason = (
            f"commands may need sudo: {commands[0]}{_more(commands)}; if they don't, set "
            "hardening.no_new_privileges: on"
        )
        return Protection(NAME, False, reason)
    failure = call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if failure is None:
        return Protection(NAME, True, IN_FORCE)
    return Protection(NAME, False, failure, is_warning=True)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""

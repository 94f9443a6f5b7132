"""systemd on this host, asked and told by its own commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agent.core.errors import AgentError


def systemd_version() -> int:
    """AgentError if there is none that can be asked."""
    words = run("systemctl", "--version").split()
    if len(words) < 2 or not words[1].isdecimal():
        raise AgentError("systemctl does not tell its version; say it with --systemd-version")
    return int(words[1])


def is_booted() -> bool:
    """sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def run(*command: str) -> str:
    """What it printed. AgentError if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise AgentError(
            f"there is no {command[0]} here; --root DIR writes for elsewhere"
        ) from None
    except subprocess.CalledProcessError as error:
        words = " ".join(error.stderr.split()) or f"exit code {error.returncode}"
        raise AgentError(f"{' '.join(command)}: {words}") from None
    return done.stdout

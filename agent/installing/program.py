"""The command that the service is to run, which nobody but root may be able to replace."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import agent
from agent.core.errors import AgentError

NAME = "leasehold"
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108
"""What a service with ProtectHome= and PrivateTmp= does not see."""


def this_program() -> Path:
    """The path of the command that runs now. AgentError if it has none that a service could use."""
    called = Path(sys.argv[0])
    candidates = [called if called.name == NAME else None, Path(sys.executable).with_name(NAME)]
    for each in candidates:
        if each is not None and each.is_file():
            return each.absolute()
    if (found := shutil.which(NAME)) is not None:
        return Path(found).absolute()
    raise AgentError("there is no command leasehold here; name it with --program")


def check_visible(program: Path) -> None:
    """AgentError if the service would not see it."""
    for each in HIDDEN:
        if program.is_relative_to(each):
            raise AgentError(f"{program}: a service does not see {each}; install it under /opt")


def check_trusted(program: Path) -> None:
    """AgentError if it can't be run, or if somebody other than root could replace it."""
    if not os.access(program, os.X_OK):
        raise AgentError(f"{program} can't be run")
    for start in (program.resolve(), Path(agent.__file__).parent.resolve()):
        for each in (start, *start.parents):
            _check_owner(each)


def _check_owner(path: Path) -> None:
    status = path.stat()
    if status.st_uid != 0:
        reason = f"{path} belongs to uid {status.st_uid}, who could have the service run anything"
        raise AgentError(f"{reason}; install leasehold as root, under /opt")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AgentError(f"{path} is writable for others than root: chmod go-w {path}")

"""The `hardening` section: what the agent does against its own misuse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from agent.config.kinds import Model, described

Wish = Literal["auto", "on", "off"]


class Hardening(Model, frozen=True):
    """`auto`: where it can be had and hinders nothing; `on`: no start without it; `off`: never."""

    landlock: Annotated[
        Wish,
        described(
            "Write only below the directories that the configuration names. auto: where no command"
            " is configured, which would be under the same rule, and no caller's program looked at."
        ),
    ] = "auto"
    writable: Annotated[
        tuple[Path, ...],
        described("Further files and directories that commands may write to under `landlock: on`."),
    ] = ()
    no_new_privileges: Annotated[
        Wish,
        described("Nothing that is started gains rights (sudo). auto: where no command is."),
    ] = "auto"
    memory_lock: Annotated[
        Wish, described("Nothing is written to swap. auto: where the limits allow it.")
    ] = "auto"

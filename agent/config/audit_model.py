"""The `audit` section: who read what, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from agent.config.kinds import Bytes, InputFile, Model, Syslog, described


class AuditKey(Model, frozen=True):
    """What the records are chained with."""

    file: Annotated[InputFile, described("64 hexadecimal characters or 32 bytes, 0600.")]


class Audit(Model, frozen=True):
    """Who read what, and what changed: one record for each, before the answer is sent."""

    file: Annotated[
        Path | None, described("Chained JSON lines, in a directory that only we write to.")
    ] = None
    key: Annotated[
        AuditKey | None,
        described("What they are chained with; made beside the file, FILE.key, where absent."),
    ] = None
    on_error: Annotated[
        Literal["closed", "open"],
        described("When it can't be written: answer nobody (503), or answer and count the loss."),
    ] = "closed"
    max_size: Annotated[
        Bytes,
        Meta(ge=4096, le=1099511627776, description="Then the file becomes FILE.1, and so on."),
    ] = 67108864
    keep: Annotated[int, Meta(ge=0, le=1000, description="How many of those are kept.")] = 10
    sync: Annotated[
        bool, described("Have the disk confirm each write: survives a power failure, and is slow.")
    ] = False
    journal: Annotated[bool, described("To systemd's journal, too.")] = False
    syslog: Annotated[
        Syslog | None,
        described(
            "To syslog, too: true (/dev/log), a socket's path, udp:HOST:PORT, tcp:HOST:PORT."
        ),
    ] = None

"""Scalars of the `audit` section: a size, and where syslog is."""

from __future__ import annotations

import re

from agent.config import kinds
from agent.config.addresses import host_port
from agent.config.report import Unfit
from agent.config.tree import Text

DEV_LOG = "/dev/log"
_SIZE = re.compile(kinds.BYTES.pattern)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_DIGITS = 16


def size(text: Text) -> int:
    """Bytes. A number, or `4KiB`, `64MiB`, `1GiB`; `MB` is taken for the same."""
    written = text.text.strip()
    digits = re.match("[0-9]*", written)
    number = digits[0] if digits else ""
    if not _SIZE.fullmatch(written) or len(number) > _DIGITS:
        raise Unfit(f"{text.shown} is no size; permitted: bytes, or as 4KiB, 64MiB, 1GiB")
    return int(number) * _UNITS[written[len(number) :].strip()[:1]]


def syslog(text: Text) -> str:
    """`/PATH`, `udp:HOST:PORT` or `tcp:HOST:PORT`; `true` is /dev/log, `false` none at all."""
    written = text.text
    if text.is_plain and written.lower() in ("true", "false"):
        return DEV_LOG if written.lower() == "true" else ""
    kind, colon, address = written.partition(":")
    if colon and kind in ("udp", "tcp"):
        host_port(Text(text.place, address, text.style, text.written))
        return written
    if written.startswith("/") and "\0" not in written:
        return written
    why = "permitted: true, a socket's path, udp:HOST:PORT, tcp:HOST:PORT"
    raise Unfit(f"{text.shown} is no syslog; {why}")

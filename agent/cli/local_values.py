"""How a value of `leasehold local` comes in and goes out: never by way of an argument."""

from __future__ import annotations

import base64
import binascii
import sys
from pathlib import Path
from typing import BinaryIO

import click

from agent.core.errors import AgentError
from agent.stores import sealed_file
from agent.stores.local.entries import Value


def content(from_file: Path | None) -> bytes:
    """All of the file or of standard input, or what is typed twice, unseen."""
    if from_file is not None:
        try:
            with from_file.open("rb") as file:
                return _limited(file)
        except OSError as error:
            raise sealed_file.failed(from_file, "can't be read", error) from None
    if sys.stdin.isatty():
        typed: str = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
        return typed.encode(errors="surrogateescape")
    return _limited(sys.stdin.buffer)


def as_text(content: bytes, *, keep_newline: bool) -> Value:
    """UTF-8 text, without the newline at its end unless that is kept; bytes where it is no text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    if not keep_newline:
        text = text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    return text


def as_bytes(content: bytes) -> bytes:
    """The bytes that base64 text stands for."""
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        raise AgentError("the value is not base64; nothing was changed") from None


def put_out(content: bytes) -> None:
    """As it is; on a terminal with a newline, so that the prompt stands on a line of its own."""
    click.echo(content, nl=sys.stdout.isatty())


def _limited(file: BinaryIO) -> bytes:
    content = file.read(sealed_file.MAX_PAYLOAD_BYTES + 1)
    if len(content) > sealed_file.MAX_PAYLOAD_BYTES:
        raise AgentError(f"the value has more than {sealed_file.MAX_PAYLOAD_BYTES // 2**20} MiB")
    return content

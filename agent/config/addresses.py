"""Addresses: of a store, of an app's HTTP door, of our own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from agent.config.report import Unfit
from agent.config.tree import Text

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def url(text: Text) -> str:
    """`http://…`, `https://…` or `http+unix:/SOCKET:/PATH`."""
    _refuse_odd(text)
    if text.text.startswith("http+unix:"):
        socket, colon, rest = text.text.removeprefix("http+unix:").partition(":")
        if socket.startswith("/") and colon and rest.startswith("/"):
            return text.text
    elif _is_http(text):
        return text.text
    raise Unfit(
        f"{text.shown} is no URL; permitted: http://HOST:PORT/PATH, https://…, "
        "http+unix:/SOCKET:/PATH"
    )


def store_address(text: Text) -> str:
    """`https://…`, `http://…` or `unix:/PATH` (also written `unix:///PATH`)."""
    _refuse_odd(text)
    if text.text.startswith("unix:"):
        socket = text.text.removeprefix("unix:")
        socket = socket.removeprefix("//") if socket.startswith("///") else socket
        if socket.startswith("/") and not socket.startswith("//"):
            return f"unix:{socket}"
    elif _is_http(text) and not {"?", "#"} & set(text.text):
        return text.text
    raise Unfit(f"{text.shown} is no address; permitted: https://HOST:PORT, http://…, unix:/PATH")


def host_port(text: Text) -> str:
    match = _HOST_PORT.fullmatch(text.text)
    if match and 1 <= int(match[1]) <= 65535:
        return text.text
    raise Unfit(f"{text.shown} is no address; permitted: HOST:PORT, with a port of 1 to 65535")


def host_and_port(address: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT or, on loopback, :PORT."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise Unfit(f"{address} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _is_http(text: Text) -> bool:
    """Whether it is a URL with a host; one with a password in it is refused, and not quoted."""
    try:
        parts = urlsplit(text.text)
        if "@" in parts.netloc:
            raise Unfit("a URL with a user name or password in it is refused")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address in brackets that is none
        return False


def _refuse_odd(text: Text) -> None:
    if any(each.isspace() or not each.isprintable() for each in text.text):
        raise Unfit(f"{text.shown} has white space or control characters")

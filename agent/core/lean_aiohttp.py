"""aiohttp without what it does at import: it reads all of the system's authorities, which takes a
fifth of the agent's start. Whoever speaks TLS here makes a context of its own; the one that aiohttp
keeps for those who do not verifies, and trusts nobody.

Every module that needs aiohttp takes it from here.
"""

from __future__ import annotations

import ssl
from typing import Any

__all__ = ["aiohttp"]


def _trusting_nobody(*_: Any, **__: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


_original = ssl.create_default_context
ssl.create_default_context = _trusting_nobody
try:
    import aiohttp
finally:
    ssl.create_default_context = _original

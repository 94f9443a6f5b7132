"""aiohttp without what it does at import: it reads all of the system's authorities, twice, which
takes a fifth of the agent's start. Whoever speaks TLS here makes a context of its own; the one that
aiohttp keeps for those who do not verifies, and trusts nobody.

Every module that needs aiohttp takes it from here.
"""

from __future__ import annotations

import ssl

__all__ = ["aiohttp"]


def _read_nothing(_: ssl.SSLContext) -> None:
    """Stands in for `SSLContext.set_default_verify_paths`, which is an inherited method."""


ssl.SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[assignment]
try:
    import aiohttp
finally:
    del ssl.SSLContext.set_default_verify_paths

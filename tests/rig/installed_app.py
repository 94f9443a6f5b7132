"""The service of `leasehold install`, at work for an app: files of its own, told by its unit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.rig.installed import CREDENTIALS, UNIT, Installed, installed
from tests.rig.postgres import Postgres

PASSWORD = "/run/leasehold/app/password"
AUDIT = "/var/log/leasehold/audit.jsonl"
RELOAD = {"systemd": "app.service", "action": "reload"}


def bundle(directory: str, *notify: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The app's password in a file that only its owner may read."""
    return {
        "directory": directory,
        "mode": "0400",
        "debounce": "50ms",
        "files": {"password": "{{ app.password }}"},
        "notify": list(notify),
        **more,
    }


def sections(here: Installed, *notify: dict[str, Any], **more: Any) -> dict[str, Any]:
    """All that an agent may have; a credential from the database where `here` has one."""
    secrets: dict[str, Any] = {"app": here.secret("app")}
    files = {"password": "{{ app.password }}"}
    if here.vault.database is not None:
        secrets["db"] = {"path": here.vault.database.path}
        files["user"] = "{{ db.username }}"
    app = bundle("/run/leasehold/app", *notify, files=files, owner="app", group="app")
    key = {"file": f"{CREDENTIALS.format(unit=UNIT)}/cache-key"}
    return {
        "secrets": secrets,
        "bundles": {"app": app},
        "cache": {"file": "/var/lib/leasehold/cache", "key": key},
        "audit": {"file": AUDIT},
        "telemetry": {"socket": "/run/leasehold/telemetry.sock"},
        **more,
    }


@asynccontextmanager
async def a_service(
    postgres: Postgres | None = None,
    *options: str,
    notify: tuple[dict[str, Any], ...] = (RELOAD,),
    **machine: Any,
) -> AsyncIterator[Installed]:
    """Installed with the app beside it, configured, and started."""
    async with installed(postgres, **machine) as here:
        await here.app("app", PASSWORD)
        await here.install(*options)
        await here.credentials()
        await here.configure(**sections(here, *notify))
        await here.start("app.service")
        await here.logs("app", "started")
        await here.start()
        yield here

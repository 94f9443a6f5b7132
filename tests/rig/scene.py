"""An agent's account at the real OpenBao, and its configuration as it grows through a story."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.rig.bao_auth import AppRole, approle
from tests.rig.bao_client import Bao, BaoError, Kv
from tests.rig.proxy import Proxy

MARK = "s3cr3t"
"""Every value of a story has this in it, so that one that got out shows."""

_numbers = count(1)

Configuration = dict[str, Any]

ITS_OWN = {
    "sys/leases/revoke": ("update",),
}
"""What the agent does for itself and the default policy does not hold."""


def value() -> str:
    """A new value of a secret."""
    return f"{MARK}-{next(_numbers)}-{secrets.token_hex(4)}"


class Scene:
    """One role at the shared OpenBao, reached through `proxy`; files below `memory`."""

    def __init__(self, bao: Bao, proxy: Proxy, folder: Path, memory: Path, **role: Any) -> None:
        self.bao, self.proxy, self.folder, self.memory = bao, proxy, folder, memory
        self.kv: Kv = bao.kv()
        self._paths: dict[str, tuple[str, ...]] = {
            f"{self.kv.mount}/data/*": ("read",),
            **ITS_OWN,
        }
        self.policy = bao.policy(self._paths)
        self.role: AppRole = approle(bao, [self.policy], **role)
        self.secret_id_file = folder / "secret-id"
        self.secret_id_file.write_text(self.role.secret_id())
        self.telemetry = memory / "telemetry.sock"

    def allow(self, path: str, *capabilities: str) -> None:
        """From now on the agent may; no capabilities: it may not."""
        self._paths[path] = capabilities or ("deny",)
        self.bao.set_policy(self.policy, self._paths)

    # --- configuration ------------------------------------------------------------------------

    def store(self, **changed: Any) -> Configuration:
        """The entry of the store."""
        auth = {
            "method": "approle",
            "mount": self.role.mount,
            "role_id": self.role.role_id,
            "secret_id_file": str(self.secret_id_file),
            "remove_secret_id_file": False,
        }
        return {"type": "vault", "address": self.proxy.address, "auth": auth, **changed}

    def secret(self, name: str, **changed: Any) -> Configuration:
        """The entry of a KV secret that is read each second."""
        return {"path": self.kv.cli(name), "refresh_every": "1s", **changed}

    def bundle(self, name: str, files: Mapping[str, Any], **changed: Any) -> Configuration:
        """The entry of a bundle that hesitates little."""
        return {
            "directory": str(self.memory / name),
            "debounce": "50ms",
            "files": dict(files),
            **changed,
        }

    def configuration(self, **sections: Any) -> Configuration:
        """One store `vault`, telemetry on a socket, and the sections given."""
        return {
            "stores": {"vault": self.store()},
            "telemetry": {"socket": str(self.telemetry)},
            **sections,
        }

    # --- what the vault knows -----------------------------------------------------------------

    def reads(self, name: str) -> int:
        """How often a KV secret was asked for."""
        return len(self.proxy.requests(self.kv.api(name), "GET"))

    def logins(self) -> int:
        return len(self.proxy.requests(f"auth/{self.role.mount}/login"))

    def tokens(self) -> list[str]:
        """Accessors of the living tokens that this role was given."""
        return [
            accessor
            for accessor in self.bao.accessors()
            if self._path_of(accessor) == f"auth/{self.role.mount}/login"
        ]

    def _path_of(self, accessor: str) -> str:
        body = {"accessor": accessor}
        try:
            return str(self.bao.request("POST", "auth/token/lookup-accessor", body)["data"]["path"])
        except BaoError:  # it ended meanwhile
            return ""


@pytest.fixture
def scene(bao: Bao, proxy: Proxy, tmp_path: Path, memory_directory: Path) -> Scene:
    """A role of this test's own, with one KV mount that it may read."""
    return Scene(bao, proxy, tmp_path, memory_directory)

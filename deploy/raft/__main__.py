"""`python -m deploy.raft`: a cluster to try failover with, until Ctrl-C; nothing of it is left."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deploy.raft.servers import HERE, NAMES, Raft
from tests.rig.bao_client import Bao, BaoError
from tests.rig.processes import wait_until

PORTS = (8200, 8210, 8220, 8230, 8211, 8221, 8231)


def ports_from(numbers: Iterable[int]) -> dict[str, int]:
    """Seven: for the balancer, for the servers, and for these among themselves."""
    among = [f"{name} to others" for name in NAMES]
    return dict(zip(("balancer", *NAMES, *among), numbers, strict=True))


def is_there(bao: Bao) -> bool:
    """A fresh KV engine is not for a moment."""
    try:
        bao.request("POST", "secret/data/app", {"data": {"text": "good morning"}})
    except BaoError:
        return False
    return True


def set_up(bao: Bao, folder: Path) -> None:
    """A value, the least policy, and an identity in two files."""
    bao.request("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    wait_until(lambda: is_there(bao), within=30)
    bao.request("PUT", "sys/policies/acl/app", {"policy": (HERE / "policy.hcl").read_text()})
    bao.request("POST", "sys/auth/approle", {"type": "approle"})
    role = {"token_policies": ["app"], "token_ttl": "1h"}
    bao.request("POST", "auth/approle/role/app", role)
    role_id = bao.request("GET", "auth/approle/role/app/role-id")["data"]["role_id"]
    secret_id = bao.request("POST", "auth/approle/role/app/secret-id")["data"]["secret_id"]
    for name, text in (("role-id", role_id), ("secret-id", secret_id), ("root-token", bao.token)):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(text)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="leasehold-raft-") as name:
        folder = Path(name)
        ports = ports_from(PORTS)
        raft = Raft(folder, ports)
        try:
            set_up(raft.bao, folder)
            tell(raft, folder)
            with suppress(KeyboardInterrupt):
                signal.pause()
        finally:
            raft.close()
    return 0


def tell(raft: Raft, folder: Path) -> None:
    """What there is, and what to do with it."""
    for server in raft.servers:
        role = "leads" if server is raft.leader else "stands by"
        pid = (server.folder / "pid").read_text().strip()
        print(f"{server.name:6} {server.address}  pid {pid:8} {role}")
    print(f"all    {raft.address}")
    print(f"\nexport RAFT={folder}")
    print("leasehold agent -c deploy/raft/leasehold.yaml")
    print(f"kill -9 $(cat $RAFT/{raft.leader.name}/pid)      # the leader goes", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())

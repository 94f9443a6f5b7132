"""docs/apps/postgresql.md: the server's certificate rotates under clients that verify it."""

from __future__ import annotations

import pwd
from contextlib import closing

from tests.rig import traffic
from tests.rig.apps import PATIENCE, Host
from tests.rig.postgres_tls import USER, Client, TlsPostgres
from tests.rig.served import can_read, serial_in

SERVER = "db.example"
ROTATIONS = 3


async def test_a_server_certificate_rotates_and_no_query_fails(host: Host) -> None:
    ca_file = await host.with_authority("postgresql.yaml")
    server = TlsPostgres(host.memory / "data", host.config("ini"))
    address = f"127.0.0.1:{server.port}"
    agent = await host.agent(POSTGRES_PID=server.pid_file, POSTGRES_ADDRESS=address)
    certificate, key = (host.memory / "postgresql" / name for name in ("server.crt", "server.key"))
    serials = [serial_in(certificate)]
    kept, new = (Client(SERVER, server.port, ca_file) for _ in range(2))
    async with server.running():
        with closing(kept), traffic.working(kept=kept.kept, new=new.new) as load:
            for _ in range(ROTATIONS):
                await load.goes_on("kept", "new")
                await host.refresh("server")
                await agent.event("bundle_confirmed", bundle="postgresql", within=PATIENCE)
                serials.append(serial_in(certificate))
            await load.goes_on("kept", "new")
        assert pwd.getpwuid(server.pid_file.stat().st_uid).pw_name == USER
    assert can_read(USER, key) and not can_read("nobody", key)
    assert key.stat().st_uid == 0, "it can't replace its key"
    assert not load.failures, load.failures[:10]
    assert kept.connections == 1
    assert len(set(serials)) == ROTATIONS + 1
    assert (await agent.stop(within=PATIENCE)).code == 0

"""docs/apps/nginx.md: a certificate rotates, and those who read a page do not notice."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.rig import traffic
from tests.rig.apps import PATIENCE, Host
from tests.rig.nginx import Nginx
from tests.rig.processes import free_port
from tests.rig.served import can_read, serial_in, serves, users_of
from tests.rig.waiting import eventually

SITE, USER = "www.example", "www-data"
ROTATIONS = 3


class Server(Nginx):
    """nginx as Debian starts it, with the page's site in a folder of the test's."""

    def __init__(self, host: Host) -> None:
        self.port, folder = free_port(), host.memory / "server"
        folder.mkdir()
        (folder / "index.html").write_text("well\n")
        site = host.config("nginx")
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        site = site.replace(
            "root /var/www/html;", f"root {folder}; location /slow {{ limit_rate 32k; }}"
        )
        super().__init__(folder, servers=site, user=USER)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self.close)


def worker_users(server: Server) -> set[int]:
    return users_of("nginx", int(server.pid_file.read_text()))


async def test_a_certificate_rotates_and_no_request_fails(host: Host) -> None:
    ca_file, server = await host.with_authority("nginx.yaml"), Server(host)
    address = f"127.0.0.1:{server.port}"
    agent = await host.agent(NGINX_PID=server.pid_file, NGINX_ADDRESS=address)
    certificate, key = host.memory / "nginx/tls.crt", host.memory / "nginx/tls.key"
    serials = [serial_in(certificate)]
    async with server.running(), traffic.https(ca_file, SITE, server.port) as load:
        for _ in range(ROTATIONS):
            await load.goes_on("kept", "new")
            await host.refresh("web")
            await agent.event("bundle_confirmed", bundle="nginx", within=PATIENCE)
            serials.append(serial_in(certificate))
            await serves(ca_file, SITE, server.port, serials[-1])
        await load.goes_on("kept", "new", "slow")
        uid = pwd.getpwnam(USER).pw_uid
        await eventually(lambda: worker_users(server) == {uid}, within=PATIENCE)
        assert not can_read(USER, key)
    assert not load.failures, load.failures[:10]
    assert len(set(serials)) == ROTATIONS + 1
    assert (await agent.stop(within=PATIENCE)).code == 0

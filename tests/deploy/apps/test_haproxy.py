"""docs/apps/haproxy.md: a certificate rotates, and no connection is so much as closed."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from tests.rig import traffic
from tests.rig.apps import PATIENCE, Host
from tests.rig.haproxy import HAProxy, backend
from tests.rig.processes import free_port
from tests.rig.served import can_read, serial_in, serves, users_of

SITE, USER = "www.example", "haproxy"
ROTATIONS = 3
A_RETRY = 120.0
"""Seconds; pauses between announcements grow to a minute."""


def sections(host: Host, port: int, app: int) -> str:
    """The page's frontend and backend, on ports of the test's."""
    text = host.config("haproxy")
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}")
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{app}")


async def test_a_certificate_rotates_and_no_connection_is_touched(host: Host) -> None:
    ca_file, port, app = await host.with_authority("haproxy.yaml"), free_port(), free_port()
    proxy = HAProxy(host.memory / "server", sections(host, port, app))
    agent = await host.agent(HAPROXY_SOCKET=proxy.socket, HAPROXY_ADDRESS=f"127.0.0.1:{port}")
    file = host.memory / "haproxy/site.pem"
    serials = [serial_in(file)]
    async with backend(app), proxy.running(), traffic.https(ca_file, SITE, port) as load:
        workers = proxy.workers()
        for _ in range(ROTATIONS):
            await load.goes_on("kept", "new")
            await host.refresh("web")
            await agent.event("bundle_confirmed", bundle="haproxy", within=PATIENCE)
            serials.append(serial_in(file))
            await serves(ca_file, SITE, port, serials[-1])
        await load.goes_on("kept", "new", "slow")
        assert proxy.workers() == workers, "nothing was started for it"
        assert not load.counts["reopened"]
        assert users_of("haproxy", proxy.pid) == {pwd.getpwnam(USER).pw_uid}
        assert not can_read(USER, file)
        await proxy.reload()
        await load.goes_on("kept", "new")
        await serves(ca_file, SITE, port, serials[-1])
    assert not load.failures, load.failures[:10]
    assert len(set(serials)) == ROTATIONS + 1
    assert (await agent.stop(within=PATIENCE)).code == 0


@pytest.mark.timeout(240)
async def test_it_starts_with_what_was_published_while_it_was_down(host: Host) -> None:
    """The announcement waits for it."""
    ca_file, port = await host.with_authority("haproxy.yaml"), free_port()
    proxy = HAProxy(host.memory / "server", sections(host, port, free_port()))
    agent = await host.agent(HAPROXY_SOCKET=proxy.socket, HAPROXY_ADDRESS=f"127.0.0.1:{port}")
    before = serial(host)
    await host.refresh("web")
    await agent.event("bundle_failed", bundle="haproxy", step="notify", within=PATIENCE)
    async with proxy.running():
        await serves(ca_file, SITE, port, serial(host))
        await agent.event("bundle_confirmed", bundle="haproxy", within=A_RETRY)
        await serves(ca_file, SITE, port, serial(host))
    assert serial(host) != before


def serial(host: Host) -> int:
    return serial_in(Path(host.memory / "haproxy/site.pem"))

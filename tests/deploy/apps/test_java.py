"""docs/apps/java.md: a server's certificate rotates, and those who ask it do not notice."""

from __future__ import annotations

from tests.rig import traffic
from tests.rig.apps import PATIENCE, Host
from tests.rig.needs import needs_program
from tests.rig.processes import free_port
from tests.rig.served import can_read, serial_in, serves

SITE, SOMEBODY_ELSE = "www.example", "nobody"
ROTATIONS = 3


async def test_a_certificate_rotates_and_no_request_fails(host: Host) -> None:
    java = needs_program("java")
    assert java and needs_program("javac")
    ca_file, port = await host.with_authority("java.yaml"), free_port()
    agent = await host.agent(APP_ADDRESS=f"127.0.0.1:{port}")
    bundle = host.memory / "web"
    await host.walk.app(
        *(java, "-XX:TieredStopAtLevel=1", host.walk.example / "App.java"),
        says="listening on",
        BUNDLE=str(bundle),
        LISTEN=f"127.0.0.1:{port}",
    )
    serials = [serial_in(bundle / "tls.crt")]
    async with traffic.https(ca_file, SITE, port) as load:
        for _ in range(ROTATIONS):
            await load.goes_on("kept", "new")
            await host.refresh("web")
            await agent.event("bundle_confirmed", bundle="web", within=PATIENCE)
            serials.append(serial_in(bundle / "tls.crt"))
            await serves(ca_file, SITE, port, serials[-1])
        await load.goes_on("kept", "new", "slow")
    assert not load.failures, load.failures[:10]
    assert not load.counts["reopened"]
    assert len(set(serials)) == ROTATIONS + 1
    assert not can_read(SOMEBODY_ELSE, bundle / "tls.key")
    assert (await agent.stop(within=PATIENCE)).code == 0

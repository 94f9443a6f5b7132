"""The pods for real: rendered manifests, real containers, a real vault behind TLS.

Nothing is changed in the manifests, but that secrets are read again sooner.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.bao_client import BaoError
from tests.rig.containers import Containers
from tests.rig.images import BASE
from tests.rig.kubelet import Kubelet
from tests.rig.kubernetes import (
    ROOT,
    Manifest,
    helm_template,
    kustomized,
    mounted_at,
    of_kind,
    pod_of,
)
from tests.rig.network_namespace import listening_within
from tests.rig.valve import Valve
from tests.rig.vault_in_cluster import NAME, PORT, VaultInCluster, vault_in_cluster

SOON = 120.0
pytestmark = pytest.mark.timeout(900)

Created = Callable[[list[Manifest]], Awaitable[Kubelet]]
KUSTOMIZE = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "leasehold"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultInCluster]:
    with vault_in_cluster(tmp_path_factory.mktemp("cluster") / "vault") as made:
        yield made


@pytest.fixture
async def created(
    containers: Containers, vault: VaultInCluster, tmp_path: Path
) -> AsyncIterator[Created]:
    """A pod whose volumes are there, and the way to the vault."""
    kubelets: list[Kubelet] = []
    valves: list[Valve] = []

    async def create(manifests: list[Manifest]) -> Kubelet:
        ca = {"ca.pem": vault.ca_file.read_text()}
        own = mounted_at(pod_of(manifests), "/etc/leasehold")["projected"]["sources"][0]
        for each in of_kind(manifests, "ConfigMap"):
            if each["metadata"]["name"] == own["configMap"]["name"]:
                each["data"]["sooner.yaml"] = "secrets: {database: {refresh_every: 1s}}"
        manifests.append({"kind": "ConfigMap", "metadata": {"name": "vault-ca"}, "data": ca})
        kubelet = Kubelet(
            containers,
            manifests,
            tmp_path / "pod",
            token=vault.token,
            images={"localhost/leasehold:latest": containers.image, "python:3.11-slim": BASE},
            hosts=f"127.0.0.1 {NAME}",
        )
        kubelets.append(kubelet)
        await kubelet.create()
        valves.append(Valve(vault.server.port, listening_within(kubelet.sandbox, PORT)))
        return kubelet

    yield create
    for valve in valves:
        valve.close()
    await containers.close()
    for kubelet in kubelets:
        kubelet.close()


def shown(kubelet: Kubelet, path: str = "/") -> dict[str, object]:
    status, body = kubelet.ask(8080, path)
    assert status == 200, (status, body)
    return dict(json.loads(body))


async def test_the_base_follows_a_rotation_and_ends_in_order(
    created: Created, vault: VaultInCluster
) -> None:
    first, living = str(vault.put("first")), vault.logins()
    kubelet = await created(kustomized(KUSTOMIZE / "base"))
    await kubelet.start()
    agent, app = kubelet.running["leasehold"], kubelet.running["app"]
    await app.event("working_with", username="first", version=first, within=SOON)
    for name, probe in (
        ("app", "readiness"),
        ("leasehold", "readiness"),
        ("leasehold", "liveness"),
    ):
        await kubelet.probed(name, f"{probe}Probe")
    print(f"the sidecar's memory: {await agent.memory() / 2**20:.1f} MiB")

    second = str(vault.put("second"))
    await app.event("working_with", username="second", version=second, within=SOON)
    assert shown(kubelet)["version"] == second
    # Neither may the app write there, nor has it the agent's token.
    assert (await app.execute("touch", "/run/secrets/app/mine")).code != 0
    assert (await app.execute("ls", "/run/vault")).code != 0

    assert await kubelet.terminate() == {"app": 0, "leasehold": 0}
    assert vault.logins() == living, "the token was given back"


async def test_a_sidecar_that_was_killed_comes_back_while_the_app_goes_on(
    created: Created, vault: VaultInCluster
) -> None:
    vault.put("before")
    kubelet = await created(kustomized(KUSTOMIZE / "base"))
    await kubelet.start()
    app = kubelet.running["app"]
    await app.event("working_with", username="before", within=SOON)
    await kubelet.probed("app", "readinessProbe")
    generation = shown(kubelet)["generation"]
    await kubelet.running["leasehold"].kill()
    assert shown(kubelet)["username"] == "before"

    kubelet.project("vault-token")  # the kubelet's next token
    await kubelet.run("leasehold")
    await kubelet.probed("leasehold", "startupProbe")
    assert shown(kubelet)["generation"] == generation, "nothing has changed"
    vault.put("after")
    after = await app.event("working_with", username="after", within=SOON)
    assert after["generation"] > str(generation)


async def test_with_a_shared_pid_namespace_the_app_is_told_by_a_signal(
    created: Created, vault: VaultInCluster
) -> None:
    vault.put("first")
    kubelet = await created(kustomized(KUSTOMIZE / "overlays/shared-pid"))
    await kubelet.start()
    agent, app = kubelet.running["leasehold"], kubelet.running["app"]
    await app.event("working_with", username="first", within=SOON)
    vault.put("second")
    await app.event("working_with", username="second", within=SOON)
    await agent.event("bundle_confirmed", within=SOON)
    # The app is the agent's own user here, and sees its process; its files and memory it does not.
    found = await app.execute("python3", "-c", LOOK)
    assert found.code == 0 and "agent found" in found.out, found
    assert "opened" not in found.out


async def test_without_one_it_confirms_and_asks_at_the_socket(
    created: Created, vault: VaultInCluster
) -> None:
    first = str(vault.put("first"))
    kubelet = await created(kustomized(KUSTOMIZE / "overlays/socket"))
    await kubelet.start()
    agent, app = kubelet.running["leasehold"], kubelet.running["app"]
    await app.event("working_with", username="first", within=SOON)
    await kubelet.probed("app", "readinessProbe")
    asked = {"name": "database", "version": first, "state": "fresh"}
    assert shown(kubelet, "/asked") == {"secrets": [asked]}
    vault.put("second")
    await app.event("working_with", username="second", within=SOON)
    await agent.event("bundle_confirmed", within=SOON)
    # Another user of the pod, in the same group, has no rule.
    options = [f"--volume={kubelet.volume('socket')}:/run/leasehold:ro"]
    options += ["--user=10003:10003", "--group-add=10001", "--network=none"]
    other = await kubelet.engine.run("other", "python3", "-c", ASK, image=BASE, options=options)
    done = await other.wait(within=SOON)
    assert (done.code, done.out) == (0, "403"), done


async def test_the_charts_pod_does_the_same(created: Created, vault: VaultInCluster) -> None:
    vault.put("first")
    examples = CHART / "examples"
    manifests = helm_template(CHART, examples / "files.yaml", examples / "signals.yaml")
    kubelet = await created(manifests)
    await kubelet.start()
    agent, app = kubelet.running["leasehold"], kubelet.running["app"]
    await app.event("working_with", username="first", within=SOON)
    await kubelet.probed("app", "readinessProbe")
    vault.put("second")
    await app.event("working_with", username="second", within=SOON)
    await agent.event("bundle_confirmed", within=SOON)


async def test_a_job_works_with_what_was_rendered_and_ends(
    created: Created, vault: VaultInCluster
) -> None:
    version = str(vault.put("nightly"))
    kubelet = await created(kustomized(KUSTOMIZE / "overlays/job"))
    await kubelet.start()
    app = kubelet.running["app"]
    await app.event("worked_with", username="nightly", version=version, within=SOON)
    assert (await app.wait(within=SOON)).code == 0


async def test_a_token_of_another_account_or_audience_is_not_let_in(
    created: Created, vault: VaultInCluster
) -> None:
    for other in ({"account": "other"}, {"namespace": "other"}, {"audience": "api"}):
        asked = {"audience": other.pop("audience", "vault"), "expirationSeconds": 600}
        login = {"role": "app", "jwt": vault.token(asked, **other)}
        with pytest.raises(BaoError, match="403"):
            vault.bao.request("POST", "auth/kubernetes/login", login)


LOOK = """
import os
from pathlib import Path
others = [each for each in Path("/proc").glob("[0-9]*") if each.name != str(os.getpid())]
for each in others:
    if b"/etc/leasehold" in (each / "cmdline").read_bytes():
        print("agent found")
        for name in ("environ", "mem", "root/run/vault/token"):
            try:
                (each / name).open("rb").read(1)
                print("opened", name)
            except OSError:
                pass
"""
"""What an app that shares the agent's user and PID namespace may try."""

ASK = """
import http.client, socket
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/run/leasehold/secrets.sock")
connection.request("GET", "/v1/secrets/database")
print(connection.getresponse().status)
"""

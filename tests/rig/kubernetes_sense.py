"""What no schema sees: whether manifests hold together, with each other and with the agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from agent.config.load import Loaded
from agent.config.model import VaultStore
from tests.rig.kubernetes import (
    Manifest,
    agent_of,
    containers,
    mounted_at,
    of_kind,
    pod_of,
    volumes,
    workload,
)

SUPPLIED = {"vault-ca"}
"""ConfigMaps that are the user's."""


def nonsense(manifests: Sequence[Manifest]) -> Iterator[str]:
    """References that lead nowhere, among the manifests."""
    pod = pod_of(manifests)
    yield from _volumes(manifests, pod)
    yield from _selectors(manifests, pod)
    yield from _ports(manifests, pod)
    accounts = {each["metadata"]["name"] for each in of_kind(manifests, "ServiceAccount")}
    if pod["spec"]["serviceAccountName"] not in accounts:
        yield "no such service account"


def _volumes(manifests: Sequence[Manifest], pod: Manifest) -> Iterator[str]:
    mounts = {
        (name, mount["name"])
        for name, container in containers(pod).items()
        for mount in container["volumeMounts"]
    }
    if {volume for _, volume in mounts} != volumes(pod).keys():
        yield "volumes and mounts differ"
    maps = {each["metadata"]["name"] for each in of_kind(manifests, "ConfigMap")} | SUPPLIED
    for volume in volumes(pod).values():
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        for source in sources:
            if "configMap" in source and source["configMap"]["name"] not in maps:
                yield f"no ConfigMap {source['configMap']['name']}"


def _selectors(manifests: Sequence[Manifest], pod: Manifest) -> Iterator[str]:
    labels = pod["metadata"]["labels"].items()
    for each in manifests:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector is not None and not (
            selector["matchLabels"] and selector["matchLabels"].items() <= labels
        ):
            yield f"{each['kind']} {each['metadata']['name']} selects other pods"


def _ports(manifests: Sequence[Manifest], pod: Manifest) -> Iterator[str]:
    known = {
        port[key]
        for container in containers(pod).values()
        for port in container.get("ports", [])
        for key in ("name", "containerPort")
    }
    named = [
        each["port"]
        for monitor in of_kind(manifests, "PodMonitor")
        for each in monitor["spec"]["podMetricsEndpoints"]
    ]
    # A Job's pod has no port, and a policy that allows one does no harm there.
    if workload(manifests)["kind"] == "Deployment":
        named += [
            port["port"]
            for policy in of_kind(manifests, "NetworkPolicy")
            for rule in policy["spec"]["ingress"]
            for port in rule["ports"]
        ]
    for container in containers(pod).values():
        named += [
            value["httpGet"]["port"] for key, value in container.items() if key.endswith("Probe")
        ]
    yield from (f"no port {each}" for each in named if each not in known)


def unfit(pod: Manifest, loaded: Loaded) -> Iterator[str]:
    """Where the configuration names what this pod does not have, or has too openly."""
    configuration = loaded.configuration
    for store in configuration.stores.values():
        if isinstance(store, VaultStore):
            yield from _login(pod, store)
    for name, bundle in configuration.bundles.items():
        yield from _memory(pod, name, str(bundle.directory))
        if bundle.group != str(pod["spec"]["securityContext"]["fsGroup"]):
            yield f"{name}: the app is not in the group of its files"
    for listener in configuration.listeners:
        yield from _memory(pod, "listener", str(PurePosixPath(listener.socket or "").parent))
    yield from _address(pod, loaded)


def _login(pod: Manifest, store: VaultStore) -> Iterator[str]:
    token = Path(getattr(store.auth, "jwt_file", "/"))
    sources = mounted_at(pod, str(token.parent))["projected"]["sources"]
    if sources[0]["serviceAccountToken"]["path"] != token.name:
        yield "the token has another name"
    holders = [
        name
        for name, container in containers(pod).items()
        if any(each["mountPath"] == str(token.parent) for each in container["volumeMounts"])
    ]
    if holders != ["leasehold"]:
        yield f"the agent's token is shown to {holders}"


def _memory(pod: Manifest, name: str, directory: str) -> Iterator[str]:
    """The agent alone may write where secrets and sockets are, and it is memory."""
    volume = mounted_at(pod, directory)
    if volume["emptyDir"]["medium"] != "Memory" or "sizeLimit" not in volume["emptyDir"]:
        yield f"{name}: {directory} is no memory of limited size"
    for container in containers(pod).values():
        for mount in container["volumeMounts"]:
            is_agent = container is agent_of(pod)
            if mount["name"] == volume["name"] and mount.get("readOnly", False) is is_agent:
                yield f"{name}: {directory} in {container['name']}: readOnly is {not is_agent}"


def _address(pod: Manifest, loaded: Loaded) -> Iterator[str]:
    telemetry = loaded.configuration.telemetry
    ports = [each["containerPort"] for each in agent_of(pod).get("ports", [])]
    if ports and (telemetry is None or telemetry.address != f"0.0.0.0:{ports[0]}"):
        yield "the probes' port is not telemetry's"

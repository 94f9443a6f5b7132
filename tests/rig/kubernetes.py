"""Manifests as the real tools render them, and what Kubernetes would say of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from agent.config.load import Loaded, load
from agent.rendering.templates import check_template, compile_template
from tests.rig.needs import needs_file, needs_program

ROOT = Path(__file__).parents[2]
OLDEST, NEWEST = "1.29", "1.34"
"""The first version with native sidecars, and a recent one."""
OPERATOR = "monitoring.coreos.com/v1"
"""Resources of the Prometheus operator, whose schemas are not Kubernetes's own."""
TOOLS = "/var/tmp/leasehold-tools"
SECONDS = 60

Manifest = dict[str, Any]


# --- the real tools -------------------------------------------------------------------------------


def kustomized(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k FOLDER` would apply."""
    command = (
        ("kubectl", "kustomize")
        if shutil.which("kubectl")
        else (needs_file(f"{TOOLS}/kustomize-*", "kubectl or kustomize"), "build")
    )
    return _documents(_said(*command, str(folder)))


def helm(*arguments: str | Path, cwd: Path | None = None) -> str:
    """The output of a command of Helm, which has ended well; its own home is empty."""
    program = shutil.which("helm") or needs_file(f"{TOOLS}/helm-*", "helm")
    return _said(program, *map(str, arguments), cwd=cwd)


def helm_template(chart: Path, *values: Path, release: str = "app") -> list[Manifest]:
    """What `helm install RELEASE CHART -f VALUES…` would apply."""
    files = [word for each in values for word in ("-f", str(each))]
    return _documents(helm("template", release, chart, "--kube-version", OLDEST, *files))


def promtool(*arguments: str | Path) -> str:
    return _said(needs_program("promtool"), *map(str, arguments))


def _said(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]


# --- finding one's way ----------------------------------------------------------------------------


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def workload(manifests: Sequence[Manifest]) -> Manifest:
    """The one Deployment or Job."""
    (found,) = of_kind(manifests, "Deployment") + of_kind(manifests, "Job")
    return found


def pod_of(manifests: Sequence[Manifest]) -> Manifest:
    """The pod's template: its metadata and spec."""
    template: Manifest = workload(manifests)["spec"]["template"]
    return template


def containers(pod: Manifest) -> dict[str, Manifest]:
    """All of the pod's containers by name, in the order in which they are started."""
    spec = pod["spec"]
    return {each["name"]: each for each in [*spec.get("initContainers", []), *spec["containers"]]}


def agent_of(pod: Manifest) -> Manifest:
    """The agent's container: the sidecar, or the one that renders and ends."""
    return containers(pod)["leasehold"]


def configuration(manifests: Sequence[Manifest], folder: Path) -> Path:
    """The agent's folder of configuration as the kubelet would mount it, but for the vault's CA."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(manifests, "ConfigMap")}
    folder.mkdir(parents=True, exist_ok=True)
    for source in mounted_at(pod_of(manifests), "/etc/leasehold")["projected"]["sources"]:
        for name, text in maps.get(source["configMap"]["name"], {}).items():
            (folder / name).write_text(text)
    return folder


def loaded(folder: Path) -> Loaded:
    """A folder of configuration as the agent takes it, with its warnings."""
    return load(
        [folder],
        environment={},
        check_template=check_template,
        template_secrets=lambda source: compile_template(source, "template").secrets,
    )


def mounted_at(pod: Manifest, path: str) -> Manifest:
    """The volume that the agent has at a path."""
    (name,) = [each["name"] for each in agent_of(pod)["volumeMounts"] if each["mountPath"] == path]
    return volumes(pod)[name]


def volumes(pod: Manifest) -> dict[str, Manifest]:
    return {each["name"]: each for each in pod["spec"]["volumes"]}


# --- judging --------------------------------------------------------------------------------------


def against_schemas(manifest: Manifest) -> None:
    """Raises where a key is unknown, missing or of a wrong type, in either version."""
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(manifest, version, strict=True)


def unrestricted(pod: Manifest) -> Iterator[str]:
    """What PodSecurity `restricted` would refuse, or look at more closely: all of its list."""
    spec = pod["spec"]
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    permitted = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"}
    permitted |= {"persistentVolumeClaim", "projected", "secret"}
    for volume in spec.get("volumes", []):
        if not (volume.keys() - {"name"}) <= permitted:
            yield f"volume {volume['name']}"
    for key in ("sysctls", "windowsOptions", "seLinuxOptions", "appArmorProfile"):
        if key in spec.get("securityContext", {}):
            yield key
    for name, container in containers(pod).items():
        for what in _unconfined(spec.get("securityContext", {}), container):
            yield f"{name}: {what}"


def _unconfined(of_pod: Manifest, container: Manifest) -> Iterator[str]:
    context = of_pod | container.get("securityContext", {})
    if context.get("privileged") or context.get("procMount", "Default") != "Default":
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities not dropped"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities added"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may be root"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    for hook in ("livenessProbe", "readinessProbe", "startupProbe"):
        if "host" in container.get(hook, {}).get("httpGet", {}):
            yield f"{hook} of another host"

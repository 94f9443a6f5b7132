"""The manifests as kustomize renders them: valid, restricted, and a configuration that loads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.rig.kubernetes import (
    OPERATOR,
    ROOT,
    Manifest,
    against_schemas,
    agent_of,
    configuration,
    containers,
    kustomized,
    loaded,
    of_kind,
    pod_of,
    unrestricted,
    workload,
)
from tests.rig.kubernetes_sense import nonsense, unfit

FOLDER = ROOT / "deploy" / "kubernetes"
RENDERED = ["base", *(f"overlays/{each}" for each in ("shared-pid", "socket", "job", "monitoring"))]


@pytest.fixture(scope="module", params=RENDERED)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return kustomized(FOLDER / request.param)


def test_every_overlay_is_looked_at() -> None:
    there = {str(each.parent.relative_to(FOLDER)) for each in FOLDER.rglob("kustomization.yaml")}
    assert there == set(RENDERED)


def test_kubernetes_takes_every_manifest(manifests: list[Manifest]) -> None:
    own = [each for each in manifests if each["apiVersion"] != OPERATOR]
    assert len(own) >= 5
    for each in own:
        against_schemas(each)


def test_a_pod_is_restricted_and_holds_together(manifests: list[Manifest]) -> None:
    pod = pod_of(manifests)
    assert list(unrestricted(pod)) == []
    assert list(nonsense(manifests)) == []
    assert all(
        each["securityContext"]["readOnlyRootFilesystem"] and each["resources"]["limits"]["memory"]
        for each in containers(pod).values()
    )
    assert agent_of(pod)["resources"]["limits"]["memory"] == "96Mi"


def test_the_configuration_loads_and_fits_the_pod(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    found = loaded(configuration(manifests, tmp_path))
    assert all(each.endswith("on this host") for each in found.warnings)
    assert list(unfit(pod_of(manifests), found)) == []


def test_the_sidecar_starts_before_the_app_and_ends_after_it(manifests: list[Manifest]) -> None:
    pod = pod_of(manifests)
    first, *_ = containers(pod).values()
    assert first is agent_of(pod) and first in pod["spec"]["initContainers"]
    if workload(manifests)["kind"] == "Job":
        assert "restartPolicy" not in first and first["args"][0] == "once"
    else:
        assert first["restartPolicy"] == "Always" and first["args"][0] == "agent"
        assert first["startupProbe"]["httpGet"]["path"] == "/startupz"


def test_each_overlay_is_what_it_says() -> None:
    def of(name: str) -> tuple[dict[str, Any], set[str]]:
        rendered = kustomized(FOLDER / name)
        return pod_of(rendered)["spec"], {each["kind"] for each in rendered}

    base, kinds = of("base")
    assert not base.get("shareProcessNamespace") and "Job" not in kinds
    assert of("overlays/shared-pid")[0]["shareProcessNamespace"] is True
    assert not of("overlays/socket")[0].get("shareProcessNamespace")
    assert {"Deployment", "PodDisruptionBudget"}.isdisjoint(of("overlays/job")[1])
    assert {"PodMonitor", "PrometheusRule"} <= of("overlays/monitoring")[1]
    (dashboard,) = [
        each
        for each in of_kind(kustomized(FOLDER / "overlays/monitoring"), "ConfigMap")
        if "grafana_dashboard" in each["metadata"].get("labels", {})
    ]
    assert list(dashboard["data"]) == ["dashboard.json"]


def test_the_documentation_names_every_alert() -> None:
    (rule,) = of_kind(kustomized(FOLDER / "overlays/monitoring"), "PrometheusRule")
    document = (ROOT / "docs" / "kubernetes.md").read_text()
    alerts = {
        each["alert"]: each["labels"]["severity"] for each in rule["spec"]["groups"][0]["rules"]
    }
    lines = re.findall(r"^\| (`Leasehold.*) \| (critical|warning) \|$", document, re.MULTILINE)
    told = {name: severity for names, severity in lines for name in re.findall(r"\w+", names)}
    assert told == alerts


def test_kustomizations_of_the_documentation_render(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "kubernetes.md").read_text()
    texts = re.findall(r"```yaml\n# kustomization.yaml\n(.*?)```", document, re.DOTALL)
    own, composed = texts
    checkout = os.path.relpath(ROOT, tmp_path / "here")

    def rendered(text: str) -> list[Manifest]:
        (tmp_path / "here").mkdir(exist_ok=True)
        file = tmp_path / "here" / "kustomization.yaml"
        file.write_text(text.replace("deploy/", f"{checkout}/deploy/"))
        return kustomized(file.parent)

    assert agent_of(pod_of(rendered(own)))["image"] == "registry.example/leasehold:1"
    both = rendered(composed)
    assert {"PodMonitor", "PrometheusRule"} <= {each["kind"] for each in both}
    assert any(each["name"] == "socket" for each in pod_of(both)["spec"]["volumes"])
    assert list(nonsense(both)) == []


# --- the judges themselves ------------------------------------------------------------------------


def test_the_schemas_are_strict() -> None:
    (deployment,) = of_kind(kustomized(FOLDER / "base"), "Deployment")
    agent_of(deployment["spec"]["template"])["restartPolicies"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        against_schemas(deployment)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("securityContext", "privileged"), True, "privileged"),
        (("securityContext", "allowPrivilegeEscalation"), None, "allowPrivilegeEscalation"),
        (("securityContext", "capabilities"), {}, "capabilities not dropped"),
        (("securityContext", "capabilities"), {"drop": ["ALL"], "add": ["KILL"]}, "added"),
        (("securityContext", "runAsUser"), 0, "may be root"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "no seccomp"),
        (("ports",), [{"containerPort": 1, "hostPort": 1}], "hostPort"),
    ],
)
def test_what_is_not_restricted_is_found(path: tuple[str, ...], value: object, found: str) -> None:
    pod = pod_of(kustomized(FOLDER / "base"))
    where = agent_of(pod)
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    (problem,) = unrestricted(pod)
    assert problem.startswith("leasehold: ") and found in problem


def test_a_volume_of_the_host_is_not_restricted() -> None:
    pod = pod_of(kustomized(FOLDER / "base"))
    pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    pod["spec"]["hostPID"] = True
    assert list(unrestricted(pod)) == ["hostPID", "volume host"]


def test_what_leads_nowhere_is_found() -> None:
    rendered = kustomized(FOLDER / "overlays/monitoring")
    pod = pod_of(rendered)
    pod["metadata"]["labels"] = {"app.kubernetes.io/name": "other"}
    agent_of(pod)["ports"][0]["name"] = "metrics"
    pod["spec"]["volumes"] = yaml.safe_load(
        yaml.safe_dump(pod["spec"]["volumes"]).replace("vault-ca", "gone")
    )
    found = "\n".join(nonsense(rendered))
    assert "no ConfigMap gone" in found and "no port telemetry" in found
    assert "PodMonitor leasehold selects other pods" in found

"""The chart, by the real Helm: linted, rendered in each way, used by somebody's own chart."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.rig.kubernetes import (
    OLDEST,
    OPERATOR,
    ROOT,
    Manifest,
    against_schemas,
    agent_of,
    configuration,
    containers,
    helm,
    helm_template,
    kustomized,
    loaded,
    of_kind,
    pod_of,
    unrestricted,
)
from tests.rig.kubernetes_sense import nonsense, unfit

CHART = ROOT / "deploy" / "helm" / "leasehold"
EXAMPLES = CHART / "examples"
FILES = EXAMPLES / "files.yaml"
OVERLAYS = {"files": "base", "signals": "overlays/shared-pid"} | {
    each: f"overlays/{each}" for each in ("socket", "job", "monitoring")
}
"""What each of the values is in kustomize's words."""


def values(name: str) -> list[Path]:
    return [FILES] if name == "files" else [FILES, EXAMPLES / f"{name}.yaml"]


@pytest.fixture(scope="module", params=OVERLAYS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def manifests(case: str) -> list[Manifest]:
    return helm_template(CHART, *values(case))


def test_every_example_is_looked_at() -> None:
    assert {each.stem for each in EXAMPLES.glob("*.yaml")} == OVERLAYS.keys()


def test_helm_lints_it_strictly(case: str) -> None:
    files = [word for each in values(case) for word in ("-f", each)]
    said = helm("lint", "--strict", CHART, *files)
    assert "1 chart(s) linted, 0 chart(s) failed" in said


def test_kubernetes_takes_what_it_renders(manifests: list[Manifest], tmp_path: Path) -> None:
    for each in manifests:
        if each["apiVersion"] != OPERATOR:
            against_schemas(each)
    pod = pod_of(manifests)
    assert list(unrestricted(pod)) == []
    assert list(nonsense(manifests)) == []
    found = loaded(configuration(manifests, tmp_path))
    assert all(each.endswith("on this host") for each in found.warnings)
    assert list(unfit(pod, found)) == []


def test_it_makes_the_same_pod_as_kustomize(
    case: str, manifests: list[Manifest], tmp_path: Path
) -> None:
    ours = kustomized(ROOT / "deploy" / "kubernetes" / OVERLAYS[case])
    for name, container in containers(pod_of(ours)).items():
        other = containers(pod_of(manifests))[name]
        assert other.get("args") == container.get("args")
        for key in ("resources", "startupProbe", "livenessProbe", "readinessProbe", "ports"):
            assert other.get(key) == container.get(key), (name, key)
        places = {each["mountPath"]: each.get("readOnly") for each in other["volumeMounts"]}
        wanted = {each["mountPath"]: each.get("readOnly") for each in container["volumeMounts"]}
        assert places == wanted
    one = loaded(configuration(ours, tmp_path / "kustomize")).configuration
    other_one = loaded(configuration(manifests, tmp_path / "helm")).configuration
    for section in ("secrets", "bundles", "listeners"):
        assert getattr(one, section) == getattr(other_one, section)


def test_the_alerts_and_the_dashboard_are_the_same() -> None:
    ours = kustomized(ROOT / "deploy" / "kubernetes" / "overlays" / "monitoring")
    theirs = helm_template(CHART, *values("monitoring"))
    (rule,), (other,) = of_kind(ours, "PrometheusRule"), of_kind(theirs, "PrometheusRule")
    assert rule["spec"] == other["spec"]
    assert other["metadata"]["labels"]["release"] == "prometheus"
    dashboards = [
        each["data"]["dashboard.json"]
        for each in of_kind(ours, "ConfigMap") + of_kind(theirs, "ConfigMap")
        if "dashboard.json" in each["data"]
    ]
    assert len(dashboards) == 2 and dashboards[0] == dashboards[1]


# --- values ---------------------------------------------------------------------------------------


def test_nothing_is_made_without_being_asked_for() -> None:
    assert helm_template(CHART) == []


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("token.expirationSeconds=60", "600"),
        ("secrets.sizeLimits=1Mi", "sizeLimits"),
        ("user=0", "user"),
        ("example.kind=DaemonSet", "kind"),
        ("image.digest=sha256:12", "digest"),
    ],
)
def test_wrong_values_are_refused_by_name(setting: str, named: str) -> None:
    with pytest.raises(AssertionError, match="schema") as caught:
        helm("template", "app", CHART, "--kube-version", OLDEST, "--set", setting)
    assert named in str(caught.value)


def test_an_image_may_be_pinned_by_its_digest(tmp_path: Path) -> None:
    digest = f"sha256:{'0f' * 32}"
    own = tmp_path / "own.yaml"
    own.write_text(f"image: {{repository: registry.example/leasehold, digest: '{digest}'}}\n")
    pod = pod_of(helm_template(CHART, FILES, own))
    assert agent_of(pod)["image"] == f"registry.example/leasehold@{digest}"


def test_a_changed_configuration_is_a_rollout(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("config: {secrets: {database: {refresh_every: 1m}}}\n")
    before, after = (pod_of(helm_template(CHART, FILES, *more)) for more in ((), (own,)))
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]


# --- somebody's own chart -------------------------------------------------------------------------


def test_an_own_chart_gets_the_sidecar_as_the_readme_says(tmp_path: Path) -> None:
    readme = (CHART / "README.md").read_text()
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", readme, re.DOTALL):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("file://../leasehold", f"file://{CHART}"))
    chart = tmp_path / "shop"
    helm("dependency", "build", chart)
    rendered = helm_template(chart, release="shop")
    for each in rendered:
        against_schemas(each)
    pod = pod_of(rendered)
    assert list(containers(pod)) == ["leasehold", "shop"]
    assert agent_of(pod)["restartPolicy"] == "Always"
    assert list(unrestricted(pod)) == []
    found = loaded(configuration(rendered, tmp_path / "configuration"))
    assert set(found.configuration.bundles) == {"shop"}
    assert list(unfit(pod, found)) == []


def test_the_notes_say_what_is_next(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "leasehold")
    # Helm shows notes at an installation only: have them rendered as a manifest of their own.
    notes = """notes: |\n  {{- include (print .Template.BasePath "/NOTES.txt") . | nindent 2 }}\n"""
    (chart / "templates" / "shown.yaml").write_text(f"kind: Notes\n{notes}")

    def said(*files: Path) -> str:
        (shown,) = of_kind(helm_template(chart, *files), "Notes")
        return str(shown["notes"])

    assert "set `config`" in said()
    assert "service account app of the namespace default, audience vault" in said(FILES)
    own = tmp_path / "own.yaml"
    own.write_text("example: {enabled: false}\n")
    assert 'include "leasehold.sidecar" .Subcharts.leasehold' in said(FILES, own)

"""Alerts and dashboard: each metric is one of a real agent's, each alert is raised in promtool."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.telemetry.metrics import COUNTERS, HISTOGRAMS
from tests.rig.agent import Start
from tests.rig.bao_client import Bao
from tests.rig.kubernetes import ROOT, promtool
from tests.rig.processes import free_port

FOLDER = ROOT / "deploy" / "monitoring"
DASHBOARD = FOLDER / "dashboard.json"
TESTS = Path(__file__).with_name("alerts.yaml")
METRIC = re.compile(r"\b(?:leasehold|process)_[a-z_]+")
LABELS = re.compile(
    r"by \(([a-z, ]+)\)|([a-z_]+)\s*(?:=~|!=|=)\s*\"|\$labels\.([a-z_]+)|\{\{([a-z]+)\}\}"
)
OF_PROMETHEUS = {"pod", "namespace", "container", "le"}
"""Labels that come with the scrape, or with a histogram."""


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())["spec"]["groups"]
    return list(group["rules"])


def queries(rules: list[dict[str, Any]]) -> Iterator[str]:
    """All of PromQL here, and what quotes its labels."""
    for rule in rules:
        yield rule["expr"]
        yield from rule["annotations"].values()
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"{target['expr']} {target['legendFormat']}"
    yield from (each["query"] for each in dashboard["templating"]["list"])


async def scraped(leasehold: Start, bao: Bao) -> str:
    """What a real agent that is at work answers at /metrics."""
    kv = bao.kv()
    kv.put("app", password="a-value")
    token = bao.make_token(bao.policy({kv.api("app"): ["read"]}), ttl="1h").id
    port = free_port()
    auth = {"method": "token_file", "token": "${AGENT_TOKEN}"}
    agent = await leasehold(
        {
            "stores": {"vault": {"type": "vault", "address": bao.address, "auth": auth}},
            "secrets": {"database": {"path": kv.cli("app")}},
            "bundles": {"app": {"directory": "files", "allow_disk": True, "files": {"a": "b"}}},
            "telemetry": {"address": f"127.0.0.1:{port}"},
        },
        environment={"AGENT_TOKEN": token},
    )
    await agent.event("ready", within=60)

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def test_every_metric_is_one_of_a_real_agent(
    rules: list[dict[str, Any]], leasehold: Start, bao: Bao
) -> None:
    text = await scraped(leasehold, bao)
    exported = set()
    for name, kind in re.findall(r"# TYPE (\S+) (\S+)", text):
        suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        exported |= {name + suffix for suffix in suffixes}
    used = {name for query in queries(rules) for name in METRIC.findall(query)}
    assert len(used) > 20
    assert used <= exported


async def test_every_label_is_one_of_the_metrics(
    rules: list[dict[str, Any]], leasehold: Start, bao: Bao
) -> None:
    text = await scraped(leasehold, bao)
    known = OF_PROMETHEUS | set(re.findall(r"[{,]([a-z_]+)=\"", text))
    known |= {label for _, labels in COUNTERS.values() for label in labels}
    known |= {"listener", "status"}  # of the doors' answers: nobody has asked here
    known |= {label for _, labels, _ in HISTOGRAMS.values() for label in labels}
    used = {
        label.strip()
        for query in queries(rules)
        for found in LABELS.findall(query)
        for words in found
        for label in words.split(",")
        if label
    }
    assert {"pod", "secret", "store", "bundle", "step"} <= used
    assert used <= known


def test_every_alert_says_what_to_do(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        assert rule["alert"].startswith("Leasehold")
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} == rule["annotations"].keys()
        assert "$labels.pod" in rule["annotations"]["summary"]


def test_promtool_finds_them_sound_and_raises_each(
    rules: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "leasehold", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
    # promtool would compare every sentence, too.
    silent = [rule | {"annotations": {}} for rule in rules]
    file.write_text(yaml.safe_dump({"groups": [{"name": "leasehold", "rules": silent}]}))
    copy = Path(shutil.copy(TESTS, tmp_path))
    assert "SUCCESS" in promtool("test", "rules", copy)
    cases = yaml.safe_load(TESTS.read_text())
    raised: set[str] = set()
    quiet: set[str] = set()
    for case in cases["tests"]:
        for each in case["alert_rule_test"]:
            (raised if each.get("exp_alerts") else quiet).add(each["alertname"])
    assert raised == quiet == {rule["alert"] for rule in rules}


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(each["x"] + each["w"] <= 24 for each in places)
    cells = [
        (x, y)
        for each in places
        for x in range(each["x"], each["x"] + each["w"])
        for y in range(each["y"], each["y"] + each["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(panel["description"] and panel["targets"] for panel in panels)

"""Every example of docs/notify.md is a configuration that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config.load import load
from agent.core.clock import SystemClock
from agent.delivery.confirm import confirmation
from agent.delivery.notify import notifier

PAGE = Path(__file__).parents[4] / "docs" / "notify.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)

REST: dict[str, Any] = {
    "stores": {"local": {"type": "local", "file": "store.sealed", "key": {"file": "key"}}},
    "secrets": {"web": {"path": "web"}},
}
BUNDLE: dict[str, Any] = {"directory": "/run/leasehold/app", "files": {"password": "{{ web.x }}"}}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_loads_and_can_be_built(tmp_path: Path, number: int) -> None:
    example = yaml.safe_load(EXAMPLES[number])
    bundles = example.get("bundles", {"app": BUNDLE | example})
    (tmp_path / "app.conf.j2").write_text("{{ web.x }}")
    path = tmp_path / "leasehold.yaml"
    path.write_text(yaml.safe_dump({**REST, "bundles": bundles}))
    for bundle in load([path], environment={}).configuration.bundles.values():
        for entry in bundle.notify:
            assert notifier(entry).target
        if bundle.confirm is not None:
            assert confirmation(bundle.confirm, SystemClock()).target


def test_the_page_has_an_example_of_each() -> None:
    text = "".join(EXAMPLES)
    words = ("signal:", "systemd:", "http:", "http+unix:", "command:", "confirm:", "validate:")
    assert [word for word in words if word not in text] == []

"""The examples and the documentation's own are loaded, as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config.model import LocalStore, VaultStore
from agent.config.reference import MARKER, renewed
from tests.unit.config.conftest import LoadText, load_judged

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "configuration.md"
EXAMPLES = sorted((ROOT / "configs").rglob("*.yaml"))
ENVIRONMENT = {
    "CI_JOB_JWT": "a-jwt",
    "CREDENTIALS_DIRECTORY": "/run/credentials/leasehold.service",
    "VAULT_ADDR": "https://vault.example:8200",
    "VAULT_TOKEN": "a-token",
    "XDG_RUNTIME_DIR": "/run/user/1000",
}


def by_name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
def test_an_example_loads_and_lacks_only_what_is_on_its_host(path: Path) -> None:
    loaded = load_judged([path], ENVIRONMENT)
    uses = loaded.configuration
    assert uses.bundles or uses.process or uses.listeners
    assert all(each.endswith("on this host") for each in loaded.warnings)


def test_there_is_an_example_for_each_use() -> None:
    names = {"sidecar", "vm", "run", "socket", "local", "once", "nginx", "database", "ha"}
    assert names <= {path.stem for path in EXAMPLES}
    stores = [load_judged([path], ENVIRONMENT).configuration.stores for path in EXAMPLES]
    assert {type(store) for each in stores for store in each.values()} == {VaultStore, LocalStore}


def test_the_reference_is_what_the_model_says() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert MARKER in document
    assert document == renewed(document)


def test_the_example_in_the_documentation_loads(load_text: LoadText) -> None:
    prose = DOCUMENT.read_text(encoding="utf-8").partition(MARKER)[0]
    example = re.findall(r"```yaml\n(.*?)```", prose, re.DOTALL)[-1]
    loaded = load_text(example, environment=ENVIRONMENT).configuration
    assert set(loaded.bundles) == {"app"} and len(loaded.bundles["app"].notify) == 2

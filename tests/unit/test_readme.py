"""What a newcomer reads and copies: the README's configuration and commands, the VM's page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Command, Context, Group

from agent.cli import COMMANDS, leasehold
from tests.unit.config.conftest import load_judged

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy" / "systemd" / "leasehold.service").read_text(encoding="utf-8")
SYSTEMD = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
REST: dict[str, Any] = {
    "secrets": {"database": {"path": "secret/database"}, "web": {"path": "secret/web"}},
    "stores": {
        "vault": {
            "type": "vault",
            "address": "https://vault.example",
            "auth": {"method": "kubernetes", "role": "app"},
        }
    },
}


def every_command(group: Group = leasehold, name: str = "leasehold") -> list[tuple[str, Command]]:
    found: list[tuple[str, Command]] = [(name, group)]
    for each in group.list_commands(Context(group)):
        command = group.get_command(Context(group), each)
        assert command is not None
        title = f"{name} {each}"
        found += every_command(command, title) if isinstance(command, Group) else [(title, command)]
    return found


def test_the_configuration_of_the_readme_lacks_only_what_is_on_its_host(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.yaml"
    path.write_text(YAML.findall(README)[0])
    loaded = load_judged([path])
    assert set(loaded.configuration.bundles) == {"app"}
    assert all(each.endswith("on this host") for each in loaded.warnings)


@pytest.mark.parametrize("page", ["local-store.md", "run.md"])
def test_the_configurations_of_a_page_load(page: str, tmp_path: Path) -> None:
    examples = YAML.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        sections = yaml.safe_load(example)
        path.write_text(yaml.safe_dump(REST | sections))
        loaded = load_judged([path]).configuration
        assert all(getattr(loaded, section) for section in sections)


@pytest.mark.parametrize(("name", "command"), every_command(), ids=lambda each: str(each))
def test_help_has_an_example_that_names_the_command(name: str, command: Command) -> None:
    text = command.get_help(Context(command, info_name=name))
    _, _, example = text.partition("Example:")
    assert name in example


def test_the_readme_has_every_command() -> None:
    assert {each for each in COMMANDS if f"`leasehold {each}" not in README} <= {"version"}
    assert "`leasehold schema`, `version`" in README


def test_the_example_for_a_vm_finds_what_its_unit_hands_over() -> None:
    wanted = (ROOT / "configs" / "vm.yaml").read_text(encoding="utf-8")
    auth = yaml.safe_load(wanted)["stores"]["vault"]["auth"]
    credentials = dict(re.findall(r"^LoadCredential=([^:]+):(.+)$", UNIT, re.MULTILINE))
    for key in ("role_id_file", "secret_id_file"):
        folder, _, identity = auth[key].rpartition("/")
        assert folder == "${CREDENTIALS_DIRECTORY:-/run/credentials/leasehold.service}"
        installed, _, file = credentials[identity].rpartition("/")
        assert re.search(rf"^install .*\b{file}\b.* {installed}/$", SYSTEMD, re.MULTILINE)


def test_the_configuration_is_written_where_the_unit_looks_for_it() -> None:
    found = re.search(r"^ExecStart=\S+/leasehold agent -c (\S+) ", UNIT, re.MULTILINE)
    assert found is not None
    assert f"```yaml\n# {found[1]}\n" in SYSTEMD

"""The schema is the code's, and says of the examples what the loader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from agent.cli.schema import command
from agent.config.schema import json_schema
from tests.unit.config.conftest import load_judged

CONFIGS = Path(__file__).parents[3] / "configs"
EXAMPLES = sorted(CONFIGS.glob("*.yaml"))
VALIDATOR = Draft202012Validator(json_schema())


def by_name(path: Path) -> str:
    return path.stem


def test_the_file_beside_the_examples_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(command)
    assert printed.exit_code == 0
    assert (CONFIGS / "leasehold.schema.json").read_text(encoding="utf-8") == printed.output


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
def test_the_examples_are_valid_and_name_their_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=leasehold.schema.json\n")
    assert [each.message for each in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "document",
    [
        {"log": None},
        {"process": {"command": ["a", 1, True], "stop": {"timeout": "${T}"}}},
        {"shutdown_timeout": 1.5},
        {
            "stores": {
                "a": {"type": "local", "file": "x", "key": {"file": "k", "passphrase_file": None}}
            }
        },
        {"bundles": {"a": {"directory": "x", "files": {"b/c": "t"}, "mode": "${M}"}}},
    ],
)
def test_it_admits_what_the_loader_admits(document: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(document))
    load_judged([path], {"T": "5s", "M": "0400"})
    assert VALIDATOR.is_valid(document)

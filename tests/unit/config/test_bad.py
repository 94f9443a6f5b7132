"""Every `bad/bad-<reason>.yaml` is refused in just the words that stand at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from agent.config.schema import json_schema
from agent.core.errors import ConfigurationError
from tests.unit.config.conftest import load_judged

FOLDER = Path(__file__).parent / "bad"
ENVIRONMENT = {"SET": "5s3cret", "EMPTY": ""}
FIXTURES = sorted(FOLDER.glob("bad-*.yaml"))
VALIDATOR = Draft202012Validator(json_schema())


def expected(path: Path) -> tuple[str, list[str]]:
    """What is said of the schema, and the problems, from the comments at the end."""
    _, _, said = path.read_text(encoding="utf-8").partition("\n# schema: ")
    verdict, *lines = said.splitlines()
    return verdict, [line.removeprefix("# ") for line in lines]


def by_reason(path: Path) -> str:
    return path.stem.removeprefix("bad-")


@pytest.mark.parametrize("path", FIXTURES, ids=by_reason)
def test_is_refused_with_every_problem_in_its_place(path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_judged([path], ENVIRONMENT)
    problems = [each.removeprefix(f"{path}:") for each in caught.value.problems]
    assert problems == expected(path)[1]


@pytest.mark.parametrize("path", FIXTURES, ids=by_reason)
def test_no_problem_tells_a_value(path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_judged([path], ENVIRONMENT)
    assert "hunter2" not in str(caught.value)
    assert ENVIRONMENT["SET"] not in str(caught.value)


@pytest.mark.parametrize("path", FIXTURES, ids=by_reason)
def test_the_schema_refuses_what_is_structural(path: Path) -> None:
    verdict, _ = expected(path)
    try:
        document = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError:
        assert verdict == "no YAML"
    else:
        assert VALIDATOR.is_valid(document) is (verdict == "accepted")


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) >= 45

"""Every example of docs/templates.md does what is written there, and every filter has one."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import yaml

from agent.config.model import FormatFile
from agent.core.errors import RenderError
from agent.rendering.filters import FILTERS
from agent.rendering.formats import render_format
from agent.rendering.templates import check_template, compile_template
from tests.rig.held import held

PAGE = (Path(__file__).parents[3] / "docs" / "templates.md").read_text()
BLOCKS = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PAIRS = [
    (source, kind, text)
    for (language, _, source), (kind, _, text) in pairwise(BLOCKS)
    if language in ("jinja", "format")
]
SECRETS = held(yaml.safe_load(next(text for _, title, text in BLOCKS if title == "secrets")))


def rendered(source: str) -> str:
    if not source.startswith("{format: "):
        assert check_template(source, SECRETS) == []
        return compile_template(source, "docs").render(SECRETS, {}).decode()
    entry = msgspec.convert(yaml.safe_load(source), FormatFile)
    return render_format(entry, SECRETS, "docs").decode()


@pytest.mark.parametrize(("source", "kind", "text"), PAIRS)
def test_an_example_of_the_docs(source: str, kind: str, text: str) -> None:
    if kind == "error":
        with pytest.raises(RenderError, match=re.escape(text.strip())):
            rendered(source)
        return
    assert kind == "output"
    assert rendered(source).removesuffix("\n") == text.removesuffix("\n")


def test_every_filter_and_format_is_in_the_docs() -> None:
    assert len(PAIRS) > 20
    assert {name for name in FILTERS if f"`{name}" not in PAGE} == set()
    formats = msgspec.json.schema(FormatFile)["$defs"]["FormatFile"]["properties"]["format"]["enum"]
    shown = set(re.findall(r"\{format: (\w+)", PAGE))
    assert set(formats) == shown

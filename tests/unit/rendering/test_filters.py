"""Filters at their edges; docs/templates.md has their plain use."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import RenderError
from agent.rendering.templates import compile_template
from tests.rig.held import held

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def through(filters: str, value: Any) -> bytes:
    template = compile_template(f"{{{{ app.value | {filters} }}}}", "app.file")
    return template.render(held({"app": {"value": value}}), {})


def refusal(filters: str, value: Any) -> str:
    with pytest.raises(RenderError) as caught:
        through(filters, value)
    return str(caught.value)


@given(st.binary() | TEXTS)
def test_base64_goes_there_and_back(value: bytes | str) -> None:
    data = value if isinstance(value, bytes) else value.encode()
    assert through("b64encode", value) == base64.b64encode(data)
    assert through("b64encode | b64decode", value) == data
    assert through("sha256", value).decode() == hashlib.sha256(data).hexdigest()


def test_base64_bears_line_breaks_and_missing_padding() -> None:
    assert through("b64decode", "aGVs\n bG8") == b"hello"
    for broken in ("aGVsb", "aGVs*bG8=", "é"):
        assert refusal("b64decode", broken) == "app.file:1: b64decode: this is not base64"


@given(st.dictionaries(TEXTS, TEXTS | st.integers(-(2**60), 2**60) | st.lists(TEXTS), max_size=4))
def test_data_is_read_back_by_its_own_parsers(value: dict[str, Any]) -> None:
    assert json.loads(through("tojson", value)) == value
    assert yaml.safe_load(through("to_yaml", value)) == value
    assert tomllib.loads(through("to_toml", value).decode()) == value
    assert json.loads(through("tojson | from_json | tojson", value)) == value
    assert json.loads(through("to_yaml | from_yaml | tojson", value)) == value


def test_json_is_not_escaped_for_html_and_keeps_its_order() -> None:
    assert through("tojson", {"b": "<&>'é", "a": [None, True]}).decode() == (
        '{"b":"<&>\'é","a":[null,true]}'
    )


@pytest.mark.parametrize("text", ["{", "NaN", "[1e999]", '{"a": Infinity}', "[" * 100_000])
def test_what_is_not_json_is_refused(text: str) -> None:
    assert refusal("from_json | tojson", text).startswith("app.file:1: ")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "!!python/object/apply:os.system [id]",
        "!!timestamp x",
        "? [a]\n: b",
        "a: .nan",
        "\0",
        "a: &x [1]\nb: [*x, *x]",
        "1: a",
        "[" * 5_000,
        "!!binary /w==",
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str) -> None:
    assert refusal("from_yaml | tojson", text).startswith("app.file:1: ")


def test_a_yaml_bomb_is_refused() -> None:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases" in refusal("from_yaml | tojson", "\n".join(lines))


def test_dates_of_yaml_stay_text() -> None:
    assert through("from_yaml | tojson", "day: 2024-01-02") == b'{"day":"2024-01-02"}'


def test_toml_is_made_of_a_mapping_only() -> None:
    assert "made of a mapping only" in refusal("to_toml", ["a"])


@pytest.mark.parametrize(
    ("filters", "value", "text"),
    [
        ("indent", "a\nb\n\nc\n", "a\n    b\n\n    c\n"),
        ("indent(2, first=true, blank=true)", "a\n\nb", "  a\n  \n  b"),
        ("indent('> ')", "a\nb", "a\n> b"),
        ("indent(2)", "a\r\nb\x0bc\u2028d", "a\r\n  b\x0bc\u2028d"),
    ],
)
def test_indent_knows_lines_by_the_newline_alone(filters: str, value: str, text: str) -> None:
    assert through(filters, value).decode() == text


@given(TEXTS.filter(lambda text: "\0" not in text))
def test_envquote_gives_one_word_with_no_expansion(value: str) -> None:
    quoted = through("envquote", value).decode()
    inner = quoted[1:-1] if quoted[:1] in "'\"" else quoted
    if quoted.startswith("'"):
        assert inner == value and "'" not in value
    elif quoted.startswith('"'):
        assert "$" not in inner.replace("\\$", "") and "`" not in inner.replace("\\`", "")
    else:
        assert value == quoted and value.isascii()


def test_a_broken_pattern_is_told_without_it() -> None:
    assert refusal("regex_replace('(')", "x").startswith("app.file:1: error; its text is withheld")


SCRIPT = """
import sys
from agent.core.secret import Reading, Secret
from agent.rendering.templates import compile_template
from agent.rendering.values import Held

fields = {name: [{"b": 1, "a": {"x", "y"} and "z"}] for name in ("q", "w", "e", "r")}
held = {name: Held(Reading(Secret(fields), "1")) for name in ("one", "two", "three")}
source = "{{ one|tojson }}{{ two|to_yaml }}{{ three|to_toml }}{{ one|dictsort }}"
source += "{{ two|items|list }}{{ one|unique|list }}"
sys.stdout.buffer.write(compile_template(source, "x").render(held, {}))
"""


def test_the_same_input_gives_the_same_bytes_in_every_process() -> None:
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1

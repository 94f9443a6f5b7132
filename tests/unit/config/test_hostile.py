"""Whatever stands in a file: it loads, or raises a ConfigurationError. And soon."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.config.load import load
from agent.config.model import Configuration
from agent.config.shape import fields_of
from agent.core.errors import ConfigurationError
from tests.unit.config.conftest import VAULT, Problems, load_judged

KEYS = [
    *sorted(fields_of(Configuration)),
    *("vault", "type", "auth", "method", "address", "tls", "path", "data", "files", "directory"),
    *("notify", "signal", "http", "command", "content", "format", "secrets", "store", "timeout"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(
        [
            *("vault", "local", "approle", "env", "5m", "${A}", "${B:-c}", "{{ a.b }}", "HUP"),
            *("0440", "/run/x", "https://x", "${", "-1s"),
        ]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=25,
)


def loads_or_is_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.yaml"
        path.write_bytes(content)
        try:
            loaded = load_judged([path], {"A": "value"})
        except ConfigurationError as error:
            assert error.problems
            assert all(each.startswith(f"{path}:") for each in error.problems)
            assert all("\n" not in each for each in error.problems)
        else:
            assert isinstance(loaded.configuration, Configuration)


@given(TREES)
def test_any_tree(tree: Any) -> None:
    loads_or_is_refused(yaml.safe_dump(tree, allow_unicode=True).encode())


@given(st.dictionaries(st.sampled_from(sorted(fields_of(Configuration))), TREES))
def test_any_tree_in_a_known_section(tree: Any) -> None:
    loads_or_is_refused(yaml.safe_dump(tree).encode())


@given(st.text(st.sampled_from("abc:-[]{}&*!|>#'\"\n \t<%@`,?0~"), max_size=60))
def test_any_text(text: str) -> None:
    loads_or_is_refused(text.encode())


@given(st.binary(max_size=40))
def test_any_bytes(content: bytes) -> None:
    loads_or_is_refused(content)


@pytest.mark.parametrize("depth", [100, 5_000, 300_000])
@pytest.mark.parametrize("opening", ["[", "- ", "? "])
def test_a_deep_nest_is_refused(depth: int, opening: str) -> None:
    loads_or_is_refused(f"log: \n  {opening * depth}x".encode())


def test_a_deep_mapping_is_refused(problems: Problems) -> None:
    deep = "".join(f"{' ' * level}a:\n" for level in range(100))
    assert "nested deeper than 64" in problems(deep)[0]


def test_a_billion_laughs_are_not_laughed(problems: Problems) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    found = problems("\n".join(["a0: &a0 [lol]", *levels]))
    assert len(found) == 1 and "aliases that make more than" in found[0]


def test_a_key_that_is_no_text_is_refused(problems: Problems) -> None:
    assert problems("? [a]\n: b\n") == ["0.yaml:1: has a key that is no text"]


def test_no_file_or_folder_is_an_empty_configuration() -> None:
    assert load([], environment={}).configuration == Configuration()


def test_ten_thousand_secrets_load_soon(tmp_path: Path) -> None:
    entries = (
        f"  s{n}: {{path: secret/app{n}, store: vault, refresh_every: 5m}}\n" for n in range(10_000)
    )
    path = tmp_path / "a.yaml"
    path.write_text(f"stores: {{{VAULT}}}\nsecrets:\n{''.join(entries)}")
    began = time.process_time()
    loaded = load([path], environment={})
    assert time.process_time() - began < 2.0
    assert len(loaded.configuration.secrets) == 10_000

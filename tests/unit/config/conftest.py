"""A configuration from text, with the real judge of templates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from agent.config.load import Loaded, load
from agent.core.errors import ConfigurationError
from agent.rendering.templates import check_template, compile_template

LoadText = Callable[..., Loaded]
Problems = Callable[..., list[str]]

VAULT = (
    "vault: {type: vault, address: https://vault.example, auth: {method: kubernetes, role: app}}"
)


def template_secrets(source: str) -> Collection[str]:
    return compile_template(source, "template").secrets


def load_judged(
    paths: list[Path], environment: Mapping[str, str] | None = None, **options: Any
) -> Loaded:
    return load(
        paths,
        environment=environment or {},
        check_template=check_template,
        template_secrets=template_secrets,
        **options,
    )


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """`load_text(one, two, …, environment=…)`: texts are files that are merged in order."""

    def load_files(*texts: str, **options: Any) -> Loaded:
        paths = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(dedent(text), encoding="utf-8")
        return load_judged(paths, **options)

    return load_files


@pytest.fixture
def problems(load_text: LoadText, tmp_path: Path) -> Problems:
    """The problems of what can't be loaded, without the folder's name."""

    def find(*texts: str, **options: Any) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load_text(*texts, **options)
        return [each.replace(f"{tmp_path}/", "") for each in caught.value.problems]

    return find

"""What the formats write is read back by each format's own parser."""

from __future__ import annotations

import io
import json
import subprocess
import tomllib
from collections.abc import Mapping
from typing import Any

import javaproperties
import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.config.model import FormatFile
from agent.core.errors import RenderError
from agent.core.secret import Field
from agent.rendering.formats import render_format
from tests.rig.held import held

Fields = Mapping[str, Field]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NASTY = st.sampled_from(
    [
        "",
        "'",
        '"',
        "`id`",
        "$(id)",
        "$HOME",
        "\\",
        "a\\\nb",
        "\n",
        " x ",
        "#",
        "=",
        "~",
        "!",
        "é\u2028",
        "no",
        "0x1f",
        "1e3",
        "1_000",
        "null",
        "- a",
        "a: b",
        "{",
        "%",
        "\x7f",
        "\x85",
        "\ufeff",
        "😀",
    ]
)
VALUES = st.one_of(TEXTS, NASTY, st.lists(NASTY, max_size=5).map("".join))
SHELL_VALUES = VALUES.map(lambda text: text.replace("\0", ""))
SCALARS = st.one_of(
    VALUES,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES, inner, max_size=3),
    max_leaves=8,
)


def rendered(secrets: Mapping[str, Fields], form: str, **options: Any) -> bytes:
    entry = FormatFile(format=form, secrets=tuple(secrets), **options)  # type: ignore[arg-type]
    return render_format(entry, held(secrets), "app.file")


def refusal(secrets: Mapping[str, Fields], form: str, **options: Any) -> str:
    with pytest.raises(RenderError) as caught:
        rendered(secrets, form, **options)
    assert caught.value.__context__ is None
    return str(caught.value)


def sourced(shell: str, script: bytes, names: list[str], folder: Any) -> list[str]:
    """The values that a shell has after it has sourced the script."""
    (folder / "env").write_bytes(script)
    command = f". {folder}/env && printf '%s\\0' " + " ".join(f'"${name}"' for name in names)
    done = subprocess.run([shell, "-c", command], capture_output=True, check=True, cwd=folder)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


# --- env --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_shell_sources_what_was_meant(
    shell: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("env")

    @settings(max_examples=60)
    @given(st.lists(SHELL_VALUES, min_size=1, max_size=30))
    def sources(values: list[str]) -> None:
        fields: dict[str, Field] = {f"x-{number}": value for number, value in enumerate(values)}
        names = [f"X_{number}" for number in range(len(values))]
        assert sourced(shell, rendered({"app": fields}, "env"), names, folder) == values

    sources()


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain-1.2/x:y=z", "KEY=plain-1.2/x:y=z\n"),
        ("two words", "KEY='two words'\n"),
        ("it's $5", 'KEY="it\'s \\$5"\n'),
        ("", "KEY=\n"),
        (None, "KEY=\n"),
        (True, "KEY=true\n"),
        (1.5, "KEY=1.5\n"),
        ({"a": [1, None, "é"]}, 'KEY=\'{"a":[1,null,"é"]}\'\n'),
        ("é".encode(), "KEY='é'\n"),
    ],
)
def test_env_quotes_only_what_needs_it(value: Field, line: str) -> None:
    assert rendered({"app": {"key": value}}, "env").decode() == line


def test_env_names_are_upper_case_with_underscores() -> None:
    fields = {"user-name": "a", "9lives": "b", "naïve": "c", "x.y z": "d"}
    text = rendered({"app": fields}, "env").decode()
    assert text == "USER_NAME=a\n_9LIVES=b\nNA_VE=c\nX_Y_Z=d\n"


def test_env_of_several_secrets_has_their_names_in_front() -> None:
    secrets = {"my-db": {"user": "a"}, "Web": {"user": "b"}}
    assert rendered(secrets, "env") == b"MY_DB_USER=a\nWEB_USER=b\n"
    assert rendered({"db": {"User": "a"}, "web": {"x": "b"}}, "env", keys="as_is") == (
        b"db_User=a\nweb_x=b\n"
    )


def test_a_clash_of_env_names_names_both() -> None:
    said = refusal({"app": {"user-name": "a", "USER.NAME": "b"}}, "env")
    assert said == "app.file: app.user-name and app.USER.NAME would both be USER_NAME"
    said = refusal({"a": {"b_c": "1"}, "a_b": {"c": "2"}}, "env")
    assert "a.b_c and a_b.c" in said


@pytest.mark.parametrize("key", ["user-name", "1st", "", "é", "a b", "a\n"])
def test_names_as_they_are_must_be_names(key: str) -> None:
    assert "no name for a shell variable" in refusal({"app": {key: "x"}}, "env", keys="as_is")


@pytest.mark.parametrize(
    "key",
    ["uid", "path", "IFS", "random", "HISTCMD", "optind", "bash_env", "ld-preload", "-", "ppid"],
)
def test_variables_that_the_shell_goes_by_are_refused(key: str) -> None:
    assert "belongs to the shell or the loader" in refusal({"app": {key: "x[$(id)]"}}, "env")


def test_a_nul_can_not_be_in_the_environment() -> None:
    assert refusal({"app": {"key": "mar\0ker"}}, "env") == (
        "app.file: app.key: a NUL, which no environment variable can hold"
    )


@settings(max_examples=50)
@given(st.text("abc '#=\n\té{}", max_size=20))
def test_python_dotenv_reads_values_without_backslash_dollar_and_backtick(value: str) -> None:
    """What docs/templates.md says of a reader that is no shell."""
    read = dotenv_values(stream=io.StringIO(rendered({"a": {"key": value}}, "env").decode()))
    assert read == {"KEY": value}


# --- data -------------------------------------------------------------------------------------


@given(st.dictionaries(VALUES, DATA | st.none(), max_size=4))
def test_json_reads_back(fields: dict[str, Any]) -> None:
    text = rendered({"app": fields}, "json")
    assert json.loads(text) == fields
    assert list(json.loads(text)) == list(fields)
    assert json.loads(rendered({"a": fields, "b": {"x": 1}}, "json")) == {
        "a": fields,
        "b": {"x": 1},
    }


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_yaml_reads_back(loader: Any) -> None:
    @given(st.dictionaries(VALUES, DATA | st.none(), max_size=4))
    @example({"a": "-----BEGIN X-----\nabc\n-----END X-----\n"})
    @example({"a": " lead\n", "b": "\n", "c": "trail \nx", "y": "y", "on": "on", "é": {}})
    def reads_back(fields: dict[str, Any]) -> None:
        assert yaml.load(rendered({"app": fields}, "yaml"), Loader=loader) == fields  # noqa: S506
        both = yaml.load(rendered({"a": fields, "b": {"x": 1}}, "yaml"), Loader=loader)  # noqa: S506
        assert both == {"a": fields, "b": {"x": 1}}

    reads_back()


def test_yaml_quotes_what_another_dialect_would_read_otherwise() -> None:
    fields: Fields = {"a": "1e3", "b": "0o17", "c": "yes", "d": "word", "e": "12:30", "y": "~"}
    text = rendered({"app": fields}, "yaml").decode()
    assert text == 'a: "1e3"\nb: "0o17"\nc: "yes"\nd: word\ne: "12:30"\n"y": "~"\n'


def test_yaml_keeps_pem_readable() -> None:
    pem = "-----BEGIN X-----\nabc=\n-----END X-----\n"
    text = rendered({"app": {"key": pem}}, "yaml").decode()
    assert text == "key: |\n  -----BEGIN X-----\n  abc=\n  -----END X-----\n"


@given(st.dictionaries(VALUES, DATA, max_size=4))
def test_toml_reads_back(fields: dict[str, Any]) -> None:
    assert tomllib.loads(rendered({"app": fields}, "toml").decode()) == fields
    both = tomllib.loads(rendered({"a": fields, "b": {"x": 1}}, "toml").decode())
    assert both == {"a": fields, "b": {"x": 1}}


def test_toml_has_a_table_for_each_secret() -> None:
    text = rendered({"db": {"user": "a", "tags": ["x", {"y": 1}]}, "my-web": {"port": 80}}, "toml")
    assert text.decode() == ('[db]\nuser = "a"\ntags = ["x", {y = 1}]\n\n[my-web]\nport = 80\n')


def test_toml_refuses_what_it_has_not() -> None:
    assert "app.file: x is null, which TOML has not" in refusal({"app": {"x": None}}, "toml")
    assert "db.x.y[] is null" in refusal({"db": {"x": {"y": [None]}}, "b": {}}, "toml")
    assert "more than 64 bits" in refusal({"app": {"x": 2**63}}, "toml")


@given(st.dictionaries(VALUES, VALUES, max_size=5))
def test_properties_read_back(fields: dict[str, Field]) -> None:
    assert javaproperties.loads(rendered({"app": fields}, "properties").decode("ascii")) == fields
    both = javaproperties.loads(rendered({"a": fields, "b": {"x": 1}}, "properties").decode())
    assert both == {f"a.{key}": value for key, value in fields.items()} | {"b.x": "1"}


@pytest.mark.parametrize("form", ["env", "json", "yaml", "toml", "properties"])
@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), "\ud800", b"\xff", [float("inf")], {"a": b"\xff"}]
)
def test_what_is_no_data_is_refused_with_its_place(form: str, value: Field) -> None:
    assert refusal({"app": {"key": value}}, form).startswith("app.file: app.key: ")


@pytest.mark.parametrize("form", ["env", "json", "yaml", "toml", "properties"])
def test_hostile_nesting_is_refused(form: str) -> None:
    value: Field = []
    for _ in range(5000):
        value = [value]
    assert "nested deeper than 100 levels" in refusal({"app": {"key": value}}, form)


# --- raw --------------------------------------------------------------------------------------


@given(st.binary())
def test_raw_gives_bytes_as_they_are(data: bytes) -> None:
    assert rendered({"app": {"only": data}}, "raw") == data
    assert rendered({"app": {"a": 1, "b": data}}, "raw", field="b") == data


def test_raw_gives_text_without_a_newline() -> None:
    assert rendered({"app": {"only": "é"}}, "raw") == "é".encode()


def test_raw_needs_one_field() -> None:
    assert "say which in `field`" in refusal({"app": {"a": 1, "b": 2}}, "raw")
    assert 'no field "pasword"' in refusal({"app": {"password": 1}}, "raw", field="pasword")
    assert "did you mean password?" in refusal({"app": {"password": 1}}, "raw", field="pasword")
    assert "takes one secret" in refusal({"a": {"x": 1}, "b": {"x": 1}}, "raw")


def test_a_secret_that_is_not_held_is_named() -> None:
    entry = FormatFile(format="json", secrets=("database",))
    with pytest.raises(RenderError, match='there is no secret "database"'):
        render_format(entry, {}, "app.file")

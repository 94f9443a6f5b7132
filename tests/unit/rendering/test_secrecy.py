"""However a template is broken, no value gets into what is said about it."""

from __future__ import annotations

import traceback
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.config.model import FormatFile
from agent.core.errors import RenderError
from agent.rendering.filters import FILTERS
from agent.rendering.formats import render_format
from agent.rendering.jinja import environment
from agent.rendering.templates import compile_template
from tests.rig.held import held

MARKER = "MARK3R"
SECRETS = held(
    {
        "db": {
            "text": f"{MARKER} x",
            "word": MARKER,
            "binary": MARKER.encode() + b"\xff",
            "list": [MARKER, {MARKER: MARKER}],
            "map": {MARKER: [MARKER], "n": 1},
            "odd": f"{MARKER}\ud800",
            "format": "{0." + MARKER + "}%(" + MARKER + ")s",
            "json": '{"' + MARKER + '": [',
            "pem": f"-----BEGIN CERTIFICATE-----\n{MARKER}\n-----END CERTIFICATE-----",
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----",
            "certificate": f"-----BEGIN CERTIFICATE-----\n{MARKER}\n-----END CERTIFICATE-----",
            "n": 7,
        }
    }
)
FIELDS = sorted(SECRETS["db"].reading.value)
NAMES = st.sampled_from([*(f"db.{name}" for name in FIELDS), "db", "meta('db')", "3", "[]", "none"])
ALL_FILTERS = sorted(set(environment().filters) - {"map", "select", "reject"})
METHODS = [
    "format",
    "encode",
    "decode",
    "split",
    "index",
    "join",
    "strip",
    "zfill",
    "__class__",
    "get",
]


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from(ALL_FILTERS)).map(lambda t: f"({t[0]}) | {t[1]}"),
        st.tuples(inner, st.sampled_from(ALL_FILTERS), inner).map(
            lambda t: f"({t[0]}) | {t[1]}({t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["map", "select", "reject", "selectattr"]), inner).map(
            lambda t: f"({t[0]}) | {t[1]}({t[2]}) | list"
        ),
        st.tuples(
            inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "<", "in"]), inner
        ).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(inner, st.sampled_from(METHODS), inner).map(lambda t: f"({t[0]}).{t[1]}({t[2]})"),
        pair.map(lambda t: f"({t[0]})[{t[1]}]"),
        pair.map(lambda t: f"({t[0]})({t[1]})"),
        pair.map(lambda t: f"({t[0]}) is divisibleby ({t[1]})"),
    )


EXPRESSIONS = st.recursive(NAMES, compound, max_leaves=5)
STATEMENTS = st.sampled_from(
    [
        "{{{{ {} }}}}",
        "x {{{{ {} }}}}",
        "{{% for a, b in {} %}}{{{{ a.x }}}}{{% endfor %}}",
        "{{% if {} > 3 %}}{{% endif %}}",
        "{{% set x = {} %}}{{{{ x.y }}}}",
        "{{% filter upper %}}{{{{ {} }}}}{{% endfilter %}}",
        "{{{{ dict(a={}) }}}}",
    ]
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(STATEMENTS, EXPRESSIONS)
def test_no_error_tells_a_value(statement: str, expression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python, on calls of literals in generated code
        try:
            compile_template(statement.format(expression), "app.file").render(SECRETS, {})
        except RenderError as error:
            assert MARKER not in "".join(traceback.format_exception(error))
            assert MARKER not in repr(error)
            assert error.__context__ is None


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize("field", FIELDS)
def test_no_filter_tells_a_value(name: str, field: str) -> None:
    source = f"{{{{ db.{field} | {name}(db.{field}) }}}}{{{{ db.{field} | {name} }}}}"
    with pytest.raises(RenderError) as caught:
        compile_template(source + "{{ db.nope }}", "app.file").render(SECRETS, {})
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("form", ["env", "json", "yaml", "toml", "properties", "pem", "raw"])
@pytest.mark.parametrize("value", [f"{MARKER}\0\ud800", {MARKER: float("nan")}, [b"\xff", MARKER]])
def test_no_format_tells_a_value(form: str, value: object) -> None:
    entry = FormatFile(format=form, secrets=("db",))  # type: ignore[arg-type]
    with pytest.raises(RenderError) as caught:
        render_format(entry, held({"db": {"field": value}}), "app.file")  # type: ignore[dict-item]
    assert MARKER not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None

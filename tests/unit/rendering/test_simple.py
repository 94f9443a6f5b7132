"""Templates that need no Jinja2 render, and fail, as they would with it."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.rendering import simple
from agent.rendering.jinja import JinjaBody
from agent.rendering.templates import Body
from agent.rendering.text import Fault
from agent.rendering.values import Scope
from tests.rig.held import held

SCOPE = Scope(
    held(
        {
            "db": {
                "password": "p'w\n",
                "items": "I",
                "n": None,
                "on": True,
                "l": [1, "é"],
                "u": b"\xc3\xa9",
            },
            "my-db": {"user name": "x", "bin": b"\xff\0", "odd": "\ud800", "nan": float("nan")},
            "range": {"x": "y"},
            "loop": {"x": "z"},
        }
    ),
    {},
)

NAMES = st.sampled_from(["db", "my-db", "range", "loop", "nope", "secrets", "env", "true", "a_1"])
FIELDS = st.sampled_from(
    ["password", "items", "n", "on", "l", "u", "bin", "odd", "nan", "nope", "not", "x"]
)
SPACE = st.sampled_from(["", " ", "  ", "\n", "\t"])
LITERALS = st.text("a{}%#-\"'\n \\é.[]", max_size=6)


@st.composite
def references(draw: st.DrawFn) -> str:
    quote = draw(st.sampled_from("\"'"))
    key = st.sampled_from(["user name", "password", "bin", "nan", "x", "nope", ""])
    keys = draw(
        st.lists(
            st.one_of(
                FIELDS.map(lambda name: f".{name}"),
                key.map(lambda name: f"[{quote}{name}{quote}]"),
                key.map(lambda name: f"[ {quote}{name}{quote} ]"),
            ),
            min_size=0,
            max_size=2,
        )
    )
    secret = draw(st.sampled_from(['secrets["my-db"]', "secrets.db"]) | NAMES)
    before, after = draw(SPACE), draw(SPACE)
    return "{{" + before + secret + "".join(keys) + after + "}}"


SOURCES = st.lists(LITERALS | references(), max_size=4).map("".join)


def outcome(body: Body) -> bytes | tuple[str, int | None]:
    try:
        return body.render(SCOPE)
    except Fault as fault:
        return fault.reason, fault.line


@settings(max_examples=400)
@given(SOURCES)
@example("{{ db.password }}")
@example("{{ secrets['my-db']['user name'] }}\n")
@example("{{ secrets['my-db'].bin }}\n")
@example("{{ secrets['my-db'].bin }} ")
@example("{{{ db.password }}}")
@example("\n{{ secrets\n['my-db']\n['nan'] }}")
@example("{{ db.nope }}")
@example("{{ nope.x }}")
@example("{{ range.x }}")
def test_it_is_as_with_jinja2(source: str) -> None:
    body = simple.parse(source)
    if body is not None:
        full = JinjaBody(source)
        assert outcome(body) == outcome(full)
        assert set(body.uses) == set(full.uses)
        assert not full.problems


def test_the_common_forms_are_simple() -> None:
    for source in (
        "{{ db.password }}",
        '{{ secrets["my-db"]["user name"] }}',
        "{{secrets.db.password}}\n",
        "postgres://{{ db.username }}:{{ db.password }}@host/x\n",
        '{"password": "{{ db.password }}"}',
        "text",
    ):
        assert simple.parse(source) is not None


def test_what_is_not_simple_is_left_to_jinja2() -> None:
    for source in (
        "{{ db.password | upper }}",
        "{{ db }}",
        "{{ db.a.b }}",
        "{{ env.x }}",
        "{{ range.x }}",
        "{% raw %}{{ db.x }}{% endraw %}",
        "{# {{ db.x }} #}",
        "{{- db.x }}",
        "{{ db.x }}\r\n",
        "{{ db.x",
    ):
        assert simple.parse(source) is None


SCRIPT = """
import sys, time
from agent.config.model import FormatFile
from agent.core.secret import Reading, Secret
from agent.rendering.formats import render_format
from agent.rendering.templates import check_template, compile_template
from agent.rendering.values import Held

held = {"db": Held(Reading(Secret({"password": "x"}), "1"))}
began = time.process_time()
templates = [compile_template("{{ db.password }}" + str(n), "f") for n in range(1000)]
for template in templates:
    template.render(held, {})
spent = time.process_time() - began
check_template("{{ db.password }}", ["db"])
for form in ("env", "json", "yaml", "toml", "properties", "raw"):
    render_format(FormatFile(format=form, secrets=("db",)), held, "f")
late = {"jinja2", "markupsafe", "cryptography", "difflib"} & set(sys.modules)
print(spent, *late)
"""


def test_a_thousand_of_them_take_no_time_and_no_import() -> None:
    runs = [subprocess.check_output([sys.executable, "-c", SCRIPT], text=True) for _ in range(3)]
    spent, late = zip(*(run.strip().partition(" ")[::2] for run in runs), strict=True)
    assert set(late) == {""}
    assert min(map(float, spent)) < 0.020

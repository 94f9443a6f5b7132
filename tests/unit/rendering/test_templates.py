"""What templates see, what they need, and how they fail."""

from __future__ import annotations

import pytest

from agent.core.errors import RenderError
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.rendering.templates import check_template, compile_template
from agent.rendering.values import Held
from tests.rig.held import held

SECRETS = held(
    {
        "db": {
            "username": "u",
            "password": "p w",
            "items": "I",
            "keys": "K",
            "n": None,
            "on": True,
        },
        "my-app": {
            "user name": "x",
            "tags": ["a", "b"],
            "nested": {"items": 1, "deep": {"x": "y"}},
        },
        "range": {"x": "shadowed"},
        "files": {"binary": b"\xff\0\xfe", "text": "é\n".encode()},
    }
)


def rendered(source: str, **environment: str) -> bytes:
    return compile_template(source, "app.file").render(SECRETS, environment)


def refusal(source: str) -> str:
    with pytest.raises(RenderError) as caught:
        rendered(source)
    assert caught.value.__context__ is None, "a traceback would print the foreign exception"
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ db.password }}", "p w"),
        ('{{ secrets["my-app"]["user name"] }}', "x"),
        ("{{ secrets.db.username }}:{{db['password']}}@\n", "u:p w@\n"),
        ("nothing to see\n\n", "nothing to see\n\n"),
        ("", ""),
        ("{{ db.items }}{{ db['keys'] }}", "IK"),
        ("{{ db.items|lower }}", "i"),
        ("{{ db.n }}|{{ db.on }}", "|true"),
        ('{{ secrets["my-app"].tags }}', '["a","b"]'),
        ('{{ secrets["my-app"].nested.items }}', "1"),
        ('{{ secrets["my-app"].nested.deep.items() | list }}', '[["x","y"]]'),
        (
            '{% for k, v in secrets["my-app"] | items %}{{ k }};{% endfor %}',
            "user name;tags;nested;",
        ),
        ("{% for k, v in db | dictsort %}{{ k }}={{ v }};{% endfor %}", None),
        ("{{ 'x' if 'nope' in db else 'y' }}", "y"),
        ("{{ db.nope | default('d') }}", "d"),
        ("{% if db.nope is defined %}a{% else %}b{% endif %}", "b"),
        ("{% set db = 'own' %}{{ db }}", "own"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{% for db in ['a'] %}{{ db }}{% endfor %}", "a"),
        ('{{ secrets["range"].x }}', "shadowed"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(db.username) }}", "<u>"),
        ("{# a comment #}{{ '<&>' }}", "<&>"),
        ("{{ files.text }}|", "é\n|"),
    ],
)
def test_templates_see_fields(source: str, text: str | None) -> None:
    if text is None:
        text = "items=I;keys=K;n=;on=true;password=p w;username=u;"
    assert rendered(source).decode() == text


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ db.password }}", {"db"}),
        ('{{ secrets["my-app"].x ~ secrets.web.y }}', {"my-app", "web"}),
        ('{{ meta("db").version }}', {"db"}),
        ("{% set a = 1 %}{{ a }}{% for b in db %}{{ b }}{% endfor %}", {"db"}),
        ("{% if x.y %}{{ z.y }}{% endif %}", {"x", "z"}),
        ("{{ range(3) | list }}{{ dict(a=1) | tojson }}{{ env('A') }}", set()),
        ("plain", set()),
    ],
)
def test_what_a_template_needs_is_known_beforehand(source: str, names: set[str]) -> None:
    assert compile_template(source, "x").secrets == names


def test_meta_tells_what_is_known_about_a_secret() -> None:
    lease = Lease("database/creds/app/1", Term(0.0, 60.0, True, 60.0))
    reading = Reading(Secret({"a": 1}), "7", lease, metadata={"owner": "me"})
    template = compile_template(
        "{% set m = meta('db') %}{{ m.version }} {{ m.expires_at }} {{ m.lease_id }}"
        " {{ m.custom_metadata.owner }}",
        "x",
    )
    text = template.render({"db": Held(reading, 1_000_000_000.0)}, {})
    assert text == b"7 2001-09-09T01:46:40Z database/creds/app/1 me"
    without = Held(Reading(Secret({}), "7", metadata={"owner": "me"}))
    assert template.render({"db": without}, {}) == b"7   me"


def test_env_reads_the_environment() -> None:
    assert rendered('{{ env("HOME") }}{{ env("NOPE", "x") }}', HOME="/root") == b"/rootx"
    assert refusal('\n{{ env("NOPE") }}').startswith(
        "app.file:2: environment variable NOPE is not set"
    )


@pytest.mark.parametrize(
    "source",
    ["{{ files.binary }}", "{{ files.binary }}\n", "{{ files.binary | b64encode | b64decode }}\n"],
)
def test_a_template_of_one_value_gives_its_bytes_as_they_are(source: str) -> None:
    assert rendered(source) == b"\xff\0\xfe"


@pytest.mark.parametrize(
    "source",
    [
        "x{{ files.binary }}",
        "{{ files.binary }} ",
        "{{ 'a' ~ files.binary }}",
        "{{ files.binary|upper }}",
        "{{ files | tojson }}",
        "{{ '%s' % files.binary }}",
        "{{ '{}'.format(files.binary) }}",
    ],
)
def test_bytes_that_are_no_text_are_not_taken_for_text(source: str) -> None:
    assert refusal(source) == (
        "app.file:1: binary data in a text; use b64encode, or let it be the whole file"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "\n{{ db.pasword }}",
            'app.file:2: db has no field "pasword"'
            " (it has username, password, items, keys, n, on); did you mean password?",
        ),
        (
            '{{ secrets["files"]["nope"] | upper }}',
            'app.file:1: files has no field "nope" (it has binary, text)',
        ),
        (
            "{{ files.items() }}",
            'app.file:1: files has no field "items" (it has binary, text);'
            " to go over its fields, write files | items",
        ),
        ("{{ dbs.password }}", 'app.file:1: there is no secret "dbs"; did you mean db?'),
        ("{{ dbs.password | upper }}", 'app.file:1: there is no secret "dbs"; did you mean db?'),
        (
            "{{ files }}",
            "app.file:1: files is not one value (binary, text): name a field, or use tojson",
        ),
        ("\n\n{{ db.username.nope }}", "app.file:3: there is no nope in this value"),
        ("{{ db.username.__class__ }}", "app.file:1: there is no __class__ in this value"),
        ("{{ [db.on].append(1) }}", "app.file:1: there is no append in this value"),
        ("{{ meta('db').nope }}", "app.file:1: meta of db has no field"),
        ("{{ range }}", "app.file:1: a function has no text"),
        ("{{ db.username | map('upper') }}", "app.file:1: a generator has no text"),
        ("a\n{{ 1 + db.username }}", "app.file:2: TypeError; its text is withheld"),
        ("{{ range(1000000) | list }}", "app.file:1: OverflowError; its text is withheld"),
        ("{{ 9 ** (9 ** 9) }}", "app.file:1: a result larger than"),
        ("{{ 'ab' * 10000000 }}", "app.file:1: a result larger than"),
        ("{{ 100000000 * [db.on] }}", "app.file:1: a result larger than"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "app.file:1: RecursionError"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(source: str, reason: str) -> None:
    assert refusal(source).startswith(reason)


def test_an_endless_output_is_cut_off() -> None:
    line = "x" * 2000
    loop = "{% for i in range(99999) %}"
    source = loop + loop + line + "{% endfor %}{% endfor %}"
    assert refusal(source) == "app.file: longer than 16777216 bytes"


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ("{{ db.password }}\n{{ secrets['my-db'].x | upper }}", []),
        ("\n{{ nope.x }}", ['line 2: there is no secret "nope"']),
        ("{{ my.x }}", ['line 1: there is no secret "my"; did you mean secrets["my-db"]?']),
        ("{{ my-db.x }}", ['line 1: there is no secret "my"; did you mean secrets["my-db"]?']),
        (
            "{{ a.x | upper }}\n{{ b.x }}",
            ['line 1: there is no secret "a"', 'line 2: there is no secret "b"'],
        ),
        (
            "{{ secrets[x] }}\n{{ meta(db.x) }}\n{{ secrets | tojson }}",
            [
                'line 1: secrets takes a literal name, as secrets["app"],',
                'line 2: meta takes a literal name, as meta("app"),',
                'line 3: secrets takes a literal name, as secrets["app"],',
            ],
        ),
        ("{{ env(db.x) }}", ['line 1: env takes a literal name, as env("HOME"),']),
        ("{% set meta = 1 %}", ["line 1: meta is the agent's own name and can't be set"]),
        ("{% for env in db %}{% endfor %}", ["line 1: env is the agent's own name"]),
        ("{% include 'x' %}", ["line 1: a template can't take in other files"]),
        ("a\n{% extends 'x' %}", ["line 2: a template can't take in other files"]),
        ("{% import 'x' as y %}", ["line 1: a template can't take in other files"]),
        ("a\nb {{ db.", ["line 2: "]),
        ("{% if %}", ["line 1: "]),
        ("\n{{ db.x | nope }}", ["line 2: No filter named 'nope'."]),
        ("{{ db.x | random }}", ["line 1: No filter named 'random'."]),
        ("{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", ["line 1: nested too deeply"]),
    ],
)
def test_a_check_finds_every_problem(source: str, problems: list[str]) -> None:
    found = check_template(source, {"db", "my-db"})
    assert len(found) == len(problems)
    for line, expected in zip(found, problems, strict=True):
        assert line.startswith(expected)
    if found and "no secret" not in found[0]:
        with pytest.raises(RenderError) as caught:
            compile_template(source, "app.file")
        assert caught.value.__context__ is None


def test_a_template_is_compiled_once() -> None:
    one = compile_template("{{ db.password | upper }}", "a")
    two = compile_template("{{ db.password | upper }}", "b")
    assert one._body is two._body
    assert (one.place, two.place) == ("a", "b")

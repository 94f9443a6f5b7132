"""Templates of consul-template: translated, or named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.migrating.jinja_writer import translate
from agent.migrating.secret_book import SecretBook
from agent.rendering.templates import check_template, compile_template

APP = '{{ with secret "secret/data/app" }}%s{{ end }}'


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("{{ .Data.data.x }}", "{{ app.x }}"),
        ('{{ index .Data.data "my-key" }}', '{{ app["my-key"] }}'),
        ("{{- .Data.data.x -}} \n y", "{{ app.x }}y"),
        ("{{/* why */}}z", "{# why #}z"),
        ("{{ .Data.metadata.version }}", '{{ meta("app").version }}'),
        ("{{ .LeaseID }}", '{{ meta("app").lease_id }}'),
        ('{{ printf "%s@%s" .Data.data.u "h" }}', "{{ app.u }}@h"),
        ("{{ .Data.data.x | toUpper | base64Encode }}", "{{ app.x | upper | b64encode }}"),
        ("{{ if .Data.data.x }}a{{ end }}", "{% if app.x | default(false) %}a{% endif %}"),
        (
            "{{ range $k, $v := .Data.data }}{{ $k }}={{ $v }};{{ end }}",
            "{% for k, v in app | dictsort(true) %}{{ k }}={{ v }};{% endfor %}",
        ),
        (
            "{{ if eq .Data.data.e 1 }}a{{ else if .Data.data.b }}b{{ else }}c{{ end }}",
            '{% if (app.e | default("")) == 1 %}a{% elif app.b | default(false) %}b'
            "{% else %}c{% endif %}",
        ),
        ("{% raw %} {# { ", '{{ "{" }}% raw %} {{ "{" }}# { '),
    ],
)
def test_translated(inside: str, expected: str) -> None:
    book = SecretBook()
    result = translate(APP % inside, book)
    assert not result.problems and result.text == expected
    assert check_template(result.text, [each.name for each in book.entries]) == []
    assert [each.path for each in book.entries] == ["secret/data/app"]


@pytest.mark.parametrize(
    ("template", "line", "says"),
    [
        ('a\n{{ key "x" }}', 2, "key: Consul"),
        ("{{ timestamp }}", 1, "timestamp: it is another"),
        ('{{ range secrets "secret/" }}{{ . }}{{ end }}', 1, "secrets: paths are not listed"),
        ('{{ define "x" }}y{{ end }}', 1, "define: parts"),
        (APP % "\n\n{{ .Data.data }}", 3, "use toJSON"),
        (APP % "{{ .Data.x }}", 1, "nothing in KV version 2"),
        (APP % "{{ .Auth.ClientToken }}", 1, ".Auth of an answer"),
        ("{{ .Data.x }}", 1, "no secret is at hand"),
        ("{{ $x }}", 1, "$x is not set before"),
        ("{{ nonsense 1 }}", 1, "nonsense: there is no such function"),
        ("{{ if }}x{{ end }}", 1, "a value is missing"),
        ("{{ if true }}x", 1, "if without an end"),
        ("x{{ end }}", 1, "end without a beginning"),
        ('\n{{ "a', 2, "no part of a template"),
        ("{{ secret (env (env `X`)) }}", 1, "env: only with a literal name"),
        ('{{ printf "%q" 1 }}', 1, "printf: only %s"),
        ("{{" + "(" * 100 + "1" + ")" * 100 + "}}", 1, "nested too deeply"),
        ("{{ if true }}" * 100, 1, "nested too deeply"),
        ("{{ range $i := loop 3 }}{{ $i = 2 }}{{ end }}", 1, "of its own"),
        ('{{ regexReplaceAll "(" "x" "y" }}', 1, "no such pattern"),
    ],
)
def test_named(template: str, line: int, says: str) -> None:
    result = translate(template, SecretBook())
    assert any(line == at and says in text for at, text in result.problems), result.problems


def test_secrets_have_good_names_and_variables_never_hide_them() -> None:
    book = SecretBook()
    source = """{{ $app := "x" }}{{ with secret "secret/data/app" }}{{ $app }}{{ .Data.data.y }}
    {{ end }}{{ with secret "database/creds/ro" }}{{ .Data.username }}{{ end }}
    {{ with secret "pki/issue/web" "common_name=a" }}{{ .Data.certificate }}{{ end }}
    {{ with secret "pki/issue/web" "common_name=b" }}{{ .Data.certificate }}{{ end }}
    {{ with secret "kv/env" }}{{ .Data.y }}{{ end }}{{ with secret "kv/9/ü" }}{{ .Data.y }}{{ end }}
    {{ with secret "secret/data/app?version=3" }}{{ .Data.data.y }}{{ end }}"""
    result = translate(source, book)
    assert not result.problems
    names = {each.name: each for each in book.entries}
    assert list(names) == ["app_2", "database_ro", "pki_web", "pki_web_2", "env_2", "s_9", "app_3"]
    assert names["pki_web_2"].data == {"common_name": "b"} and names["app_3"].version == 3
    assert compile_template(result.text, "").secrets == set(names)


def test_the_environment_may_be_in_a_path() -> None:
    book = SecretBook()
    translate('{{ (secret (printf "kv/%s/${x}" (env "APP")) ).Data.a }}', book)
    assert [each.path for each in book.entries] == ["kv/${APP}/$${x}"]


_ACTIONS = st.sampled_from(
    [
        *("{{", "}}", "{{- ", " -}}", "{{ end }}", "{{ else }}", "{{ if .a }}", "{{ . }}", "|"),
        *("{{ range $k, $v := . }}", '{{ with secret "a/b" }}', "{{ .Data }}", "{{ .Data.x }}"),
        *("{{ $x := 1 }}", "{{ $x = 2 }}", "{{ $x }}", "toJSON", "printf", '"%s"', "{%", "{#", "{"),
        *("(", ")", "$k", ".Data.data.y", "index", "\r\n", "0x", "`", '"', "{{/*", "*/}}", "\\"),
    ]
)


@given(st.lists(_ACTIONS | st.text(max_size=4), max_size=25).map(" ".join))
def test_a_template_is_translated_or_named(source: str) -> None:
    book = SecretBook()
    result = translate(source, book)
    if result.problems:
        assert all(each.text and each.line >= 0 for each in result.problems)
    else:
        assert check_template(result.text, [each.name for each in book.entries]) == [], result.text


@given(st.text(max_size=40))
def test_a_text_stays_as_it_is(source: str) -> None:
    text = source.replace("{{", "{ {")
    result = translate(text, SecretBook())
    assert not result.problems
    assert compile_template(result.text, "").render({}, {}) == text.encode()

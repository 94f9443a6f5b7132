"""HCL as the other agents read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.migrating.findings import Unreadable
from agent.migrating.hcl import Object, parse_hcl


def plain(value: object) -> object:
    """Objects as lists of pairs."""
    if isinstance(value, Object):
        return [(item.key, *item.labels, plain(item.value)) for item in value.items]
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a = "x"\n# b\nc = 1 // d\n/* e\n */ f = true', [("a", "x"), ("c", 1), ("f", True)]),
        ("perms = 0640", [("perms", 0o640)]),
        ("a = 1.5 b = -2, c = 0x1F", [("a", 1.5), ("b", -2), ("c", 31)]),
        ('m "approle" { "k" = ["x", 1,] }', [("m", "approle", [("k", ["x", 1])])]),
        ('c { d = {} } c = { e = "f" }', [("c", [("d", [])]), ("c", [("e", "f")])]),
        (r'a = "q\"\n\t\u00e9\\"', [("a", 'q"\n\té\\')]),
        (r'a = "${HOME:-"/root"} \"x\""', [("a", '${HOME:-"/root"} "x"')]),
        ("a = <<E\n  x \\n ${y} %{z}\n E\nE\n", [("a", "  x \\n ${y} %{z}\n E\n")]),
        ("a = <<-E\n    x\n      y\n    E\nb = 1", [("a", "x\n  y\n"), ("b", 1)]),
        ("a = <<-E\n  x\n    y\n    E\n", [("a", "  x\n    y\n")]),
        ('{"a": {"b": 1}, "c": [{"d": 2}, {"d": 3}]}', None),
    ],
)
def test_values(text: str, expected: object) -> None:
    if expected is None:
        expected = [("a", [("b", 1)]), ("c", [("d", 2)]), ("c", [("d", 3)])]
    assert plain(parse_hcl(text)) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a = "x', 1),
        ("a {\n b = \n}", 3),
        ("a = <<E\nx\n", 2),
        ("\n= 1", 2),
        ('a "b" = 1', 1),
        ("a = [1 2]", 1),
        (r'a = "\q"', 1),
        ("a = {" * 60, 1),
        ('a = "${x"', 1),
        ('{"a": }', 1),
        ('{"a":' * 500, 0),
    ],
)
def test_what_can_not_be_read_has_its_line(text: str, line: int) -> None:
    with pytest.raises(Unreadable) as told:
        parse_hcl(text)
    assert told.value.line in (line, 1)


_PARTS = st.sampled_from(
    ['a = "b"', "x {", "}", "<<E\n", "E\n", '"', "${", "=", "[", "]", ",", "0x", "#", "\n", "/*"]
)


@given(st.lists(_PARTS | st.text(max_size=5)).map("".join))
def test_it_reads_or_says_why(text: str) -> None:
    try:
        assert isinstance(parse_hcl(text), Object)
    except Unreadable as error:
        assert error.reason

"""The functions that templates call, each with its translation or its refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from agent.migrating.symbols import Code, Untranslatable, loose, text_code

Translation = Callable[..., Code]

_GO_GROUP = re.compile(r"\$(?:\{(\w+)\}|(\w+)|\$)")


def translated(name: str, arguments: list[Code]) -> Code:
    """The call as Jinja; the piped value is the last argument, as in Go."""
    if name not in FUNCTIONS:
        why = UNTRANSLATED.get(name, "there is no such function with us")
        raise Untranslatable(f"{name}: {why}")
    least, most, make = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise Untranslatable(f"{name}: with {len(arguments)} arguments it is no valid call")
    return make(*arguments)


def _filter(*filters: str) -> Translation:
    return lambda value: value.filtered(*filters)


def _operator(sign: str) -> Translation:
    return lambda left, right: loose(f"{_present(left)} {sign} {_present(right)}")


def _present(value: Code) -> str:
    """What isn't there is the empty text in a comparison."""
    return f'({value.text} | default(""))' if value.optional else value.atom


def _truth(value: Code) -> str:
    return f"({value.text} | default(false))" if value.optional else value.atom


def _eq(left: Code, *others: Code) -> Code:
    if len(others) == 1:
        return _operator("==")(left, others[0])
    return loose(f"{_present(left)} in [{', '.join(each.text for each in others)}]")


def _joined(word: str) -> Translation:
    return lambda *values: Code(f" {word} ".join(_truth(each) for each in values), len(values) == 1)


def _not(value: Code) -> Code:
    return loose(f"not {_truth(value)}")


def _index(value: Code, *keys: Code) -> Code:
    for key in keys:
        if key.literal is None or key.kind == "number":
            value = Code(f"{value.atom}[{key.text}]", optional=True)
        else:
            value = value.field(key.literal)
    return value


def _method(name: str) -> Translation:
    return lambda argument, value: Code(f"{value.atom}.{name}({argument.text})")


def _split(separator: Code, value: Code) -> Code:
    trimmed = f"({value.filtered('trim').text})"
    return Code(f"({trimmed}.split({separator.text}) if {trimmed} else [])", kind="list")


def _regex_replace(pattern: Code, replacement: Code, value: Code) -> Code:
    if pattern.literal is None or replacement.literal is None:
        raise Untranslatable("regexReplaceAll: only with a literal pattern and replacement")
    try:
        re.compile(pattern.literal)
    except (re.error, RecursionError, OverflowError):
        raise Untranslatable("regexReplaceAll: Python has no such pattern") from None
    python = _GO_GROUP.sub(_group, replacement.literal.replace("\\", r"\\"))
    arguments = f"{pattern.text}, {text_code(python).text}"
    return value.filtered(f"regex_replace({arguments})")


def _group(match: re.Match[str]) -> str:
    return "$" if match[0] == "$$" else rf"\g<{match[1] or match[2]}>"


def _env(name: Code) -> Code:
    fixed = f"${{{name.literal}}}" if re.fullmatch(r"[A-Za-z_]\w*", name.literal or "") else None
    return Code(f'env({_variable(name)}, "")', fixed=fixed)


def _variable(name: Code) -> str:
    if name.literal is None:
        raise Untranslatable("env: only with a literal name")
    return name.text


def _printf(form: Code, *values: Code) -> Code:
    """By concatenation: what a value looks like is the same as when it is put out."""
    parts = format_parts(form, values)
    fixed = [each.fixed for each in parts]
    whole = None if None in fixed else "".join(each or "" for each in fixed)
    return Code(" ~ ".join(each.atom for each in parts) or '""', len(parts) < 2, fixed=whole)


def format_parts(form: Code, values: tuple[Code, ...]) -> list[Code]:
    """The texts and values of a printf in order; %s, %v and %d of what has them alike."""
    if form.literal is None:
        raise Untranslatable("printf: only with a literal format")
    parts: list[Code] = []
    left = list(values)
    for piece in re.split(r"(%.?)", form.literal):
        if not piece.startswith("%"):
            parts += [text_code(piece)] if piece else []
        elif piece == "%%":
            parts.append(text_code("%"))
        elif piece in ("%s", "%v", "%d") and left:
            parts.append(left.pop(0))
        else:
            raise Untranslatable("printf: only %s, %v, %d and %%, each with its value")
    if left:
        raise Untranslatable("printf: there are more values than places")
    return parts


def _loop(*bounds: Code) -> Code:
    return Code(f"range({', '.join(each.text for each in bounds)})", kind="list")


FUNCTIONS: Mapping[str, tuple[int, int, Translation]] = {
    "add": (2, 2, lambda b, a: loose(f"{a.atom} + {b.atom}")),
    "and": (1, 20, _joined("and")),
    "base64Decode": (1, 1, _filter("b64decode")),
    "base64Encode": (1, 1, _filter("b64encode")),
    "contains": (2, 2, lambda v, many: loose(f"{v.atom} in {_present(many)}")),
    "env": (1, 1, _env),
    "envOrDefault": (2, 2, lambda name, other: Code(f"env({_variable(name)}, {other.text})")),
    "eq": (2, 20, _eq),
    "ge": (2, 2, _operator(">=")),
    "gt": (2, 2, _operator(">")),
    "in": (2, 2, lambda many, v: loose(f"{v.atom} in {_present(many)}")),
    "indent": (2, 2, lambda n, v: v.filtered(f"indent({n.text}, true)")),
    "index": (2, 20, _index),
    "join": (2, 2, lambda sign, v: v.filtered(f"join({sign.text})")),
    "le": (2, 2, _operator("<=")),
    "len": (1, 1, _filter("length")),
    "loop": (1, 2, _loop),
    "lt": (2, 2, _operator("<")),
    "maximum": (2, 2, lambda b, a: loose(f"[{a.text}, {b.text}] | max")),
    "minimum": (2, 2, lambda b, a: loose(f"[{a.text}, {b.text}] | min")),
    "modulo": (2, 2, lambda b, a: loose(f"{a.atom} % {b.atom}")),
    "multiply": (2, 2, lambda b, a: loose(f"{a.atom} * {b.atom}")),
    "mustEnv": (1, 1, lambda name: Code(f"env({_variable(name)})")),
    "ne": (2, 2, _operator("!=")),
    "not": (1, 1, _not),
    "or": (1, 20, _joined("or")),
    "parseInt": (1, 1, _filter("int")),
    "parseJSON": (1, 1, _filter("from_json")),
    "parseYAML": (1, 1, _filter("from_yaml")),
    "print": (1, 1, lambda value: value),
    "printf": (1, 20, _printf),
    "regexReplaceAll": (3, 3, _regex_replace),
    "replaceAll": (3, 3, lambda old, new, v: v.filtered(f"replace({old.text}, {new.text})")),
    "sha256Hex": (1, 1, _filter("sha256")),
    "split": (2, 2, _split),
    "subtract": (2, 2, lambda b, a: loose(f"{a.atom} - {b.atom}")),
    "toJSON": (1, 1, _filter("tojson")),
    "toJSONPretty": (1, 1, _filter("tojson(indent=2)")),
    "toLower": (1, 1, _filter("lower")),
    "toTOML": (1, 1, _filter("to_toml", "trim")),
    "toUnescapedJSON": (1, 1, _filter("tojson")),
    "toUnescapedJSONPretty": (1, 1, _filter("tojson(indent=2)")),
    "toUpper": (1, 1, _filter("upper")),
    "toYAML": (1, 1, _filter("to_yaml", "trim")),
    "trim": (2, 2, lambda cut, v: v.filtered(f"trim({cut.text})")),
    "trimPrefix": (2, 2, _method("removeprefix")),
    "trimSpace": (1, 1, _filter("trim")),
    "trimSuffix": (2, 2, _method("removesuffix")),
    "urlquery": (1, 1, _filter("urlencode", 'replace("/", "%2F")', 'replace("%20", "+")')),
}
"""By name: the fewest and most arguments, and what makes Jinja of them."""

LOOKS_OTHERWISE: Mapping[str, str] = {
    "toJSON": "<, > and & are written as they are, and not as \\u003c, \\u003e and \\u0026",
    "toJSONPretty": "<, > and & are written as they are, and not as \\u003c, \\u003e and \\u0026",
    "toYAML": "the same data, quoted in more places",
    "toTOML": "the same data, in the store's order",
}
"""Translated, with other bytes for the same data."""

_CONSUL = "Consul is no store of ours; keep consul-template for what comes from there"
_NOMAD = "Nomad is no store of ours; keep consul-template for what comes from there"
_ALWAYS_NEW = "it is another at each rendering, and would be a change each time; leave it out"

UNTRANSLATED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("caLeaf", "caRoots", "connect", "datacenters", "exportedServices"),
            *("importedServices", "key", "keyExists", "keyOrDefault", "ls", "node", "nodes"),
            *("partitions", "peerings", "safeLs", "safeTree", "service", "services", "tree"),
            *("byKey", "byMeta", "byPort", "byTag"),
        ),
        _CONSUL,
    ),
    **dict.fromkeys(
        (
            *("nomadService", "nomadServices", "nomadVar", "nomadVarExists", "nomadVarList"),
            "nomadVarListSafe",
        ),
        _NOMAD,
    ),
    "secrets": "paths are not listed; name each secret that is needed under secrets:",
    "file": "other files are not read; put the text into the template",
    "executeTemplate": "a template takes in no other; write it out",
    "scratch": "use {% set %}, or a namespace",
    "timestamp": _ALWAYS_NEW,
    "sockaddr": "give the address by an environment variable, and use env",
    "plugin": "no program is run while rendering; run it in notify, or before the start",
    "writeToFile": "make it a file of the bundle",
    "toTitle": "Jinja's title makes the rest lower case; use it if that will do",
    "divide": "Go's division depends on types; write / or // in Jinja",
    "md5sum": "there is sha256 only",
    "hmacSHA256Hex": "there is sha256 only",
    "explode": "write out the fields, or use a format such as json",
    "println": "write the line into the template",
    "html": "there is no such filter that gives the same text",
    "js": "there is no such filter that gives the same text",
}
"""Known, and without a counterpart: what to do instead."""

"""The configuration that comes out of an import, as it grows."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agent.migrating.findings import Findings, one_line
from agent.migrating.secret_book import SecretBook, Wanted
from agent.migrating.yaml_text import KeyPath, Verbatim, yaml_text

STORE = "vault"
_TWO_VERSIONS = "templates take it for KV version 1 and for version 2; see which of them is right"
SECTIONS = ("stores", "secrets", "bundles", "listeners", "process", "cache", "telemetry", "log")


class Leftover(msgspec.Struct, frozen=True):
    """A template that could not be translated, kept as a comment."""

    title: str
    text: str


class Draft(msgspec.Struct):
    """A tree of keys with comments. `secrets` are written at the end, from the book."""

    findings: Findings
    book: SecretBook = msgspec.field(default_factory=SecretBook)
    tree: dict[str, Any] = msgspec.field(default_factory=dict)
    comments: dict[KeyPath, str] = msgspec.field(default_factory=dict)
    leftovers: list[Leftover] = msgspec.field(default_factory=list)
    freshness: dict[str, Any] = msgspec.field(default_factory=dict)
    """What each secret has: `refresh_every`, `renew_at`."""

    def put(self, path: KeyPath, value: Any, comment: str = "") -> None:
        """Set a key, unless the value is None; mappings on the way are made."""
        if value is None:
            return
        at = self.tree
        for step in path[:-1]:
            at = at.setdefault(str(step), {})
        at[str(path[-1])] = value
        if comment:
            self.comments[path] = comment

    def make_trial(self) -> None:
        """Files only: nobody is told, and nothing is taken from the other agent."""
        for section in ("listeners", "process", "cache", "telemetry"):
            self.tree.pop(section, None)
        for bundle in self.tree.get("bundles", {}).values():
            bundle.pop("notify", None)
            bundle.pop("notify_first", None)
        auth = self.tree["stores"][STORE]["auth"]
        if auth["method"] == "approle":
            auth["remove_secret_id_file"] = False

    def origin(self, line: int) -> str:
        """For comments: where in the source something came from."""
        return f"{self.findings.file}:{line}" if line else self.findings.file

    def text(self) -> str:
        """The whole file."""
        self._put_secrets()
        tree = {name: self.tree[name] for name in SECTIONS if self.tree.get(name)}
        parts = [self._head(), yaml_text(tree, self.comments), *map(_as_comment, self.leftovers)]
        return "\n".join(parts)

    def _head(self) -> str:
        lines = [f"# Imported from {one_line(self.findings.file)}. Read it, then try it:"]
        lines.append("#   leasehold check -c FILE --live")
        left = [each for each in self.findings.all if each.by_hand]
        if left:
            lines += ["#", "# Left to be done by hand:"]
            lines += [f"# - {self._said(each.line, each.subject, each.text)}" for each in left]
        return "\n".join(lines) + "\n"

    def _said(self, line: int, subject: str, text: str) -> str:
        return one_line(f"{f'line {line}: ' if line else ''}{subject}: {text}")

    def _put_secrets(self) -> None:
        for wanted in self.book.entries:
            path = ("secrets", wanted.name)
            if wanted.fields_of_kv and wanted.fields_of_all:
                self.findings.by_hand(0, f"secret {wanted.path}", _TWO_VERSIONS)
            self.put(path, self._entry(wanted), one_line(f"for {', '.join(wanted.places)}"))

    def _entry(self, wanted: Wanted) -> dict[str, Any]:
        entry: dict[str, Any] = {"path": Verbatim(wanted.path)}
        if wanted.data is not None:
            entry["data"] = {key: Verbatim(value) for key, value in wanted.data.items()}
        if wanted.version is not None:
            entry["version"] = wanted.version
        return entry | self.freshness


def duration(seconds: float) -> str:
    """`90s`, `1.5s`: as our configuration has it."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def name_of(text: str) -> str:
    """A name for a bundle, from a directory."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")
    return plain if plain[:1].isalpha() else f"d-{plain}".rstrip("-")


def _as_comment(leftover: Leftover) -> str:
    lines = [f"# {one_line(leftover.title)}", *leftover.text.splitlines()]
    return "\n".join([lines[0], *(f"#   {one_line(each)}".rstrip() for each in lines[1:])]) + "\n"

"""What one section says of another: stores and secrets by name, templates, directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import kinds
from agent.config.host import Host, is_readable_file
from agent.config.report import KeyPath, Place, Report, permitted
from agent.config.tree import Mapping, Text
from agent.config.walk import Observers, Site

TemplateCheck = Callable[[str, Collection[str]], list[str]]
"""(source, names of the secrets) → problems, each of which may start with `line N: `."""
TemplateSecrets = Callable[[str], Collection[str]]
"""(source of a template without problems) → the secrets that it needs."""

_LINE = re.compile(r"line ([0-9]+): (.*)", re.DOTALL)


@dataclass
class Templates:
    """The room above, which knows templates; without it they are not judged."""

    check: TemplateCheck | None = None
    secrets: TemplateSecrets | None = None


@dataclass
class References:
    """Gathers while the tree is walked. Names count as known even if their entry has a problem."""

    tree: Mapping
    host: Host
    templates: Templates
    directories: dict[Path, list[tuple[str, Place]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stores, self.secrets = _names(self.tree, "stores"), _names(self.tree, "secrets")
        self.bundles = _names(self.tree, "bundles")
        self._used: set[str] = set()
        self._is_every_use_known = True

    def observers(self) -> Observers:
        return {
            kinds.STORE: self._store,
            kinds.SECRET: self._secret,
            kinds.BUNDLE_FILE: self._bundle_file,
            kinds.TEMPLATE: self._template,
            kinds.TEMPLATE_FILE: self._template_file,
        }

    def has_directory(self, bundle: str, directory: Path, place: Place) -> None:
        self.directories.setdefault(directory, []).append((bundle, place))

    def is_served(self, secrets: Collection[str]) -> None:
        """A listener may give these away."""
        self._used.update(secrets)

    def type_of(self, store: str) -> str | None:
        """As it stands in the configuration; None where it can't be told."""
        stores = self.tree.entries.get("stores")
        entry = stores.entries.get(store) if isinstance(stores, Mapping) else None
        kind = entry.entries.get("type") if isinstance(entry, Mapping) else None
        return kind.text if isinstance(kind, Text) else None

    def finish(self, report: Report) -> None:
        """What is known only at the end."""
        for path, place, text in self._overlaps():
            report.problem(place, path, text)
        if self._is_every_use_known:
            for name, place in self.secrets.items():
                if name not in self._used:
                    text = "is used by no file, no variable and no listener"
                    report.warning(place, ("secrets", name), text)

    def _store(self, name: str, site: Site) -> None:
        if name not in self.stores:
            known = permitted(site.node.written, self.stores)
            site.problem(f"unknown store {site.node.shown}{known}")

    def _secret(self, name: str, site: Site) -> None:
        self._used.add(name)
        if name not in self.secrets:
            known = permitted(site.node.written, self.secrets)
            site.problem(f"unknown secret {site.node.shown}{known}")

    def _bundle_file(self, name: str, site: Site) -> None:
        bundles = self.tree.entries["bundles"]
        assert isinstance(bundles, Mapping)  # noqa: S101  # the site is inside of it
        bundle = bundles.entries[str(site.path[1])]
        assert isinstance(bundle, Mapping)  # noqa: S101
        files = _names(bundle, "files")
        if name not in files:
            site.problem(f"unknown file {site.node.shown}{permitted(site.node.written, files)}")

    def _template(self, source: str, site: Site) -> None:
        told = set(self._judge(site.node.written)) if site.node.is_from_environment else None
        for line, text in self._judge(source):
            if told is not None and (line, text) not in told:
                # It may quote what came from the environment.
                site.problem("is no template once its ${…} are expanded")
            elif site.node.style == "|" and told is None:
                place = Place(site.node.place.file, site.node.place.line + line)
                site.report.problem(place, site.path, text)
            else:
                site.problem(text if line == 1 else f"line {line}: {text}")

    def _template_file(self, path: Path, site: Site) -> None:
        if not is_readable_file(path):
            self._is_every_use_known = False
            self.host.lacks(f"readable file {site.node.shown}", site)
            return
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            site.problem(f"{site.node.shown} can't be used: {reason}")
            return
        for line, text in self._judge(source):
            site.problem(f"{path.name}:{line}: {text}")

    def _judge(self, source: str) -> list[tuple[int, str]]:
        """A template's problems by line; the secrets of a sound one are noted."""
        problems = self.templates.check(source, self.secrets.keys()) if self.templates.check else []
        if self.templates.secrets is None or problems:
            self._is_every_use_known = False
        else:
            self._used.update(self.templates.secrets(source))
        found = [(_LINE.fullmatch(each), each) for each in problems]
        return [(int(match[1]), match[2]) if match else (1, text) for match, text in found]

    def _overlaps(self) -> Iterator[tuple[KeyPath, Place, str]]:
        for directory, bundles in self.directories.items():
            first = f"bundles.{bundles[0][0]}"
            for name, place in bundles[1:]:
                yield ("bundles", name, "directory"), place, f"is the directory of {first}, too"
            for parent in directory.parents:
                if parent in self.directories:
                    owner = f"bundles.{self.directories[parent][0][0]}"
                    path = ("bundles", bundles[0][0], "directory")
                    yield path, bundles[0][1], f"is inside the directory of {owner}"


def _names(tree: Mapping, section: str) -> dict[str, Place]:
    node = tree.entries.get(section)
    if not isinstance(node, Mapping):
        return {}
    return {name: each.place for name, each in node.entries.items()}

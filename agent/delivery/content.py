"""What a bundle's files are made of: templates compiled, formats known, secrets named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from agent.config.model import (
    Bundle,
    Configuration,
    FileEntry,
    FileOptions,
    FormatFile,
    TemplateFile,
)
from agent.core.clock import Clock, wall_at
from agent.core.errors import AgentError, RenderError
from agent.delivery.generations import RenderedFile
from agent.delivery.generations.ownership import gid_of, uid_of
from agent.ledger import Entry
from agent.rendering.formats import render_format
from agent.rendering.templates import compile_template
from agent.rendering.values import Held

MAX_TEMPLATE = 4 * 1024 * 1024


class Source(Protocol):
    """Where one file's bytes come from, and which secrets that needs."""

    secrets: frozenset[str]

    def render(self, held: Mapping[str, Held], environment: Mapping[str, str]) -> bytes: ...


class Format:
    """A file in a known format."""

    def __init__(self, place: str, spec: FormatFile) -> None:
        self.secrets = frozenset(spec.secrets)
        self._place, self._spec = place, spec

    def render(self, held: Mapping[str, Held], environment: Mapping[str, str]) -> bytes:
        return render_format(self._spec, held, self._place)


class Content(msgspec.Struct, frozen=True):
    """A bundle's files, ready to be rendered as often as their secrets change."""

    sources: Mapping[str, Source]
    options: Mapping[str, tuple[int, int | None, int | None]]
    secrets: frozenset[str]

    def render(
        self, held: Mapping[str, Held], environment: Mapping[str, str]
    ) -> dict[str, RenderedFile]:
        """All files; RenderError for the first that can't be."""
        return {
            name: RenderedFile(source.render(held, environment), *self.options[name])
            for name, source in self.sources.items()
        }


def as_held(entry: Entry, clock: Clock) -> Held:
    """What rendering sees of a secret that has a value."""
    assert entry.reading is not None  # noqa: S101  # whoever asks has seen to it
    expires_at = None if entry.expires_at is None else wall_at(clock, entry.expires_at)
    return Held(entry.reading, expires_at)


def load_content(bundle: str, spec: Bundle) -> Content:
    """Read and compile what the files are made of (blocking).

    RenderError for a template that is missing or wrong, DeliveryError for an unknown user or group.
    """
    sources = {name: _source(f"{bundle}.{name}", entry) for name, entry in spec.files.items()}
    return Content(
        sources=sources,
        options={name: _options(spec, entry) for name, entry in spec.files.items()},
        secrets=frozenset().union(*(source.secrets for source in sources.values())),
    )


def template_files(spec: Bundle) -> tuple[Path, ...]:
    """The files whose change makes a new content."""
    return tuple(
        sorted({entry.template for entry in spec.files.values() if isinstance(entry, TemplateFile)})
    )


def _source(place: str, entry: FileEntry) -> Source:
    if isinstance(entry, FormatFile):
        return Format(place, entry)
    if isinstance(entry, TemplateFile):
        return compile_template(_read_template(entry.template), str(entry.template))
    return compile_template(entry.content, place)


def _read_template(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEMPLATE + 1)
        if len(content) > MAX_TEMPLATE:
            raise RenderError(str(path), f"larger than {MAX_TEMPLATE // 1024 // 1024} MiB")
        return content.decode()
    except OSError as error:
        raise RenderError(str(path), f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RenderError(str(path), "is not UTF-8 text") from None


def _options(spec: Bundle, entry: FileOptions) -> tuple[int, int | None, int | None]:
    return (
        spec.mode if entry.mode is None else entry.mode,
        uid_of(entry.owner or spec.owner),
        gid_of(entry.group or spec.group),
    )


def uses_of(configuration: Configuration) -> dict[str, frozenset[str]]:
    """The secrets of each bundle; all of them where a template can't be read just now."""
    uses: dict[str, frozenset[str]] = {}
    for name, spec in configuration.bundles.items():
        try:
            uses[name] = load_content(name, spec).secrets
        except AgentError:
            uses[name] = frozenset(configuration.secrets)
    return uses

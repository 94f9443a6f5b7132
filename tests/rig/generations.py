"""Generations whose files all tell their number, so that a mixture shows."""

from __future__ import annotations

from pathlib import Path

from agent.delivery.generations import Generations, RenderedFile


def generations(
    directory: Path,
    *,
    directory_mode: int = 0o750,
    uid: int | None = None,
    gid: int | None = None,
    allow_disk: bool = False,
) -> Generations:
    """Of a bundle named "app"."""
    return Generations(
        "app",
        directory,
        directory_mode=directory_mode,
        uid=uid,
        gid=gid,
        allow_disk=allow_disk,
    )


def rendered(**contents: str) -> dict[str, RenderedFile]:
    """Files of mode 0440; `__` in a name stands for a slash, `_` for a dot."""
    return {
        name.replace("__", "/").replace("_", "."): RenderedFile(text.encode(), 0o440)
        for name, text in contents.items()
    }


def published(of: Generations, **contents: str) -> int:
    """Write and publish in one go; the number."""
    candidate = of.write(rendered(**contents))
    of.publish(candidate)
    return candidate.number


def names_in(directory: Path) -> set[str]:
    """Everything that stands in a directory, hidden names included."""
    return {path.name for path in directory.iterdir()}

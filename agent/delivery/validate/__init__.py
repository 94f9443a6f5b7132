"""The check of a candidate before it is published: by the agent itself, then by a command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from agent.config.model import Bundle
from agent.core.errors import ValidateError
from agent.delivery.announcement import Announcement, failure, named
from agent.delivery.generations import RenderedFile
from agent.delivery.validate.checks import check_files, pairs


async def validate(
    spec: Bundle,
    files: Mapping[str, RenderedFile],
    candidate_directory: Path,
    announcement: Announcement,
    wall: float,
) -> None:
    """Return if all accept what is in `candidate_directory`; ValidateError if not.

    `files` is what was written there, and `wall` the wall time by which certificates are judged.
    """
    asked = spec.validate
    if (asked is not None and asked.checks) or any(pairs(spec)):
        contents = {name: file.content for name, file in files.items()}
        await asyncio.to_thread(check_files, spec, contents, wall)
    if asked is None or asked.command is None:
        return
    candidate = replace(announcement, directory=candidate_directory)
    if (reason := await failure(asked.command, candidate, asked.timeout)) is not None:
        raise ValidateError(named(asked.command), reason)

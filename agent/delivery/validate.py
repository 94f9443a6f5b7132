"""The check of a candidate before it is published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.config.model import ValidateCommand
from agent.core.errors import ValidateError
from agent.delivery.announcement import Announcement, failure, named


async def validate(
    spec: ValidateCommand, candidate_directory: Path, announcement: Announcement
) -> None:
    """Return if the command accepts what is in `candidate_directory`; ValidateError if not."""
    candidate = replace(announcement, directory=candidate_directory)
    if (reason := await failure(spec.command, candidate, spec.timeout)) is not None:
        raise ValidateError(named(spec.command), reason)

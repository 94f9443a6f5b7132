"""What holds for every story: nothing that the agent wrote has a secret in it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from tests.rig.agent import Start
from tests.rig.scene import MARK

A_SECRET = re.compile(rf"{MARK}|\b[sbr]\.[A-Za-z0-9]{{20,}}")
"""A value of a story, or a token of the server."""


@pytest.fixture
async def leasehold(leasehold: Start) -> AsyncIterator[Start]:
    """The real command. At debug level, over all stories, its output has no secret."""
    yield leasehold
    for each in leasehold.started:
        await each.kill()
        for line in [*each.out, *each.err]:
            assert not A_SECRET.search(line), f"a secret got out: {line}"

"""What the stories about Debian's programs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import apps
from tests.rig.agent import Start
from tests.rig.needs import needs_program, needs_root
from tests.rig.orders import Orders, orders


@pytest.fixture
def host(
    request: pytest.FixtureRequest, memory_directory: Path, leasehold: Start
) -> Iterator[apps.Host]:
    """The page of the test's module: test_nginx.py follows docs/apps/nginx.md."""
    needs_root()
    needs_program("openssl")
    page = request.path.stem.removeprefix("test_")
    with apps.host(page, memory_directory, leasehold) as made:
        yield made


@pytest.fixture
def shop(host: apps.Host) -> Iterator[Orders]:
    """The shop of the page: its database, its vault, its account."""
    with orders(host) as shop:
        yield shop

"""What holds for every story of a deployment: as for those of `flows`, no secret is ever said."""

from __future__ import annotations

from tests.flows.conftest import leasehold

__all__ = ["leasehold"]

"""`make demo`, as a newcomer sees it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
async def test_the_demo_shows_that_no_login_was_refused() -> None:
    demo = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "deploy.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    checks = [line for line in demo.stdout.splitlines() if "✓" in line]
    assert len(checks) >= 3 and "✗" not in demo.stdout, demo.stdout

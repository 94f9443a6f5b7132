"""The README's session without a vault, line by line, in a real shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.rig.agent import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_session_with_the_local_store_does_what_it_says(
    tmp_path: Path, memory_directory: Path
) -> None:
    (session,) = [each for each in BLOCKS if "leasehold local init" in each]
    command = tmp_path / "bin" / "leasehold"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agent "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", session.replace("/dev/shm/app", f"{memory_directory}/app")],
        cwd=tmp_path,
        env={
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nPASSWORD=s3cret\n")

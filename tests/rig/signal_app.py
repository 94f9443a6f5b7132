"""An app that counts the signals that tell it to reload, and can be asked how many came."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

_SCRIPT = """
told=0
trap 'told=$((told + 1))' HUP
trap 'asked=$((asked + 1)); echo "told $told, asked $asked"' USR1
echo ready
while :; do sleep 0.02; done
"""
# Not `read`, with -t or without: bash can miss a signal that comes just before it waits.


class SignalApp:
    """A bash of its own executable, that waits for SIGHUP."""

    def __init__(self, executable: Path, **options: Any) -> None:
        self._process = subprocess.Popen(
            [executable, "--norc", "-c", _SCRIPT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={},
            **options,
        )
        self._asked = 0
        self.pid = self._process.pid
        assert self._line() == "ready"

    def times_told(self) -> int:
        """SIGHUPs by now: where both are pending the kernel delivers SIGHUP before SIGUSR1."""
        self._process.send_signal(signal.SIGUSR1)
        self._asked += 1
        told, _, asked = self._line().partition(", ")
        assert asked == f"asked {self._asked}"
        return int(told.removeprefix("told "))

    def die(self) -> None:
        """Become a zombie: the process has ended and nobody has asked how."""
        self._process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        """Kill it and take note of its end; may be called again."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        return line.rstrip("\n")


def own_executable(folder: Path, name: str = "app") -> Path:
    """A copy of bash: an executable that no other process runs."""
    bash = shutil.which("bash")
    assert bash is not None
    return Path(shutil.copy(bash, folder / name))

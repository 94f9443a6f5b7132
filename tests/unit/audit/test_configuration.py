"""The `audit` section: sizes, syslog's place, and what must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.errors import ConfigurationError
from tests.unit.config.conftest import load_judged


def loaded(tmp_path: Path, audit: str) -> object:
    file = tmp_path / "leasehold.yaml"
    file.write_text(f"audit: {audit}\n")
    return load_judged([file], {}).configuration.audit


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("4096", 4096),
        ('"8192"', 8192),
        ("64MiB", 2**26),
        ("1 GiB", 2**30),
        ("10kB", None),
        ("1T", None),
    ],
)
def test_a_size_has_a_unit_or_none(tmp_path: Path, written: str, size: int | None) -> None:
    section = f"{{file: a, max_size: {written}}}"
    if size is None:
        with pytest.raises(ConfigurationError, match="is no size"):
            loaded(tmp_path, section)
    else:
        assert loaded(tmp_path, section).max_size == size  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("true", "/dev/log"),
        ("/run/log", "/run/log"),
        ("udp:10.0.0.5:514", "udp:10.0.0.5:514"),
        ("tcp:[::1]:601", "tcp:[::1]:601"),
        ("udp:10.0.0.5", None),
        ("tls:10.0.0.5:6514", None),
        ("log", None),
        ("false", None),
    ],
)
def test_syslog_is_somewhere(tmp_path: Path, written: str, where: str | None) -> None:
    section = f"{{syslog: '{written}'}}" if ":" in written else f"{{syslog: {written}}}"
    if where is None:
        with pytest.raises(ConfigurationError, match="syslog"):
            loaded(tmp_path, section)
    else:
        assert loaded(tmp_path, section).syslog == where  # type: ignore[attr-defined]

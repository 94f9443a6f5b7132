"""A PKI's answer, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.secret import Field
from tests.rig.tls import Authority


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Field]:
    """Fields as `pki/issue` gives them: key, certificate, and a chain of one."""
    authority = Authority(tmp_path_factory.mktemp("pki"))
    pair = authority.issue("web.example")
    return {
        "certificate": _pem(pair.cert_file),
        "issuing_ca": _pem(authority.ca_file),
        "ca_chain": [_pem(authority.ca_file)],
        "private_key": _pem(pair.key_file),
        "private_key_type": "ec",
        "serial_number": "17:67",
        "expiration": 1700000000,
    }


def _pem(path: Path) -> str:
    return path.read_text().strip()

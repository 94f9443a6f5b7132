"""A key that systemd's own program has sealed and opened again opens a cache, as is documented."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from tests.rig.kept import NOW, WALL, book, opened
from tests.rig.needs import needs_program

NAME = "--name=cache-key"


def test_a_key_from_an_encrypted_credential(tmp_path: Path, memory_directory: Path) -> None:
    creds, made = needs_program("systemd-creds"), secrets.token_hex(32).encode() + b"\n"
    sealed = tmp_path / "cache-key.cred"
    # As with a TPM, but with a key of nobody's: this machine may have none.
    encrypt = [creds, "encrypt", NAME, "--with-key=tpm2-absent", "-", str(sealed)]
    subprocess.run(encrypt, check=True, input=made, stderr=subprocess.DEVNULL)
    assert made.strip() not in sealed.read_bytes()
    key = memory_directory / "cache-key"
    decrypt = [creds, "decrypt", NAME, str(sealed), str(key)]
    subprocess.run(decrypt, check=True, stderr=subprocess.DEVNULL)
    key.chmod(0o400)
    file = opened(tmp_path, key=key)
    file.save(book())
    file.close()
    assert opened(tmp_path, key=key).load(NOW, WALL) is not None

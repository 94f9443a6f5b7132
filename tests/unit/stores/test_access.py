"""Key files as systemd hands them over: root's, with a list that lets in the unit's user."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from agent.config.model import LocalKey
from agent.core.errors import SealedFileError
from agent.stores.access import LIST, lets_in_only
from agent.stores.sealed_file import read_key
from tests.rig.needs import needs_root

OWNER, USER, GROUP_OF_FILE, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NOBODY = 0xFFFFFFFF
ME = os.geteuid()
ANOTHER = ME + 4321

Entries = list[tuple[int, int, int]]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "cache-key"
    path.write_text("ab" * 32)
    path.chmod(0o400)
    return path


def let_in(path: Path, *entries: tuple[int, int, int], mask: int = 4) -> None:
    """The list that `setfacl` or systemd would write."""
    whole: Entries = [(OWNER, 4, NOBODY), *entries, (MASK, mask, NOBODY)]
    given = {tag for tag, _, _ in entries}
    whole += [(tag, 0, NOBODY) for tag in (GROUP_OF_FILE, OTHERS) if tag not in given]
    packed = b"".join(struct.pack("<HHI", *each) for each in sorted(whole))
    try:
        os.setxattr(path, LIST, struct.pack("<I", 2) + packed)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("needs a filesystem with access control lists")


def test_a_credential_of_systemd_is_read(key: Path) -> None:
    let_in(key, (USER, 4, ME))
    assert key.stat().st_mode & 0o777 == 0o440
    read_key(LocalKey(file=key))


@pytest.mark.parametrize(
    "entry",
    [(USER, 4, ANOTHER), (GROUP, 4, 4321), (GROUP_OF_FILE, 4, NOBODY), (OTHERS, 4, NOBODY)],
)
def test_a_list_that_lets_in_somebody_else_is_refused(
    key: Path, entry: tuple[int, int, int]
) -> None:
    let_in(key, (USER, 4, ME), entry)
    with pytest.raises(SealedFileError, match=r"mode 044[04] lets others in"):
        read_key(LocalKey(file=key))


def test_a_group_without_a_list_is_refused(key: Path) -> None:
    key.chmod(0o440)
    with key.open("rb") as file:
        assert not lets_in_only(file.fileno(), 0o440, ME)
    with pytest.raises(SealedFileError, match="mode 0440 lets others in"):
        read_key(LocalKey(file=key))


AS_ANOTHER = """
import os, sys
from pathlib import Path
from subprocess import PIPE
from agent.config.model import LocalKey
from agent.stores.sealed_file import read_key
from tests.rig.needs import needs_root
os.setgid(int(sys.argv[2])); os.setgroups([]); os.setuid(int(sys.argv[2]))
print(read_key(LocalKey(file=Path(sys.argv[1]))))
"""


def test_a_credential_of_root_is_read_by_the_user_of_its_unit(
    key: Path, memory_directory: Path
) -> None:
    needs_root()
    memory_directory.chmod(0o755)
    credential = memory_directory / "cache-key"
    credential.write_bytes(key.read_bytes())
    credential.chmod(0o400)
    let_in(credential, (USER, 4, ANOTHER))
    command = [sys.executable, "-c", AS_ANOTHER, str(credential), str(ANOTHER)]
    assert "<SealingKey" in subprocess.run(command, check=True, text=True, stdout=PIPE).stdout
    let_in(credential, (USER, 4, ANOTHER), (USER, 4, ANOTHER + 1))
    done = subprocess.run(command, check=False, text=True, stderr=PIPE)
    assert "mode 0440 lets others in" in done.stderr

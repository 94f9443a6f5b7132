"""What a TLS server shows to those who connect, and who may read a file."""

from __future__ import annotations

import asyncio
import pwd
import socket
import ssl
import subprocess
from pathlib import Path

from cryptography import x509


def serial_in(file: Path) -> int:
    """The serial number of the first certificate in a PEM file."""
    return x509.load_pem_x509_certificates(file.read_bytes())[0].serial_number


def serial_served(ca_file: Path, name: str, port: int) -> int:
    """That of the certificate that 127.0.0.1 shows for `name`, once it was verified."""
    context = ssl.create_default_context(cafile=str(ca_file))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def can_read(user: str, file: Path) -> bool:
    """A process of this user's, with its groups and no rights beyond."""
    gid = pwd.getpwnam(user).pw_gid
    command = ["setpriv", f"--reuid={user}", f"--regid={gid}", "--init-groups", "cat", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0 or "Permission denied" in ended.stderr, ended.stderr
    return ended.returncode == 0


def users_of(program: str, parent: int) -> set[int]:
    """The users that children of a process run `program` as."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {
        int(state["Uid"].split()[0]) for state in map(status, children) if state["Name"] == program
    }


def status(pid: str) -> dict[str, str]:
    """What the kernel says of a process; of one that has just ended, no name."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {"Name": ""}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def serves(ca_file: Path, name: str, port: int, serial: int, *, within: float = 60.0) -> None:
    """Wait until the certificate with this serial number is what is shown."""
    async with asyncio.timeout(within):
        while await asyncio.to_thread(serial_served, ca_file, name, port) != serial:  # noqa: ASYNC110  # it is outside of this process
            await asyncio.sleep(0.02)

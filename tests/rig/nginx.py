"""A real nginx that serves TLS from files of bundles, and how that is seen from outside."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.rig.needs import needs_program
from tests.rig.processes import Daemon, free_port, wait_until

SLOW_BYTES = 64 * 1024

CONFIGURATION = """
daemon off;
user {user};
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/temp;
  proxy_temp_path {folder}/temp;
  fastcgi_temp_path {folder}/temp;
  uwsgi_temp_path {folder}/temp;
  scgi_temp_path {folder}/temp;
  {servers}
}}
"""

SERVER = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate     {certificate};
    ssl_certificate_key {key};
    location / {{ return 200 "well\\n"; }}
    location /slow {{ root {folder}; limit_rate 32k; }}
  }}
"""

PROOF = """#!/bin/sh
# The certificate that is served is the one in the file.
served=$(openssl s_client -connect 127.0.0.1:{port} -servername {name} </dev/null 2>/dev/null |
  openssl x509 -noout -fingerprint -sha256) || exit 1
test "$served" = "$(openssl x509 -noout -fingerprint -sha256 -in {certificate})"
"""


@dataclass(frozen=True)
class Site:
    """A server name, its files and its port."""

    name: str
    certificate: Path
    key: Path
    port: int

    @classmethod
    def at(cls, name: str, directory: Path) -> Site:
        return cls(name, directory / "tls.crt", directory / "tls.key", free_port())


class Nginx:
    """Started once the files are there; reloads by SIGHUP to the process in `pid_file`."""

    def __init__(self, folder: Path, *sites: Site, servers: str = "", user: str = "root") -> None:
        """`servers` are blocks beside those of the sites; `user` is whom its workers run as."""
        self._program = needs_program("nginx")
        needs_program("openssl")
        self._folder = folder
        self.pid_file = folder / "nginx.pid"
        (folder / "slow").write_bytes(b"x" * SLOW_BYTES)
        servers += "".join(
            SERVER.format(port=each.port, certificate=each.certificate, key=each.key, folder=folder)
            for each in sites
        )
        text = CONFIGURATION.format(folder=folder, servers=servers, user=user)
        (folder / "nginx.conf").write_text(text)
        self._daemon: Daemon | None = None

    def start(self) -> None:
        command = [self._program, "-e", "stderr", "-c", str(self._folder / "nginx.conf")]
        self._daemon = Daemon(command, {"PATH": os.environ["PATH"]})
        wait_until(self.pid_file.exists, within=60)

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.end(signal.SIGTERM)

    def check(self, site: Site) -> tuple[str, list[str]]:
        """A configuration for a file of the bundle, and the command that tests it there."""
        file = "\n".join(
            [
                "events {}",
                "pid /dev/null;",
                "http { server { listen 443 ssl;",
                f"ssl_certificate {site.certificate.name};",
                f"ssl_certificate_key {site.key.name}; }} }}",
                "",
            ]
        )
        return file, [self._program, "-t", "-q", "-e", "stderr", "-c", "{directory}/check.conf"]

    def proof(self, site: Site) -> list[str]:
        """The command that sees whether the site's certificate is the one that is served."""
        script = self._folder / f"proof-{site.port}.sh"
        text = PROOF.format(port=site.port, name=site.name, certificate=site.certificate)
        script.write_text(text)
        script.chmod(0o755)
        return [str(script)]

"""The two agents. Each runs from a copy of its own, so that it shares no memory with others."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from benchmarks.ground import Ground
from tests.rig.bao_server import binary

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """`count` secrets, each in a file `sN` of `directory`, read again every `every` seconds."""

    count: int
    directory: Path
    address: str
    every: int

    def files(self) -> list[Path]:
        return [self.directory / f"s{number}" for number in range(self.count)]


class Peer(Protocol):
    """An agent that can be given a job."""

    name: str

    def version(self) -> str:
        """As it says itself."""

    def prepare(self, job: Job) -> list[str]:
        """Write the configuration; the command that does the job."""

    def environment(self) -> dict[str, str]:
        """What it runs in."""


class BaoAgent:
    """`bao agent`, from a copy of the server's binary."""

    name = "bao agent"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.binary = ground.disk / "bao-agent"
        shutil.copy(binary(), self.binary)

    def version(self) -> str:
        return subprocess.check_output([self.binary, "version"], text=True).split("(")[0].strip()

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._ground.disk)}

    def prepare(self, job: Job) -> list[str]:
        ground = self._ground
        file = job.directory.parent / "bao-agent.hcl"
        head = f"""
vault {{ address = "{job.address}" }}
auto_auth {{
  method "approle" {{
    mount_path = "auth/{ground.role_mount}"
    config = {{
      role_id_file_path = "{ground.role_id_file}"
      secret_id_file_path = "{ground.secret_id_file}"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
template_config {{ static_secret_render_interval = "{job.every}s" }}
"""
        read = f'{{{{ with secret \\"{ground.mount}/data/s%d\\" }}}}{{{{ .Data.data.value }}}}'
        template = f'template {{\n  contents = "{read}{{{{ end }}}}"\n  destination = "%s"\n}}\n'
        file.write_text(head + "".join(template % each for each in enumerate(job.files())))
        return [str(self.binary), "agent", f"-config={file}"]


class Leasehold:
    """This project, installed and compiled in an environment of its own."""

    name = "leasehold"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._home = ground.disk / "leasehold"
        self._python = self._home / "bin" / "python"
        if not self._home.exists():
            self._install()

    def version(self) -> str:
        command = [*self.command(), "version"]
        return subprocess.check_output(command, text=True, env=self.environment()).strip()

    def environment(self) -> dict[str, str]:
        own = {"PATH": os.environ["PATH"], "HOME": str(self._ground.disk)}
        return own | {"LD_LIBRARY_PATH": str(self._home / "lib")}

    def prepare(self, job: Job) -> list[str]:
        ground = self._ground
        file = job.directory.parent / "leasehold.yaml"
        auth = {
            "method": "approle",
            "mount": ground.role_mount,
            "role_id_file": str(ground.role_id_file),
            "secret_id_file": str(ground.secret_id_file),
            "remove_secret_id_file": False,
        }
        every = {"refresh_every": job.every}
        names = [file.name for file in job.files()]
        files = {name: f"{{{{ {name}.value }}}}" for name in names}
        configuration = {
            "stores": {"vault": {"type": "vault", "address": job.address, "auth": auth}},
            "secrets": {name: {"path": f"{ground.mount}/{name}", **every} for name in names},
            "bundles": {"app": {"directory": str(job.directory), "files": files}},
            "log": {"format": "json"},
        }
        file.write_text(yaml.dump(configuration, Dumper=yaml.CSafeDumper))
        return [*self.command(), "agent", "-c", str(file)]

    def command(self) -> list[str]:
        """The program of this copy."""
        return [str(self._home / "bin" / "leasehold")]

    def _install(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--copies", str(self._home)], check=True)
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(ROOT)], check=True)
        # As in the image: setuptools has a hook in each start of Python.
        subprocess.run([*pip[:3], "uninstall", "--quiet", "--yes", "setuptools"], check=True)
        compileall.compile_dir(self._home / "lib", quiet=2)
        library = sysconfig.get_config_var("INSTSONAME")
        if sysconfig.get_config_var("Py_ENABLE_SHARED"):
            own = Path(sysconfig.get_config_var("LIBDIR")) / library
            shutil.copy(own, self._home / "lib" / library)

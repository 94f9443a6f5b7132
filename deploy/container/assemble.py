"""Puts together what the image runs, in its first stage: `assemble.py /opt/leasehold TARGET`.

TARGET becomes the root of a file system with this Python, what was installed into the virtual
environment, the shared libraries of both, and the certificates of public authorities: no shell, no
package manager, nothing setuid. Every file has the time of SOURCE_DATE_EPOCH and compiled code is
made here, once, so that the same sources give the same layer.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

NO_PART_OF_PYTHON = (
    *("test", "idlelib", "tkinter", "turtle*", "ensurepip", "lib2to3", "distutils", "pydoc_data"),
    *("venv", "site-packages", "dist-packages", "config-*", "curses", "dbm", "sqlite3", "unittest"),
    *("_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_test*", "_tkinter*", "nis.*", "readline.*"),
)
UNUSED = (
    *("__pycache__", "[Aa]ctivate*", "*.a", "*.c", "*.h", "*.pxd", "*.pyi", "*.pyx"),
    *("pygments", "pygments-*", "markdown_it*", "mdurl*"),  # rich, for source code and Markdown
)
COMMANDS = ("leasehold", "python*")
"""Nothing else that was installed is to be called by its name."""

FROM_THE_SYSTEM = (
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/usr/lib/ssl", "/usr/share/ca-certificates"),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d"),
)
MOUNTED = ("proc", "sys", "dev", "tmp", "run/secrets", "etc/leasehold")
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/:\nleasehold:x:10001:10001::/:\n",
    "etc/group": "root:x:0:\nleasehold:x:10001:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
LOADED_BY_NAME = ("libgcc_s.so.1",)
"""What the C library opens when a thread ends, and nothing is linked to."""


def main() -> None:
    environment, target = Path(sys.argv[1]), Path(sys.argv[2])
    _make_folders(target)
    _copy(Path(sys.executable).resolve(), target)
    _copy(environment, target)
    _keep_commands(target / environment.relative_to("/") / "bin")
    for place in sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}):
        _copy(Path(place), target, *NO_PART_OF_PYTHON)
        _compile(target, place)
    for place in filter(os.path.exists, FROM_THE_SYSTEM):
        _copy(Path(place), target)
    _copy_libraries(target)
    _compile(target, str(environment))
    for name, text in ACCOUNTS.items():
        (target / name).write_text(text)
    _settle(target)


def _make_folders(target: Path) -> None:
    """/lib is /usr/lib where it is so here, or nothing would be found."""
    for name in ("bin", "lib", "lib64"):
        here = Path("/", name)
        if here.is_symlink():
            (target / here.readlink()).mkdir(parents=True)
            (target / name).symlink_to(here.readlink())
    for name in MOUNTED:
        (target / name).mkdir(parents=True)


def _copy(source: Path, target: Path, *unused: str) -> None:
    """A file or a folder to the same place below `target`, links as they are."""
    there = target / source.relative_to("/")
    there.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns(*UNUSED, *unused)
        shutil.copytree(source, there, symlinks=True, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copy2(source, there)


def _keep_commands(folder: Path) -> None:
    for path in folder.iterdir():
        if not any(path.match(each) for each in COMMANDS):
            path.unlink()


def _copy_libraries(target: Path) -> None:
    """All that anything in `target` is linked to, under the names that the loader asks for."""
    for library in sorted(set(_libraries(target))):
        place = target / library.parent.resolve().relative_to("/") / library.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, place)
    subprocess.run(["ldconfig", "-X", "-r", target], check=True)
    shutil.rmtree(target / "var", ignore_errors=True)  # ldconfig's notes


def _libraries(target: Path) -> Iterator[Path]:
    for program in _programs(target):
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        for word in said.stdout.split():
            if word.startswith("/") and not Path(word).is_relative_to(target):
                yield Path(word)
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True)
    for line in known.stdout.splitlines():
        name, _, place = line.strip().partition(" ")
        if name in LOADED_BY_NAME:
            yield Path(place.rpartition(" ")[2])


def _programs(target: Path) -> Iterator[Path]:
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _compile(target: Path, place: str) -> None:
    """Never to be compared with its source again: nobody changes either."""
    done = compileall.compile_dir(
        str(target) + place,
        ddir=place,
        maxlevels=20,
        quiet=1,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise SystemExit(f"{place}: not everything compiles")


def _settle(target: Path) -> None:
    """Owned by root, written by nobody else, of one time."""
    moment = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in [*target.rglob("*"), target]:
        os.chown(path, 0, 0, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (moment, moment), follow_symlinks=False)


if __name__ == "__main__":
    main()

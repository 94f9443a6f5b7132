"""What the package puts onto a machine, beside the libraries."""

from __future__ import annotations

import shutil
from email.parser import HeaderParser
from pathlib import Path

FILES = Path(__file__).parent / "debian"
UNITS = "usr/lib/systemd/system"
DOCUMENTS = "usr/share/doc/leasehold"
EXAMPLES = f"{DOCUMENTS}/examples"


def laid_out(root: Path, libraries: Path, checkout: Path) -> None:
    """Fill `root`; modes and times are settled by the archive."""
    systemd = checkout / "deploy" / "systemd"
    _put(FILES / "leasehold", root / "usr/bin/leasehold", mode=0o755)
    for unit in (*systemd.glob("*.service"), *systemd.glob("*.socket")):
        _put(unit, root / UNITS / unit.name)
    _put(systemd / "leasehold.sysusers", root / "usr/lib/sysusers.d/leasehold.conf")
    shutil.copytree(systemd / "drop-in", root / EXAMPLES / "drop-in")
    _put(systemd / "leasehold.polkit", root / EXAMPLES / "leasehold.rules")
    for example in (checkout / "configs").glob("*.yaml"):
        _put(example, root / EXAMPLES / example.name)
    _put(FILES / "lintian-overrides", root / "usr/share/lintian/overrides/leasehold")
    _put(FILES / "README.Debian", root / DOCUMENTS / "README.Debian")
    _put(checkout / "CHANGELOG.md", root / DOCUMENTS / "changelog")
    text = (FILES / "copyright").read_text(encoding="utf-8")
    (root / DOCUMENTS / "copyright").write_text(text + "".join(_licences(libraries)), "utf-8")


def _licences(libraries: Path) -> list[str]:
    """A paragraph for each library, as its own metadata has it."""
    paragraphs = []
    for folder in sorted(libraries.glob("*.dist-info")):
        about = HeaderParser().parsestr((folder / "METADATA").read_text(encoding="utf-8"))
        if about["Name"] == "leasehold":
            continue
        licence = about["License-Expression"] or _classified(about.get_all("Classifier") or [])
        paragraphs.append(
            f"\n{about['Name']} {about['Version']}: {licence or 'as said there'}\n"
            f"  /usr/lib/leasehold/{folder.name}\n"
        )
    return paragraphs


def _classified(classifiers: list[str]) -> str:
    named = [each.rsplit(" :: ", 1)[-1] for each in classifiers if each.startswith("License :: ")]
    return ", ".join(named)


def _put(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)

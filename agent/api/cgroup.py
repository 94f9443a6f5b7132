"""What the name of a control group says: systemd unit, container, pod. Pure.

A name counts only where the system's own systemd, or a container runtime as root, has given it.
Below a service (a user's systemd is one, too), in a machine and in a container others may name
groups as they like, so nothing there is believed: told are the system's own unit and the outermost
container.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

UNIT_TYPES = (".service", ".scope", ".socket", ".mount", ".swap")
_RUNTIMES = r"(?:containerd|crio|docker|kubelet|podman)\.service"
_PARENTS = r"docker|kubepods|besteffort|burstable|guaranteed|libpod_parent|crio|buildkit|\.\."
TRUSTED = re.compile(rf".+\.slice|{_RUNTIMES}|{_PARENTS}")
"""Groups below which it is systemd or a container runtime that gives the names."""

_ID = "([0-9a-f]{64})"
_UID = "([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
_SCOPE = re.compile(rf"(?:docker|cri-containerd|crio|libpod|nerdctl)-{_ID}\.scope")
_COLONS = re.compile(rf".*:(?:cri-containerd|docker|crio|nerdctl|libpod):{_ID}")
_PLAIN = re.compile(rf"(?:libpod-|crio-|docker-)?{_ID}")
_POD = re.compile(rf"(?:.*-)?pod{_UID}(?:\.slice(?::.*)?)?")


class Membership(msgspec.Struct, frozen=True):
    """None: not in one, or not known."""

    unit: str | None = None
    container: str | None = None
    pod_uid: str | None = None


def membership(text: str) -> Membership:
    """Of a process whose /proc/PID/cgroup has this text (v1, v2 or both)."""
    named, others = _hierarchies(text)
    if named is None:
        return _merged(others)
    own, container = unit_of(named), container_of(named)
    if container != (None, None) or own is not None:
        return Membership(own, *container)
    return _merged(others)


def unit_of(path: str) -> str | None:
    """The system's unit: the first step that is no slice.

    `..` (groups outside of our own cgroup namespace) hides where the path begins, so there is none.
    """
    for step in _steps(path):
        if step.endswith(".slice"):
            continue
        unit = step.removeprefix("_")  # systemd's escape for names that the kernel has taken
        return unit if unit.endswith(UNIT_TYPES) and not unit.startswith(".") else None
    return None


def container_of(path: str) -> tuple[str | None, str | None]:
    """(id of the outermost container, uid of its pod)."""
    pod: str | None = None
    for step in _steps(path):
        found = _POD.fullmatch(step)
        pod = found[1].replace("_", "-") if found and pod is None else pod
        for pattern in (_SCOPE, _COLONS, _PLAIN):
            if container := pattern.fullmatch(step):
                return container[1], pod
        if not found and not TRUSTED.fullmatch(step):
            break
    return None, pod


def _hierarchies(text: str) -> tuple[str | None, list[str]]:
    """systemd's own hierarchy, if there is one, and the rest."""
    by_controllers: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[0].isdecimal():
            by_controllers[parts[1]] = parts[2]
    named = by_controllers.pop("name=systemd", None)
    return (by_controllers.pop("", None) if named is None else named), list(by_controllers.values())


def _merged(paths: Iterable[str]) -> Membership:
    """Where systemd manages nothing: what all hierarchies that name a container agree on."""
    found = {container_of(path) for path in paths} - {(None, None)}
    return Membership(None, *found.pop()) if len(found) == 1 else Membership()


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step]

"""The files of a choice. Their texts lie in `units/`, which is deploy/systemd of a checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.core.errors import AgentError
from agent.installing.choice import ANY_NETWORK, NOTIFY_RELOAD_SINCE, Choice
from agent.installing.place import File

SYSTEMD = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d")
POLKIT = Path("/etc/polkit-1/rules.d")

TEXTS = Path(__file__).with_name("units")

PROGRAM = "/usr/bin/leasehold"
"""What the texts call the command."""

SECTION = "[Service]\n"


def files(choice: Choice) -> list[File]:
    """All that is to be there, in the order in which it is written."""
    found = [*_users(choice), *_service(choice), *_drop_ins(choice), *_sockets(choice)]
    return [*found, *_polkit(choice)]


def folders(choice: Choice) -> list[tuple[Path, int]]:
    """Made where they are missing: path and mode."""
    return [
        (Path("/etc/leasehold"), 0o755),
        (Path("/etc/leasehold/credentials"), 0o700),
        (Path(choice.credentials), 0o700),
    ]


def owned(choice: Choice, root: Path) -> list[Path]:
    """What `files` of any choice with this instance may have written below `root`, and is there.

    The template of all instances is not among it.
    """
    folder = _rooted(root, SYSTEMD / f"{choice.unit}.d")
    there = sorted(folder.glob("*.conf"))
    singles = [_sysusers_path(choice), _polkit_path(choice)]
    if choice.instance is None:
        singles += [SYSTEMD / "leasehold.service"]
        singles += [SYSTEMD / f"leasehold-{name}.socket" for name in ("secrets", "credentials")]
    return there + [each for path in singles if (each := _rooted(root, path)).exists()]


def _users(choice: Choice) -> Iterator[File]:
    if not (choice.is_root or choice.has_dynamic_user):
        name = "leasehold@.sysusers" if choice.instance else "leasehold.sysusers"
        text = _text(name).replace("%i", choice.instance or "")
        yield File(_sysusers_path(choice), text)


def _service(choice: Choice) -> Iterator[File]:
    name = "leasehold@.service" if choice.instance else "leasehold.service"
    yield File(SYSTEMD / name, _text(name).replace(PROGRAM, str(choice.program)))


def _drop_ins(choice: Choice) -> Iterator[File]:
    wanted = {
        "notify-reload": choice.systemd >= NOTIFY_RELOAD_SINCE,
        "keep-leases": choice.keeps_leases,
        "encrypted-credentials": choice.has_encrypted_credentials,
        "dynamic-user": choice.has_dynamic_user,
        "as-root": choice.is_root,
        "other-programs": choice.sees_other_programs,
        "any-network": ANY_NETWORK in choice.networks,
    }
    for name in (name for name, is_wanted in wanted.items() if is_wanted):
        text = _text(f"drop-in/{name}.conf").replace(PROGRAM, str(choice.program))
        yield _drop_in(choice, name, text)
    if choice.networks and ANY_NETWORK not in choice.networks:
        text = f"{SECTION}IPAddressAllow={' '.join(choice.networks)}\n"
        yield _drop_in(choice, "networks", text)
    if choice.groups:
        text = f"{SECTION}SupplementaryGroups={' '.join(choice.groups)}\n"
        yield _drop_in(choice, "groups", text)


def _drop_in(choice: Choice, name: str, text: str) -> File:
    """The texts name what belongs to the agent of the host."""
    text = text.replace("/etc/leasehold/leasehold.yaml", choice.configuration)
    text = text.replace("/etc/leasehold/credentials/", f"{choice.credentials}/")
    return File(SYSTEMD / f"{choice.unit}.d/{name}.conf", text)


def _sockets(choice: Choice) -> Iterator[File]:
    for name in choice.sockets:
        yield File(SYSTEMD / f"leasehold-{name}.socket", _text(f"leasehold-{name}.socket"))


def _polkit(choice: Choice) -> Iterator[File]:
    if choice.reloads:
        units = ", ".join(f'"{unit}"' for unit in choice.reloads)
        text = _text("leasehold.polkit").replace('"app.service"', units)
        text = text.replace('"leasehold"', f'"{choice.user}"')
        yield File(_polkit_path(choice), text, comment="//")


def _sysusers_path(choice: Choice) -> Path:
    return SYSUSERS / f"{choice.user}.conf"


def _polkit_path(choice: Choice) -> Path:
    return POLKIT / f"50-{choice.user}.rules"


def _rooted(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _text(name: str) -> str:
    try:
        return (TEXTS / name).read_text("utf-8")
    except OSError as error:
        reason = f"is missing from this installation: {error.strerror}"
        raise AgentError(f"{TEXTS / name} {reason}") from None

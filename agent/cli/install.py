"""`leasehold install`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.core.errors import AgentError

if TYPE_CHECKING:
    from agent.installing.choice import Choice
    from agent.installing.place import File, State


Command = TypeVar("Command", bound=Callable[..., Any])


def _many(name: str, metavar: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, multiple=True, metavar=metavar, help=text)


def _flag(name: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, is_flag=True, help=text)


@click.command()
@click.option("--systemd", "is_systemd", is_flag=True, required=True, help="As systemd's service.")
@click.option("--instance", metavar="NAME", help="One agent for the app NAME: leasehold@NAME.")
@_many("--group", "GROUP", "A group that its user is in: it may give files to it.")
@_many("--network", "NETWORK", "What it may reach besides private networks; or `any`.")
@_many("--reloads", "UNIT", "A unit that it may reload and restart (a rule for polkit).")
@click.option(
    "--socket",
    type=click.Choice(["secrets", "credentials"]),
    multiple=True,
    help="A door that is there before the agent.",
)
@_flag("--dynamic-user", "A user that exists while it runs, without power over others.")
@_flag("--as-root", "As root: reloads any unit without polkit.")
@_flag("--encrypted-credentials", "The credentials are encrypted for this machine.")
@_flag("--keep-leases", "The end of a run gives nothing back; needs a cache.")
@_flag("--other-programs", "It may see which program other users' processes run.")
@click.option("--program", type=Path, metavar="PATH", help="The command; this one when absent.")
@click.option("--root", type=Path, default=Path("/"), metavar="DIR", help="Write below DIR.")
@click.option("--systemd-version", type=int, metavar="N", help="Of the machine below DIR.")
@_flag("--force", "Replace, or remove, what was changed by hand.")
@_flag("--remove", "Stop the service, and take its files away.")
@_flag("--dry-run", "Say what would be done.")
def command(is_systemd: bool, **options: Any) -> None:
    """Make the agent a service of this host: its units, its user, its folders.

    Another run changes what is outdated and nothing else. A file that was changed by hand stays,
    and nothing is written at all, unless --force is given.

    \b
    Example: leasehold install --systemd --reloads nginx.service
             leasehold install --systemd --instance orders --group orders
    """
    root: Path = options["root"]
    is_here = root == Path("/")
    if os.geteuid() and is_here and not options["dry_run"]:
        raise AgentError("only root may write the units of this host; --dry-run shows them")
    choice = _chosen(options, is_here=is_here)
    if options["remove"]:
        _remove(choice, root, is_dry=options["dry_run"], is_forced=options["force"])
    else:
        _install(choice, root, is_dry=options["dry_run"], is_forced=options["force"])


def _chosen(options: dict[str, Any], *, is_here: bool) -> Choice:
    """Checked; the parts that are not said are those of this host."""
    from agent.installing.choice import Choice
    from agent.installing.host import systemd_version
    from agent.installing.program import check_trusted, check_visible, this_program

    choice = Choice(
        program=options["program"] or this_program(),
        systemd=options["systemd_version"] or (systemd_version() if is_here else 0),
        instance=options["instance"],
        groups=options["group"],
        networks=options["network"],
        reloads=options["reloads"],
        sockets=options["socket"],
        has_dynamic_user=options["dynamic_user"],
        is_root=options["as_root"],
        has_encrypted_credentials=options["encrypted_credentials"],
        keeps_leases=options["keep_leases"],
        sees_other_programs=options["other_programs"],
    )
    choice.check()
    if not options["remove"]:
        check_visible(choice.program)
        if is_here and not options["dry_run"]:
            check_trusted(choice.program)
    return choice


# --- putting in place -----------------------------------------------------------------------------


def _install(choice: Choice, root: Path, *, is_dry: bool, is_forced: bool) -> None:
    from agent.installing.units import files, owned

    wanted = [(file, file.state(root)) for file in files(choice)]
    _refuse_foreign(wanted, root, is_forced=is_forced)
    for file, state in wanted:
        _place(file, state, root, is_dry=is_dry)
    for path in sorted(set(owned(choice, root)) - {file.at(root) for file, _ in wanted}):
        click.echo(f"stays        {path} (of an earlier choice, or yours)")
    if is_dry:
        return
    _make_folders(choice, root)
    if root == Path("/"):
        _tell_the_host(choice)
    _say_what_is_next(choice, root)


def _refuse_foreign(wanted: list[tuple[File, State]], root: Path, *, is_forced: bool) -> None:
    """AgentError, with what would be lost, if a file was changed by hand."""
    from agent.installing.place import State

    foreign = [file for file, state in wanted if state is State.FOREIGN]
    if foreign and not is_forced:
        for file in foreign:
            click.echo(file.difference(root), err=True, nl=False)
        paths = ", ".join(str(file.path) for file in foreign)
        raise AgentError(
            f"{paths}: not as leasehold wrote it; nothing is changed. Move your changes to a "
            "drop-in (systemctl edit), or replace it with --force"
        )


def _place(file: File, state: State, root: Path, *, is_dry: bool) -> None:
    from agent.installing.place import State

    if state is State.UNCHANGED:
        click.echo(f"unchanged    {file.at(root)}")
        return
    if is_dry:
        click.echo(f"would write  {file.at(root)}")
        click.echo(file.difference(root), nl=False)
        return
    file.write(root)
    click.echo(f"written      {file.at(root)}")


def _make_folders(choice: Choice, root: Path) -> None:
    from agent.installing.place import make_folder
    from agent.installing.units import folders

    for path, mode in folders(choice):
        there = root / path.relative_to("/")
        if make_folder(there, mode):
            click.echo(f"made         {there}")


# --- taking away ----------------------------------------------------------------------------------


def _remove(choice: Choice, root: Path, *, is_dry: bool, is_forced: bool) -> None:
    from agent.installing.host import is_booted, run
    from agent.installing.place import is_untouched, remove
    from agent.installing.units import owned

    paths = owned(choice, root)
    changed = [str(path) for path in paths if not is_untouched(path)]
    if changed and not is_forced:
        names = ", ".join(changed)
        raise AgentError(f"{names}: not as leasehold wrote it; nothing is removed without --force")
    if root == Path("/") and not is_dry and is_booted():
        sockets = [path.name for path in paths if path.suffix == ".socket"]
        run("systemctl", "disable", "--now", choice.unit, *sockets)
    for path in paths:
        if not is_dry:
            remove(path)
        click.echo(f"{'would remove' if is_dry else 'removed     '} {path}")
    if root == Path("/") and not is_dry and is_booted():
        run("systemctl", "daemon-reload")
    click.echo("left: /etc/leasehold, /var/lib, /var/log and the user; they may be wanted again")


# --- the host -------------------------------------------------------------------------------------


def _tell_the_host(choice: Choice) -> None:
    """The user is made, and systemd looks at the units."""
    from agent.installing.host import is_booted, run

    if not (choice.is_root or choice.has_dynamic_user):
        run("systemd-sysusers", f"{choice.user}.conf")
    if is_booted():
        run("systemctl", "daemon-reload")
    else:
        click.echo("systemd does not run here: it will see the units when it starts")


def _say_what_is_next(choice: Choice, root: Path) -> None:
    click.echo("next:")
    configuration = root / choice.configuration.lstrip("/")
    if not configuration.exists():
        click.echo(f"  write {choice.configuration} (docs/configuration.md)")
    if not any((root / choice.credentials.lstrip("/")).iterdir()):
        ids = "role-id and secret-id" if not choice.has_encrypted_credentials else "*.cred"
        click.echo(f"  put {ids} into {choice.credentials}, if it logs in with them")
    if choice.reloads and not (root / "usr/share/polkit-1").is_dir():
        click.echo("  install polkit (Debian: polkitd), or it may reload no unit")
    if root != Path("/"):
        click.echo(f"  systemd-sysusers --root={root}")
    units = [choice.unit, *(f"leasehold-{name}.socket" for name in choice.sockets)]
    click.echo(f"  systemctl enable --now {' '.join(reversed(units))}")

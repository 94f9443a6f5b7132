"""`leasehold audit`: whether the records are whole, and who read what."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import click

from agent.audit.reading import given, rotated, verified, verified_files
from agent.audit.show import COLUMNS, Fields, Wanted, chosen, printable, row, wall_of
from agent.audit.verify import Verdict
from agent.cli.options import DURATION, config_files
from agent.config.load import load
from agent.config.model import Audit
from agent.core.clock import SystemClock
from agent.core.errors import EXIT_DONE, EXIT_FAILED, ConfigurationError
from agent.core.events import counted

config_option = config_files(
    "A configuration file, or a folder of *.yaml; its `audit` says where the records are."
)
files_argument = click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]…"
)


class Moment(click.ParamType[float]):
    """A wall time, or a duration before now."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        at = wall_of(value)
        if at is None:
            at = SystemClock().wall() - DURATION.convert(value, param, ctx)
        return at


MOMENT = Moment()

WIDEST = 4000


@click.group()
def command() -> None:
    """Prove the audit's records, and show who read what.

    \b
    Example: leasehold audit verify -c leasehold.yaml
             leasehold audit show -c leasehold.yaml --secret database --since 1h
    """


@command.command()
@config_option
@files_argument
@click.option("--key", type=click.Path(path_type=Path), help="The key of FILEs that are named.")
@click.option("--from", "first", type=int, help="The first record that should be in those FILEs.")
def verify(
    config: tuple[Path, ...], files: tuple[Path, ...], key: Path | None, first: int | None
) -> None:
    """Tell whether records were changed, removed, put in, exchanged or cut off. Exit code 0 or 1.

    Without FILE, all that the configuration's audit has, and its FILE.head, which tells of records
    cut off at the end. With FILEs (moved elsewhere, say) and --key, those.

    \b
    Example: leasehold audit verify -c leasehold.yaml
             leasehold audit verify --key audit.key old/audit.jsonl-2026*
    """
    if files:
        if key is None:
            raise click.UsageError("FILEs need --key")
        verdict = verified_files(files, key, first_seq=first)
    else:
        from agent.audit.file import key_path

        spec, path = _configured(config)
        verdict = verified(path, key or key_path(spec, path))
    _tell(verdict)
    raise click.exceptions.Exit(EXIT_DONE if verdict.is_good else EXIT_FAILED)


@command.command()
@config_option
@files_argument
@click.option("--secret", metavar="PATTERN", help="Of these secrets.")
@click.option("--user", help="Of this user (name or number).")
@click.option("--unit", metavar="PATTERN", help="Of these systemd units.")
@click.option("--since", type=MOMENT, help="From then on: a time, or as 1h for an hour ago.")
@click.option("--until", type=MOMENT, help="Before that time.")
@click.option("--decision", type=click.Choice(["allowed", "denied", "error"]))
@click.option("--event", help="access, state, gap, head, or a change: secret_changed …")
@click.option("--json", "as_json", is_flag=True, help="The records as they stand.")
def show(config: tuple[Path, ...], files: tuple[Path, ...], as_json: bool, **filters: Any) -> None:
    """Show who read what, and what changed, the oldest first. Proves nothing: see verify.

    \b
    Example: leasehold audit show -c leasehold.yaml --secret 'db*' --decision denied
             leasehold audit show -c leasehold.yaml --user app --since 7d --json
    """
    with given(files) if files else rotated(_configured(config)[1]) as opened:
        lines = chain.from_iterable(each.file for each in opened)
        found = chosen(lines, Wanted(**filters))
        if as_json:
            for line, _ in found:
                click.echo(line)
        else:
            _table(fields for _, fields in found)


def _configured(config: tuple[Path, ...]) -> tuple[Audit, Path]:
    if not config:
        raise click.UsageError("a configuration (-c) or FILEs are needed")
    spec = load(config).configuration.audit
    if spec is None or spec.file is None:
        raise ConfigurationError(["audit.file: there is none, so there are no records to read"])
    return spec, spec.file


def _tell(verdict: Verdict) -> None:
    for text in verdict.remarks:
        click.echo(f"note: {printable(text)}")
    for text in verdict.problems:
        click.echo(click.style("wrong: ", fg="red", bold=True) + printable(text))
    span = f", from {verdict.first_at} to {verdict.last_at}" if verdict.records else ""
    numbers = f" ({verdict.first_seq} to {verdict.last_seq})" if verdict.records else ""
    said = f"{counted(verdict.records, 'record')}{numbers}{printable(span)}"
    good, bad = click.style("ok", fg="green", bold=True), click.style("not ok", fg="red", bold=True)
    click.echo(f"{good if verdict.is_good else bad}: {said}")


def _table(records: Iterable[Fields]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True
    for fields in records:
        cells = [Text(each, overflow="fold") for each in row(fields)]
        decision = cells[COLUMNS.index("decision")]
        decision.stylize("red" if decision.plain.startswith(("denied", "error")) else "green")
        table.add_row(*cells)
    console = Console()
    if not console.is_terminal:  # whoever searches in it wants whole words
        wide = console.options.update(width=WIDEST)
        console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)

"""`leasehold access`: who may have what, by which rule, and why not. Judges the text alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from agent.api.access import Decision, Rules
from agent.api.assumed import FACTS, AssumedIds, assumed
from agent.api.caller import ON_TCP, Caller
from agent.api.sockets import address_of, name_of
from agent.cli.options import config_option, loader
from agent.config.listener_model import (
    AnyListener,
    AnyRule,
    CredentialRule,
    CredentialsListener,
    VaultRule,
)
from agent.config.report import permitted, quoted

Row = tuple[str, str, str]
"""(what, yes or no, why)"""


@click.command()
@config_option
@click.option(
    "--as",
    "who",
    required=True,
    metavar="FACT:VALUE,…",
    help="What is known of the caller: user, group (also several), unit, executable, sha256, "
    "container, pod_uid. What is not named is unknown; a user's groups are looked up.",
)
@click.option("--listener", "number", type=int, help="This one only; they count from 1.")
@click.argument("names", nargs=-1, metavar="[NAME]…")
def command(config: tuple[Path, ...], who: str, number: int | None, names: tuple[str, ...]) -> None:
    """Tell which secrets a caller may read, by which rule, and why not.

    The configuration's text is judged; no agent needs to run. For a listener of protocol
    credentials, NAME.FIELD may be asked for, and only the unit counts.

    \b
    Example: leasehold access --as user:app,unit:app.service -c leasehold.yaml
             leasehold access --as user:app database -c leasehold.yaml
    """
    configuration = loader(config)().configuration
    ids = AssumedIds()
    try:
        caller = assumed(who, ids)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for name in names:
        if name.partition(".")[0] not in configuration.secrets:
            known = permitted(name, configuration.secrets)
            raise click.UsageError(f"unknown secret {quoted(name)}{known}")
    for each, spec in _chosen(configuration.listeners, number):
        click.echo(f"listener {each}: {spec.__struct_config__.tag} at {name_of(spec)}")
        seen = ON_TCP if address_of(spec) else caller
        _table(_rows(spec, Rules(spec.allow, ids), seen, names or tuple(configuration.secrets)))


def _chosen(
    listeners: Sequence[AnyListener], number: int | None
) -> Iterable[tuple[int, AnyListener]]:
    if not listeners:
        raise click.UsageError("the configuration has no listeners")
    if number is None:
        return enumerate(listeners, 1)
    if not 1 <= number <= len(listeners):
        raise click.UsageError(f"--listener must be 1 to {len(listeners)}")
    return [(number, listeners[number - 1])]


def _rows(spec: AnyListener, rules: Rules, caller: Caller, names: Sequence[str]) -> Iterable[Row]:
    for name in names:
        if isinstance(spec, CredentialsListener):
            decision = rules.decide_credential(caller, name)
        else:
            decision = rules.decide(caller, name.partition(".")[0])
        yield _row(name, decision, spec, rules.why_not(caller, name))
    allow: Sequence[AnyRule] = spec.allow
    for number, rule in enumerate(allow, 1):
        failed = rules.failures(caller)[number - 1]
        why = f"rule {number}: {' and '.join(failed)}" if failed else _shown(spec, number)
        for what in _more(rule):
            yield what, "no" if failed else "yes", why


def _more(rule: AnyRule) -> list[str]:
    """What a rule covers besides whole secrets."""
    match rule:
        case VaultRule():
            return [f"{each.path} ({', '.join(each.capabilities)})" for each in rule.paths]
        case CredentialRule():
            return list(rule.credentials)
        case _:
            return []


def _row(name: str, decision: Decision, spec: AnyListener, why_not: list[str]) -> Row:
    if decision.rule is not None:
        return name, "yes", _shown(spec, decision.rule)
    return name, "no", "; ".join(why_not) or "no rule names it"


def _shown(spec: AnyListener, number: int) -> str:
    """`rule 2 (user app, unit app.service)`"""
    rule = spec.allow[number - 1]
    keys = ("unit",) if isinstance(rule, CredentialRule) else FACTS
    named = [f"{key} {value}" for key in keys if (value := getattr(rule, key)) is not None]
    return f"rule {number} ({', '.join(named) or 'every caller'})"


def _table(rows: Iterable[Row]) -> None:
    rows = list(rows)
    width = max((len(what) for what, _, _ in rows), default=0)
    for what, verdict, why in rows:
        colour = "green" if verdict == "yes" else "red"
        click.echo(f"  {what:<{width}}  {click.style(f'{verdict:<3}', fg=colour)}  {why}")

"""The commands, one module each, imported when they are called.

Each module has a click command named `command`. Errors of the agent end a command with one line on
standard error and the exit code of `core.errors`.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn

import click

from agent.core.errors import EXIT_USAGE, AgentError, ConfigurationError, exit_code
from agent.core.events import counted

COMMANDS = {
    "agent": "keep secrets fresh in files until told to end",
    "run": "the same, as the parent of the app",
    "once": "render everything once and end",
    "check": "report every problem of a configuration",
    "get": "print a secret as the running agent has it",
    "status": "show the running agent's secrets, bundles and stores",
    "health": "ask the running agent whether it is ready: for health checks",
    "access": "tell who may read what through the listeners, and why not",
    "audit": "prove the audit's records, and show who read what",
    "refresh": "ask the running agent to read secrets again now",
    "drill": "rehearse a rotation with the running app",
    "local": "the local encrypted store",
    "install": "make the agent a service of this host",
    "import": "turn another agent's configuration into ours",
    "schema": "print the JSON Schema of the configuration",
    "version": "print the version",
}


HOLD_FOR_A_MOMENT = ("get", "local")
"""Commands that have secrets in memory and end by themselves; those that stay, and `check`, see to
it as the configuration says, and tell where it can't be had."""


class LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        module = import_module(f"agent.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def leasehold(context: click.Context) -> None:
    """Gets secrets out of a vault and into a process, keeps them fresh, takes them away again.

    \b
    Example: leasehold check -c leasehold.yaml
             leasehold agent -c leasehold.yaml
    """
    if context.invoked_subcommand in HOLD_FOR_A_MOMENT:
        from agent.hardening import harden_memory

        harden_memory()


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # imports make no garbage, but a tenth of the start would go into looking for it
    try:
        sys.exit(_invoke())
    except BaseExceptionGroup as group:
        _report_group(group)
    except AgentError as error:
        sys.exit(_reported(error))


def _invoke() -> Any:
    try:
        return leasehold.main(prog_name="leasehold", standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE


def _report_group(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """The errors of the tasks that ended the agent; a bug keeps its traceback."""
    own, rest = group.split(AgentError)
    if rest is not None:
        raise group
    assert own is not None  # noqa: S101
    for error in _leaves(own):
        _reported(error)
    sys.exit(exit_code(group))


def _leaves(group: BaseExceptionGroup[AgentError]) -> list[AgentError]:
    leaves: list[AgentError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _reported(error: AgentError) -> int:
    if isinstance(error, ConfigurationError):
        count = counted(len(error.problems), "problem")
        click.echo("\n".join(error.problems), err=True)
        click.echo(f"leasehold: {count} in the configuration", err=True)
    else:
        click.echo(f"leasehold: {error}", err=True)
    return exit_code(error)

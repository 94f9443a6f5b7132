"""Options that commands share, and how a long-running command is started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.config.load import Loaded, load
from agent.config.report import Place, Unfit
from agent.config.scalars import duration
from agent.config.tree import Text

if TYPE_CHECKING:
    from agent.hardening import Hardened

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """`30s`, `5m`, `1h30m`, or a number of seconds; the configuration's own reader."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        option = param.opts[0] if param is not None else self.name
        try:
            return duration(Text(Place(option, 0), str(value), None, str(value)))
        except Unfit as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()


def config_files(text: str, *, is_required: bool = False) -> Callable[[Command], Command]:
    """`-c FILE`, as often as there are files; `text` is its help."""
    return click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path),
        multiple=True,
        required=is_required,
        help=text,
    )


config_option = config_files(
    "A configuration file, or a folder of *.yaml; several are merged in order.", is_required=True
)

keep_leases_option = click.option(
    "--keep-leases",
    is_flag=True,
    help="At the end give nothing back: the next run goes on with all of it. Needs a cache.",
)


def loader(paths: tuple[Path, ...], *, on_this_host: bool = False) -> Callable[[], Loaded]:
    """A function that reads the configuration anew each time it is called."""
    from agent.rendering.templates import check_template, compile_template

    return lambda: load(
        paths,
        check_template=check_template,
        template_secrets=lambda source: compile_template(source, "").secrets,
        on_this_host=on_this_host,
    )


def hardened(
    paths: tuple[Path, ...], *, is_parent: bool = False
) -> tuple[Callable[[], Loaded], Hardened]:
    """Harden this process as its configuration says, while it has one thread.

    Also a function as of `loader`, whose first answer is what was read for that.
    """
    from agent.hardening import harden

    load_anew = loader(paths)
    first = [load_anew()]
    done = harden(first[0].configuration, is_parent=is_parent)
    return lambda: first.pop() if first else load_anew(), done


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where it is installed; SIGTERM cancels it and exits with 143."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory, debug=sys.flags.dev_mode) as runner:
        try:
            return runner.run(_until_terminated(main))
        except asyncio.CancelledError:
            sys.exit(128 + signal.SIGTERM)


async def _until_terminated(main: Coroutine[Any, Any, T]) -> T:
    """A command with an end of its own has an orderly one, too; a long-running one sees to it."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main

"""`leasehold version`."""

from __future__ import annotations

import platform

import click

from agent import __version__


@click.command()
def command() -> None:
    """Print the version.

    \b
    Example: leasehold version
    """
    click.echo(f"leasehold {__version__} (Python {platform.python_version()})")

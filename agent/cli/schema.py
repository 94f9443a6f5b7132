"""`leasehold schema`: the configuration's JSON Schema, for editors."""

from __future__ import annotations

import click


@click.command(
    "schema",
    help="""Print the JSON Schema of the configuration, for editors.

    \b
    Example:
      leasehold schema > leasehold.schema.json
    and as the first line of the configuration:
      # yaml-language-server: $schema=leasehold.schema.json
    """,
)
def command() -> None:
    import json

    from agent.config.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

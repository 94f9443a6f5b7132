"""A question to the running agent, through its telemetry's door; and where its doors are."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent.cli.options import Command, config_files
from agent.config.addresses import host_and_port
from agent.config.listener_model import SecretsListener
from agent.config.model import Configuration, Telemetry
from agent.core.errors import AgentError, ConfigurationError

ANSWER_SECONDS = 10.0
MOST_ANSWER = 64 * 1024 * 1024
NO_TELEMETRY = "telemetry: is needed to ask the running agent: an address or a socket"
NO_PLACE = "where is the agent? Say -c FILE, --socket PATH or LEASEHOLD_SOCKET"
NO_LISTENER = "listeners: none of protocol secrets has a `socket`; name it by --socket"


class Answer(NamedTuple):
    """`content` is the JSON object that was answered, a problem's too; {} where it was none."""

    status: int
    content: dict[str, Any]


def ask(
    spec: Telemetry | None,
    method: str,
    path: str,
    wish: object = None,
    *,
    within: float = ANSWER_SECONDS,
) -> Answer:
    """Ask the running agent (blocking); AgentError says that none is there, or it does not answer.

    A `wish` is sent as JSON; `within` so many seconds an answer must begin. ConfigurationError if
    the configuration gives the agent no door.
    """
    if spec is None:
        raise ConfigurationError([NO_TELEMETRY])
    where = str(spec.socket or spec.address)
    body = None if wish is None else json.dumps(wish)
    headers = {} if wish is None else {"Content-Type": "application/json"}
    connection = HTTPConnection("localhost")
    try:
        connection.sock = _connected(spec)
        connection.sock.settimeout(within)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, _object(response.read(MOST_ANSWER)))
    except (ConnectionRefusedError, FileNotFoundError):
        raise AgentError(f"nobody listens at {where}; is the agent running?") from None
    except TimeoutError:
        raise AgentError(f"the agent at {where} does not answer") from None
    except OSError as error:
        raise AgentError(f"can't ask the agent at {where}: {error.strerror or error}") from None
    except HTTPException:
        raise AgentError(f"what listens at {where} is no leasehold agent") from None
    finally:
        connection.close()


def asking_options(function: Command) -> Command:
    """`-c FILE` or `--socket PATH`."""
    config = config_files("The agent's configuration: a file, or a folder of *.yaml.")
    place = click.option("--socket", metavar="PATH", help="The agent's socket; @NAME: abstract.")
    return config(place(function))


def secrets_socket(config: tuple[Path, ...], named: str | None) -> str:
    """The socket of the secrets API: the one named, of the configuration, of the environment."""
    if named:
        return named
    if config:
        from agent.config.load import load

        found = listener_socket(load(config).configuration)
        if found is None:
            raise ConfigurationError([NO_LISTENER])
        return found
    if place := os.environ.get("LEASEHOLD_SOCKET"):
        return place
    raise click.UsageError(NO_PLACE)


def listener_socket(configuration: Configuration) -> str | None:
    """Of the first listener of protocol secrets that has one."""
    listeners = (each for each in configuration.listeners if isinstance(each, SecretsListener))
    return next((each.socket for each in listeners if each.socket is not None), None)


def refusal(answer: Answer) -> str:
    """What the agent says of an answer that is no success."""
    return str(answer.content.get("detail", f"status {answer.status}; is it an older version?"))


def _connected(spec: Telemetry) -> socket.socket:
    if spec.socket is None:
        return socket.create_connection(host_and_port(spec.address or ""), ANSWER_SECONDS)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.settimeout(ANSWER_SECONDS)
        door.connect(_address(str(spec.socket)))
    except OSError:
        door.close()
        raise
    return door


def _address(place: str) -> str:
    """The address of a socket; `@NAME` is in the abstract namespace."""
    return f"\0{place[1:]}" if place.startswith("@") else place


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}

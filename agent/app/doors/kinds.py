"""One function a protocol: its door, put together of what the house has."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec

from agent.api.access import Rules
from agent.api.http import Door, HttpServer, Limits
from agent.api.listener import Doorway
from agent.api.sockets import name_of
from agent.app.doors.house import House
from agent.config.listener_model import (
    AnyListener,
    AwsListener,
    CredentialsListener,
    SecretsListener,
    VaultListener,
)
from agent.core.events import Advice

Use = Callable[[AnyListener, Rules], None]


def _nothing_left() -> None:
    """Nothing of the door outlives it."""


class Kind(msgspec.Struct, frozen=True):
    """A door: what makes its connections, what runs while it is open, how it takes up a reload.

    `turn_away` ends a connection that there is no room for. `leave` comes after the end of one that
    is in the configuration no more.
    """

    doorway: Doorway
    runs: tuple[Callable[[], Awaitable[None]], ...]
    use: Use
    turn_away: Callable[[socket.socket], None] = socket.socket.close
    leave: Callable[[], None] = _nothing_left


def kind_of(spec: AnyListener, rules: Callable[[], Rules], house: House) -> Kind:
    """The door of a listener; `rules` are those in force. ConfigurationError if it can't be.

    May read a file: call it in a thread.
    """
    match spec:
        case SecretsListener():
            return _secrets(spec, rules, house)
        case VaultListener():
            return _vault(spec, rules, house)
        case AwsListener():
            return _aws(spec, rules, house)
        case CredentialsListener():
            return _credentials(spec, rules, house)


def _secrets(spec: SecretsListener, rules: Callable[[], Rules], house: House) -> Kind:
    from agent.api.secrets import SecretsDoor

    door = SecretsDoor(
        name_of(spec),
        rules(),
        house.secrets(),
        house.composition.ledger,
        clock=house.clock,
        bundles=house,
        refused=house.refused,
        gave=house.gave,
    )
    server = _server(spec, door, house, door.close)

    def use(spec: AnyListener, rules: Rules) -> None:
        server.limits = _limits(spec)
        door.reconfigure(rules, house.secrets())

    return Kind(server, (server.run, door.run), use)


def _vault(spec: VaultListener, rules: Callable[[], Rules], house: House) -> Kind:
    from agent.api.vault import VaultDoor

    store = spec.store
    door = VaultDoor(
        name_of(spec),
        spec,
        house.composition.ledger,
        rules=rules,
        upstream=lambda: house.vault(store),
        clock=house.clock,
        gave=house.gave,
    )
    door.use(spec, house.secrets())
    server = _server(spec, door, house)

    def use(spec: AnyListener, rules: Rules) -> None:
        nonlocal store
        vault = cast(VaultListener, spec)
        server.limits, store = _limits(spec), vault.store
        door.use(vault, house.secrets())

    return Kind(server, (server.run,), use)


def _aws(spec: AwsListener, rules: Callable[[], Rules], house: House) -> Kind:
    from agent.api.aws import AwsDoor, Token

    door = AwsDoor(
        name_of(spec),
        house.composition.ledger,
        rules=rules,
        secrets=house.secrets,
        refresh=house.read_anew,
        token=Token.of(spec, os.environ),
        clock=house.clock,
        emit=house.emit,
        changes=house.changes,
        connections=lambda: len(server.connections),
        gave=house.gave,
    )
    server = _server(spec, door, house)

    def use(spec: AnyListener, rules: Rules) -> None:
        server.limits = _limits(spec)
        door.reconfigure(Token.of(cast(AwsListener, spec), os.environ))

    return Kind(server, (server.run, door.run), use)


def _credentials(spec: CredentialsListener, rules: Callable[[], Rules], house: House) -> Kind:
    from agent.api.credentials import Activations, CredentialsDoor

    name, ledger = name_of(spec), house.composition.ledger
    activations = Activations(name, ledger, house.clock)
    door = CredentialsDoor(
        name,
        ledger,
        activations,
        rules=rules,
        secrets=house.secrets,
        timeout=spec.timeout,
        clock=house.clock,
        emit=house.emit,
        spawn=house.spawn,
        audit=house.record,
        answered=house.status.answered[name],
    )

    def use(spec: AnyListener, rules: Rules) -> None:
        door.timeout = cast(CredentialsListener, spec).timeout

    return Kind(door, (door.run,), use, door.turn_away, activations.close)


def _server(
    spec: AnyListener, door: Door, house: House, on_close: Callable[[], None] = lambda: None
) -> HttpServer:
    def defect(error: Exception) -> None:
        text = f"a defect of the agent's own ended a request: {type(error).__name__}"
        house.emit(Advice(subject=name_of(spec), text=text))

    return HttpServer(
        door,
        clock=house.clock,
        spawn=house.spawn,
        audit=house.record,
        on_defect=defect,
        limits=_limits(spec),
        on_close=on_close,
        answered=house.status.answered[name_of(spec)],
    )


def _limits(spec: AnyListener) -> Limits:
    return Limits(idle=spec.limits.idle, slow=spec.limits.slow)

"""Whether a token lives: asked of the server once for all who wonder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent.core.clock import Clock
from agent.core.errors import Denied, Invalid, Outage, StoreError
from agent.core.events import Advice, Emit
from agent.stores.budget import Paced, Priority
from agent.stores.vault.replies import Answer, number
from agent.stores.vault.token import Token


class Proof:
    """Looks tokens up. `lost` is told of one that is dead, and why."""

    def __init__(
        self,
        store: str,
        *,
        paced: Paced,
        clock: Clock,
        emit: Emit,
        lost: Callable[[Token, str], None],
        renew: Callable[[Token], Awaitable[None]],
    ) -> None:
        self._store, self._paced, self._clock, self._emit = store, paced, clock, emit
        self._lost, self._renew = lost, renew
        self._can_look_up = True

    async def is_dead(self, token: Token, sent_at: float, is_known: Callable[[], bool]) -> bool:
        """After a 403: is it the token, or the path? `is_known`: it has not died meanwhile.

        Raises `Outage` when there was no answer to tell by.
        """
        async with token.proof:
            if not is_known():
                return True
            if token.proven_at > sent_at or not self._can_look_up:
                return False
            if await self._looked_up(token) is None:
                return self._can_look_up
            token.proven_at = self._clock.now()
            return False

    async def prove(self, token: Token) -> None:
        """A token of an earlier run: how long it has to live, if it does.

        Where it may not be looked up, it is renewed; one that can't be gets a successor.
        """
        async with token.proof:
            asked_at = self._clock.now()
            try:
                answer = await self._looked_up(token) if self._can_look_up else None
            except StoreError as error:
                if not isinstance(error, Outage) or not error.is_store_wide:
                    token.retry_at = asked_at + token.backoff.delay()
                return
            if answer is not None:
                left, is_renewable = (
                    number(answer.fields.get("ttl")),
                    answer.fields.get("renewable"),
                )
                token.looked_up(asked_at, left, bool(is_renewable))
                return
        if not self._can_look_up:
            token.is_proven = True
            await self._renew(token)

    async def _looked_up(self, token: Token) -> Answer | None:
        """The server's answer; None where it may not be asked, and where the token is dead."""
        try:
            return await self._paced(Priority.LOGIN, "look up token", token.client.lookup_self)
        except (Denied, Invalid) as error:
            if isinstance(error, Denied) and error.is_by_policy:
                self._may_not_look_up()
            else:
                self._lost(token, "it was revoked or has ended")
            return None

    def _may_not_look_up(self) -> None:
        self._can_look_up = False
        text = (
            "the policy does not allow auth/token/lookup-self: a revoked token is taken for a "
            "denied path until it ends"
        )
        self._emit(Advice(subject=self._store, text=text))

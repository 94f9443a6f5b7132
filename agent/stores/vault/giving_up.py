"""Tokens on their way out: ours are revoked, and whatever hangs on them ends with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent.core.errors import Outage, StoreError
from agent.core.events import Advice, Emit, TokenRevoked
from agent.stores.budget import Paced, Priority
from agent.stores.vault.token import Token, Tokens


class GivingUp:
    """`left` are those that were not given back, or not yet: the next run may try again."""

    def __init__(self, store: str, *, paced: Paced, emit: Emit) -> None:
        self._store, self._paced, self._emit = store, paced, emit
        self._under_way: set[asyncio.Task[None]] = set()
        self.left = Tokens()

    def begin(self, token: Token, group: asyncio.TaskGroup) -> None:
        """Revoke it, if that is ours to do; nobody waits for that."""
        if token.is_ours and not token.is_left:
            self.left.append(token)
            revoking = group.create_task(self._revoke(token), name=f"{self._store}: revoke token")
            self._under_way.add(revoking)
            revoking.add_done_callback(self._under_way.discard)

    async def finish(self, tokens: Sequence[Token]) -> None:
        """Revoke these in order, once what was begun is done."""
        living = [token for token in tokens if not token.is_left]
        self.left.extend(living)
        if self._under_way:
            await asyncio.wait(list(self._under_way))
        for token in living:
            if token.is_ours:
                await self._revoke(token)

    async def _revoke(self, token: Token) -> None:
        """A failure leaves it to its TTL, or to the next run."""
        try:
            await self._paced(Priority.REVOKE, "revoke token", token.client.revoke_self)
        except StoreError as error:
            text = f"a token that is no longer used was not revoked: {error.reason}"
            self._emit(Advice(subject=self._store, text=text))
            if isinstance(error, Outage):
                return
        else:
            self._emit(TokenRevoked(store=self._store))
        self.left.remove(token)

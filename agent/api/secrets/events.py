"""Changes as server-sent events: first how all is now, then what changes; never a value.

A client that reads slowly gets the newest state of each name, not every one in between: what is
kept for it is bounded by the number of names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection

import msgspec

from agent.api.secrets.answers import summary
from agent.api.secrets.changes import Changes
from agent.core.clock import Clock
from agent.ledger import Ledger

HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": alive\n\n"
GONE = "gone"
"""The state of a name that the caller may read no longer, or that there is no more."""

CONTENT_TYPE = "text/event-stream"


async def events(
    changes: Changes, ledger: Ledger, clock: Clock, visible: Callable[[], Collection[str]]
) -> AsyncIterator[bytes]:
    """Until `changes` is over. `visible`: what the caller may read, as of now."""
    with changes.follow() as follower:
        told: dict[str, bytes] = {}
        follower.is_all = True
        while not changes.is_over:
            names = set(visible())
            asked = names | told.keys() if follower.is_all else set(follower.changed)
            follower.event.clear()
            follower.changed, follower.is_all = {}, False
            news = []
            for name in sorted(asked & (names | told.keys())):
                event = _event(ledger, name, is_visible=name in names)
                if told.get(name) != event:
                    news.append(event)
                    told[name] = event
            for name in told.keys() - names:
                del told[name]
            yield b"".join(news)
            while not await clock.wait(follower.event, clock.now() + HEARTBEAT_SECONDS):
                yield HEARTBEAT


def _event(ledger: Ledger, name: str, *, is_visible: bool) -> bytes:
    gone = {"name": name, "version": None, "state": GONE}
    content = summary(ledger.entry(name)) if is_visible else gone
    return b"event: secret\ndata: %b\n\n" % msgspec.json.encode(content)

"""One owner per secret: it alone asks the store, and writes the secret's page of the ledger.

    watcher   the coroutine: fetch, record, sleep until due, renew or read again
    page      what it writes: the current value, those before it, what an app has refused
    holding   when one value is due, and how long it is good
    former    values that were replaced and are kept alive until nobody holds them
    refusal   when another value is tried after one was refused
    pauses    how long it waits at most after a failure
    keeping   from a value in hand to one in the book, and back

What a value looks like, and who gets it, is not known here.
"""

from agent.watcher.watcher import Watcher

__all__ = ["Watcher"]

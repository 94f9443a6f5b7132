"""One owner per secret: it alone asks the store, and writes the secret's page of the ledger.

    watcher   the coroutine: fetch, record, sleep until due, renew or read again
    holding   when one value is due, and how long it is good
    former    values that were replaced and are kept alive until nobody holds them

What a value looks like, and who gets it, is not known here.
"""

from agent.watcher.watcher import Watcher

__all__ = ["Watcher"]

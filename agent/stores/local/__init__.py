"""The local encrypted store: its entries, their file, and the store that watchers read.

No network, no server, no identity: who can read the key can read the store.
"""

from agent.stores.local.store import LocalStore, open_store

__all__ = ["LocalStore", "open_store"]

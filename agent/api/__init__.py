"""The local doors: listeners, who is at the other end, and what that one may have.

Here belongs what faces local processes: sockets, callers, access rules and the protocols, one
package each. It reads the ledger, never a store; what it needs of bundles is handed in by the room
above.
Nothing of it is imported unless the configuration has a listener.
"""

"""The Vault API for local programs: hvac, `bao`, any SDK, pointed at a local socket.

    asking      what a request wants: path, capability, namespace, token
    door        what it gets, and by what right
    held        reads that the ledger answers
    leases      renewing and looking up what the agent holds
    own_token   the agent's token, which is told about and never told
    relay       what is passed on to the vault
    words       answers as a server words them

No store is imported: the one that requests are passed on to is handed in.
"""

from agent.api.vault.door import VaultDoor

__all__ = ["VaultDoor"]

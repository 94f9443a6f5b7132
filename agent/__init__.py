"""leasehold: secrets out of a vault, into a process, and away again when it ends.

The rooms, and the one direction in which they may know each other:

    cli > app > delivery > watcher > ledger, rendering > stores > config > core

`telemetry` listens to the events of `core` and is put in place by `app`.
"""

__version__ = "0.1.0"

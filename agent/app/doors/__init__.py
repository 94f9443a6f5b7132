"""The local doors at work: which there are, and what each protocol needs of the rest of the agent.

    house    what the agent has for its doors
    kinds    one function a protocol: its door, put together
    doors    all of them: opened, moved to the next configuration, closed

A protocol is imported when a listener speaks it, and not before.
"""

from agent.app.doors.doors import Doors
from agent.app.doors.house import House

__all__ = ["Doors", "House"]

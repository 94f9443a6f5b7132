"""A bundle's files as whole generations on memory.

generations  what a bundle knows: write, publish, discard, restore, and who was told
layout       `..data`, the links, and the one rename
tree         a generation's files, written and read through directory descriptors
claim        one agent at a time
place        the directory itself: made, or refused
marker       numbers and announcements that outlive a run
memory       is a directory on memory, and may it be swapped out
ownership    names of users and groups to numbers
"""

from agent.delivery.generations.claim import Claim
from agent.delivery.generations.generations import Candidate, Generations, RenderedFile
from agent.delivery.generations.layout import DATA

__all__ = ["DATA", "Candidate", "Claim", "Generations", "RenderedFile"]

"""Each fault on each operation in each phase of an agent's life, against the real servers.

cells     which cells there are, and what each is measured by
plant     one cell's vault account, proxy, database, app and agent
strike    a fault on one operation of one agent: put there, seen to hit, taken away
course    how an operation is made to happen in a phase, and how one cell is lived through
judgement what must hold of a cell, and what happened in it in a few words
table     the outcomes as docs/reliability.md shows them
"""

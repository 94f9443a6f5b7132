"""The sealed cache: the last known good, encrypted, for the next run of the agent.

What is kept is `agent/core/book.py`'s; here is how it gets to the disk and back (`file`), and when
(`keeper`). What a kept value is worth is for the watchers to judge.
"""

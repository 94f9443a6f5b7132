"""Side-by-side measurements of whole processes, against `bao agent` of the OpenBao at hand.

ground    a real server full of secrets, and folders in memory
peers     the two agents, each with a configuration for the same work
watch     one process from outside: until its files are there, its CPU, its memory
measures  what is measured
report    RESULTS.md
"""

"""An agent that is killed at one point, and what becomes of it in the next run.

points    the points, phase by phase
app       an app that uses what it was told of, and refuses what it is to refuse
course    one life to its sudden end, and the next one to an orderly end
"""

"""Who read what, and what changed: one chained record for each, written before the answer is sent.

    record    what is recorded, and its line
    chain     what makes a line depend on all before it
    place     the files on the disk, opened with suspicion
    tail      where a file ends, and what tells of it beside the file
    file      the file: rotation, a new start, a disk that is full
    journal, syslog    other places that lines go to
    writer    `Audit`: from the loop to all of these, in one write for each turn of it
    trail     what doors call
    changes   events that are recorded
    verify, show    what the command reads

Nothing of it is imported where the configuration has no `audit`. A value is never recorded: records
are made of named fields, and none of them holds one.
"""

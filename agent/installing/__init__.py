"""`leasehold install`: which files make a service of this command, and their way onto the disk.

    choice   what was asked for, and whether it fits together
    units    the files of a choice, from the texts that the package carries
    place    compared with what is there, written, taken away
    host     systemd, asked and told by its commands
    program  the command that the service is to run, and whether root may trust it

Nothing of a running agent is here, and nothing here is imported by one.
"""

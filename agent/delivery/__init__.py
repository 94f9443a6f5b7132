"""From a secret's value to an app that is proven to use it.

    bundle        the transaction: render, validate, publish, notify, confirm, retire
    content       what a bundle's files are made of
    files …       generations of files on memory, by one rename
    announcer     who is told of a generation, and whom it has reached; `notify/` has the ways
    confirm, validate
    supervision   what the child of `leasehold run` is given; `process` … is its life

Where values come from, and when they are due, is not known here.
"""

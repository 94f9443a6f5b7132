"""From a secret's value to an app that is proven to use it.

    bundle        the transaction: render, validate, publish, notify, confirm, retire
    content       what a bundle's files are made of
    generations/  files on memory that change by one rename
    validate/     the candidate is looked at before anybody else sees it
    announcer     whom a generation has reached; notify/ has the ways to tell
    confirm/      the app's proof
    process/      the child of `leasehold run`, and commands

Where values come from, and when they are due, is not known here.
"""

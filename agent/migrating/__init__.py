"""Other agents' configurations become ours: what `leasehold import` does.

Here belong readers of their formats (HCL, Go templates, annotations), the tables of their
directives, and the draft of a configuration that comes out. Nothing is fetched, and no credential
is copied: where one stands in a file, it is named. Knows `config` and nothing else of the agent.
"""

"""From values to the bytes of a file: templates and formats.

Here belongs whatever turns readings into bytes, and what can be said about a template before there
is a value: its syntax, the secrets it needs. Everything is a pure function, the same input gives
the same bytes, and a failure is a `RenderError` that names place and line, never a value.

Not here: reading template files, watching them, writing results, knowing when a value changed
(`delivery`, `file_watch`). Jinja2 is imported once a template needs it, cryptography once a
PKCS #12 is asked for; formats and templates of mere `{{ name.field }}` need neither.
"""

"""A Jinja template as it is put together: texts that come out as they are, and tags."""

from __future__ import annotations

import re

from agent.migrating.symbols import quoted

_LOOKS_LIKE_TAG = re.compile(r"\{(?=[{%#]|\Z)|\r")
_TRIMS = "+-"


class JinjaText:
    """What a text has that Jinja would take for a tag, or change, is put out by a tag."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._text = ""

    def add(self, text: str) -> None:
        """A text."""
        self._text += text

    def tag(self, tag: str) -> None:
        """`{{ … }}` or `{% … %}`."""
        self._flush(is_end=False)
        self._done.append(tag)

    def comment(self, text: str) -> None:
        """A comment, if it can be one."""
        text = text.strip(_TRIMS).strip()
        if text and "#}" not in text and "\r" not in text:
            self.tag(f"{{# {text} #}}")

    def whole(self) -> str:
        """The template."""
        self._flush(is_end=True)
        return "".join(self._done)

    def _flush(self, *, is_end: bool) -> None:
        text, self._text = self._text, ""

        def put_out(match: re.Match[str]) -> str:
            is_last = match[0] == "{" and match.end() == len(text)
            return "{" if is_last and is_end else f"{{{{ {quoted(match[0])} }}}}"

        self._done.append(_LOOKS_LIKE_TAG.sub(put_out, text))

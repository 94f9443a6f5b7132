"""The token that a request must carry: a page in a browser can't, nor a misled proxy."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from agent.config.model import AwsListener
from agent.core.errors import AgentError

VARIABLES = ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
DEFAULT_FILE = Path("/var/run/awssmatoken")
"""Where the original's own script puts it."""
HEADERS = ("x-aws-parameters-secrets-token", "x-vault-token")
LONGEST = 4096
_FILE = "file://"


class Token:
    """What is expected; `file` is where it comes from, if it does. Its repr tells nothing."""

    def __init__(self, value: str, file: Path | None = None) -> None:
        self._value, self.file = value.encode(), file

    def is_in(self, headers: Mapping[str, str]) -> bool:
        """Whether one of the headers has it; the time that takes tells nothing of it."""
        sent = [headers[name].encode() for name in HEADERS if name in headers]
        return any(hmac.compare_digest(each, self._value) for each in sent)

    @classmethod
    def of(cls, spec: AwsListener, environment: Mapping[str, str]) -> Token | None:
        """The listener's; None where none is needed: on a UNIX socket without one of its own.

        AgentError if there is none where one is needed, or its file can't be used. Blocks.
        """
        if spec.token is not None:
            return cls.from_file(spec.token.file)
        if spec.socket is not None:
            return None
        value = next((environment[each] for each in VARIABLES if environment.get(each)), None)
        if value is None:
            return cls.from_file(DEFAULT_FILE)
        if value.startswith(_FILE):
            return cls.from_file(Path(value.removeprefix(_FILE)))
        return cls(_sound(value, "the environment's"))

    @classmethod
    def from_file(cls, file: Path) -> Token:
        """As above."""
        try:
            with file.open("rb") as opened:
                content = opened.read(LONGEST + 1)
        except OSError as error:
            raise AgentError(f"token: {file}: {error.strerror or error}") from None
        return cls(_sound(content.decode("latin-1").strip(), str(file)), file)


def _sound(value: str, whose: str) -> str:
    """Something that a header can carry."""
    if value and len(value) <= LONGEST and value.isascii() and value.isprintable():
        return value
    reason = "is no token: 1 to 4096 printable ASCII characters are wanted"
    raise AgentError(f"token: {whose} {reason}")

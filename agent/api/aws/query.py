"""What a request asks for, by its path and its parameters; the texts are the original's."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

QUERY_PATH = "/secretsmanager/get"
PATH_PREFIX = "/v1/"
MOST_PARAMETERS = 32

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PARAMETERS = {
    "versionId": "version_id",
    "versionStage": "version_stage",
    "refreshNow": "is_refresh",
    "roleArn": "role_arn",
}


class Query(msgspec.Struct, frozen=True):
    """`secret_id` is a name, an alias or an ARN of ours, as it was sent. None: not asked for."""

    secret_id: str
    version_id: str | None = None
    version_stage: str | None = None
    is_refresh: bool = False
    role_arn: str | None = None


class BadQuery(Exception):
    """Nothing can be asked for so: a status, and the text that goes back."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def parsed(path: str, query: str) -> Query:
    """Of a raw path, which is not percent-decoded, and a raw query, which is, once."""
    if path == QUERY_PATH:
        found = _parameters(query, {**_PARAMETERS, "secretId": "secret_id"})
        if not found.get("secret_id"):
            raise BadQuery(400, "missing parameter secretId")
        return msgspec.convert(found, Query)
    if not path.startswith(PATH_PREFIX):
        raise BadQuery(404, "Not found")
    if path == PATH_PREFIX:
        raise BadQuery(400, "missing secret ID")
    found = _parameters(query, _PARAMETERS)
    return msgspec.convert({**found, "secret_id": path.removeprefix(PATH_PREFIX)}, Query)


def _parameters(query: str, known: dict[str, str]) -> dict[str, str | bool]:
    """In their order, of a repeated one the last: the first that is wrong is told."""
    found: dict[str, str | bool] = {}
    for name, value in _pairs(query):
        if name not in known:
            raise BadQuery(400, f"unknown parameter: {name}")
        found[known[name]] = _boolean(value) if name == "refreshNow" else value
    return found


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise BadQuery(400, "too many parameters") from None
    return pairs


def _boolean(value: str) -> bool:
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise BadQuery(400, "invalid refreshNow value")
    return found

"""The OpenAPI 3.1 description of the API, served at /openapi.json to every caller."""

from __future__ import annotations

from typing import Any

import msgspec

from agent import __version__
from agent.api.http import Answer
from agent.api.secrets.targets import WAIT_PATTERN

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TEXT_OR_NONE: Json = {"type": ["string", "null"]}
_NAME: Json = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
_FIELD: Json = {"name": "field", "in": "path", "required": True, "schema": _TEXT}
_IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "schema": _TEXT,
    "description": "The entity tag of the value that is known; then 304 if there is no other.",
}
_WAIT: Json = {
    "name": "wait",
    "in": "query",
    "schema": {"type": "string", "pattern": f"^(?:{WAIT_PATTERN})$"},
    "example": "60s",
    "description": "Answer as soon as there is another value, after this time at the latest (at "
    "most 10m). Without If-None-Match: another one than now.",
}
_ETAG: Json = {"ETag": {"schema": _TEXT, "description": "Of this value, while this agent runs."}}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: str, **more: Json) -> Json:
    content = {"application/json": {"schema": _schema(schema)}}
    return {"description": description, "content": content, **more}


def _problem(description: str, **more: Json) -> Json:
    content = {"application/problem+json": {"schema": _schema("Problem")}}
    return {"description": description, "content": content, **more}


_BAD = {"400": _problem("A parameter or a body that can't be meant.")}
_DENIED = {"403": _problem("There is no such thing, or no rule lets the caller have it.")}
_NOT_MODIFIED = {"304": {"description": "It is the one that is known.", "headers": _ETAG}}
_NOT_HAD = {
    "503": _problem(
        "There is no value that may be used, or the audit can't be written.",
        headers={"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    )
}
_COMMON = {"503": _problem("The audit can't be written.")}


def _get(summary: str, responses: Json, *parameters: Json) -> Json:
    """HEAD is answered as well, without a body."""
    return {"summary": summary, "parameters": list(parameters), "responses": responses}


def _post(summary: str, schema: str, responses: Json) -> Json:
    body = {"required": True, "content": {"application/json": {"schema": _schema(schema)}}}
    return {
        "summary": summary,
        "parameters": [_NAME],
        "requestBody": body,
        "responses": responses,
    }


def _bytes() -> Json:
    content = {
        "text/plain": {"schema": _TEXT},
        "application/octet-stream": {"schema": {}},
    }
    return {"description": "The bytes of the field.", "content": content, "headers": _ETAG}


def _events() -> Json:
    text = "`event: secret` with name, version and state as JSON: all of them, then each change."
    return {"description": text, "content": {"text/event-stream": {"schema": _TEXT}}}


def _paths() -> Json:
    secret = {"200": _json("The secret.", "Secret", headers=_ETAG)}
    reading = {**_BAD, **_DENIED, **_NOT_HAD, **_NOT_MODIFIED}
    confirm = {
        "204": {"description": "Taken."},
        **_BAD,
        **_DENIED,
        **_COMMON,
        "409": _problem("It is not the generation that is there, or the app is not asked here."),
    }
    refused = {"202": _json("Taken.", "Looking"), **_BAD, **_DENIED, **_COMMON}
    listed = {"200": _json("All of them.", "Secrets"), **_BAD, **_COMMON}
    bundle = {"200": _json("The bundle.", "Bundle"), **_BAD, **_DENIED, **_COMMON}
    field = {"200": _bytes(), **reading, "404": _problem("The secret has no such field.")}
    return {
        "/v1/secrets": {"get": _get("What the caller may read", listed)},
        "/v1/secrets/{name}": {
            "get": _get("A secret", {**secret, **reading}, _NAME, _WAIT, _IF_NONE_MATCH)
        },
        "/v1/secrets/{name}/{field}": {
            "get": _get("A field's bytes", field, _NAME, _FIELD, _IF_NONE_MATCH)
        },
        "/v1/secrets/{name}/refused": {
            "post": _post("This version does not work", "Refused", refused)
        },
        "/v1/events": {"get": _get("Changes, as they come", {"200": _events(), **_BAD, **_COMMON})},
        "/v1/bundles/{name}": {"get": _get("A bundle's generation", bundle, _NAME)},
        "/v1/bundles/{name}/confirm": {
            "post": _post("The app's word on a generation", "Confirmed", confirm)
        },
    }


def _object(required: str, **properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


def _schemas() -> Json:
    summary = _object(
        "name version state",
        name=_TEXT,
        version=_TEXT_OR_NONE,
        state={"enum": ["waiting", "fresh", "stale", "expired"]},
    )
    instant = {"type": ["string", "null"], "format": "date-time"}
    generation = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
    confirmed = _object("generation", generation=generation, error=_TEXT_OR_NONE)
    refused = _object("version", version=_TEXT)
    return {
        "Secrets": _object("secrets", secrets={"type": "array", "items": summary}),
        "Secret": _object(
            "name version value expires_at stale read_at",
            name=_TEXT,
            version=_TEXT,
            value={"type": "object"},
            expires_at=instant,
            stale={"type": "boolean"},
            read_at=instant,
            encoding={"type": "object", "additionalProperties": {"const": "base64"}},
        ),
        "Bundle": _object(
            "name generation state confirmed_at",
            name=_TEXT,
            generation={"type": "integer", "minimum": 0},
            state=_TEXT,
            confirmed_at=instant,
        ),
        "Confirmed": {**confirmed, "additionalProperties": False},
        "Refused": {**refused, "additionalProperties": False},
        "Looking": _object("is_new", is_new={"type": "boolean"}),
        "Problem": _object(
            "type title status detail",
            type=_TEXT,
            title=_TEXT,
            status={"type": "integer"},
            detail=_TEXT,
        ),
    }


def document() -> Json:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "leasehold secrets API", "version": __version__},
        "servers": [{"url": "http://localhost", "description": "Over the UNIX socket."}],
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }


OPENAPI = Answer(200, msgspec.json.encode(document()) + b"\n")

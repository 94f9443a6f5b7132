"""The model as a JSON Schema (2020-12), for editors: `leasehold schema`.

It judges one file by itself, so it knows nothing of merging, of references between sections and of
what `${…}` will be. A mode it wants in quotes, as YAML 1.1 and 1.2 differ on 0440.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.config import kinds
from agent.config.kinds import Model
from agent.config.model import Configuration
from agent.config.scalars import TEMPLATE_WORDS
from agent.config.shape import (
    Anything,
    Choice,
    Field,
    Limits,
    Many,
    Named,
    OneOf,
    Scalar,
    Section,
    Shape,
    fields_of,
)

Schema = dict[str, Any]

EXPANDED = {"type": "string", "pattern": r"\$\{"}
TEXT = ["string", "number", "boolean"]
"""A text may be written without quotes; it is taken as it is written."""


def json_schema() -> Schema:
    """The schema of a configuration file."""
    definitions: dict[str, Schema] = {}
    _define(Configuration, definitions)
    root = definitions.pop(Configuration.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of leasehold",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _define(model: type[Model], definitions: dict[str, Schema]) -> Schema:
    """Put the section's schema into the definitions once; a reference to it."""
    if model.__name__ not in definitions:
        definitions[model.__name__] = {}
        definitions[model.__name__] = _section(model, definitions)
    return {"$ref": f"#/$defs/{model.__name__}"}


def _section(model: type[Model], definitions: dict[str, Schema]) -> Schema:
    properties, required = {}, []
    config = model.__struct_config__
    if config.tag_field is not None:
        properties[config.tag_field] = {"const": config.tag}
        required.append(config.tag_field)
    for name, field in fields_of(model).items():
        properties[name] = _property(field, definitions)
        required += [name] if field.is_required else []
    schema: Schema = {
        "type": "object",
        "description": (model.__doc__ or "").partition("\n")[0],
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    if model.exactly_one:
        groups = [[_given(key) for key in group] for group in model.exactly_one]
        schema["allOf"] = [{"oneOf": each} for each in groups]
    return schema


def _given(key: str) -> Schema:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def _property(field: Field, definitions: dict[str, Schema]) -> Schema:
    schema = _schema(field.shape, definitions)
    if not field.is_required:
        schema = _or_empty(schema)
    shown = _default(field)
    described = {"description": field.description} if field.description else {}
    return {**described, **schema, **({} if shown is None else {"default": shown})}


def _or_empty(schema: Schema) -> Schema:
    """A key that may be left out may also be left empty."""
    if "type" in schema and "enum" not in schema:
        wanted = schema["type"]
        return {**schema, "type": [*(wanted if isinstance(wanted, list) else [wanted]), "null"]}
    members = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    return {"anyOf": [*members, {"type": "null"}]} if schema else schema


def _default(field: Field) -> Any:
    if isinstance(field.shape, Scalar) and field.shape.kind is kinds.MODE and field.default:
        return f"{field.default:04o}"
    if isinstance(field.default, Path):
        return str(field.default)
    is_simple = isinstance(field.default, str | int | float) and field.default != ""
    return field.default if is_simple else None


def _schema(shape: Shape, definitions: dict[str, Schema]) -> Schema:
    match shape:
        case Scalar():
            return _scalar(shape)
        case Section():
            return _define(shape.model, definitions)
        case Choice():
            return {"anyOf": [{"enum": list(shape.words)}, EXPANDED]}
        case Many():
            items = _schema(shape.item, definitions)
            least = {"minItems": shape.least} if shape.least else {}
            return {"type": "array", "items": items, **least}
        case Named():
            return {
                "type": "object",
                "propertyNames": _name(shape.name),
                "additionalProperties": _schema(shape.item, definitions),
                **({"minProperties": shape.least} if shape.least else {}),
            }
        case OneOf():
            return _one_of(shape, definitions)
        case Anything():
            return {}


def _one_of(shape: OneOf, definitions: dict[str, Schema]) -> Schema:
    members: list[Schema] = [_define(each, definitions) for _, each in shape.sections]
    if shape.words:
        members += [{"enum": list(shape.words)}, EXPANDED]
    if shape.short:
        members.insert(0, {"type": TEXT})
    return {"anyOf": members}


def _name(name: Scalar) -> Schema:
    pattern = {"pattern": f"^(?:{name.kind.pattern})$"} if name.kind else {}
    if name.kind is kinds.SECRET_NAME:
        return {**pattern, "not": {"enum": sorted(TEMPLATE_WORDS)}}
    return pattern


def _scalar(shape: Scalar) -> Schema:
    pattern = shape.kind.pattern if shape.kind else ""
    if shape.kind is kinds.DURATION:
        written = {"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"}
        return {"anyOf": [{"type": "number", "minimum": 0, **_limits(shape)}, written]}
    if shape.kind is kinds.BYTES:
        written = {"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"}
        return {"anyOf": [{"type": "integer", **_limits(shape)}, written]}
    if shape.kind is kinds.CREDENTIAL:
        return {"type": "string", "pattern": f"^(?:{pattern})+$"}
    if pattern:
        return {"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"}
    if shape.base is Path:
        return {"type": "string", "minLength": 1}
    if shape.base is str:
        return {"type": TEXT}
    name = {int: "integer", float: "number", bool: "boolean"}[shape.base]
    return {"anyOf": [{"type": name, **_limits(shape)}, EXPANDED]}


def _limits(shape: Scalar) -> Schema:
    limits = shape.limits or Limits()
    found = {
        "minimum": limits.least,
        "exclusiveMinimum": limits.above,
        "maximum": limits.most,
    }
    return {key: value for key, value in found.items() if value is not None}

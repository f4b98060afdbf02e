"""The OpenAPI document, generated from the classes that serve the wire."""

import inspect
import types
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from attrs import NOTHING, Attribute, fields, has

from orchestrator_core import __version__
from orchestrator_entrypoints.operations import OPERATIONS, Operation
from orchestrator_entrypoints.wire import JsonObject

OPENAPI_VERSION = "3.1.0"

Json = dict[str, Any]

_SCALARS: dict[object, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Decimal: {"type": "string", "format": "decimal"},
    UUID: {"type": "string", "format": "uuid"},
    date: {"type": "string", "format": "date"},
    datetime: {"type": "string", "format": "date-time"},
    JsonObject: {"type": "object", "additionalProperties": True},
    types.NoneType: {"type": "null"},
}


def build_openapi() -> Json:
    """Return the document."""
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Orchestrator",
            "version": __version__,
            "description": "Turns a strategy's signals into orders: once, within limits, provably.",
        },
        "paths": paths,
        "components": {"schemas": {kind.__name__: _component(kind) for kind in _components()}},
    }


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": f"{operation.method}_{operation.path.strip('/')}".translate(
            str.maketrans("/-{}", "__  ")
        ).replace(" ", ""),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {
            str(status): _response(status, bodies) for status, bodies in operation.answers.items()
        },
    }
    if operation.takes is not None:
        described["requestBody"] = {"required": True, "content": _json(schema_of(operation.takes))}
    return described


def _response(status: int, bodies: tuple[type, ...]) -> Json:
    described: Json = {"description": HTTPStatus(status).phrase}
    if not bodies:
        return described | {"content": {"text/plain": {"schema": {"type": "string"}}}}
    schemas = [schema_of(body) for body in bodies]
    return described | {"content": _json(schemas[0] if len(schemas) == 1 else {"anyOf": schemas})}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def schema_of(kind: Any) -> Json:
    """Return the schema of a field's type; a wire class is referred to by name.

    Raises:
        TypeError: The wire has no form for such a type.
    """
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if has(kind):
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [str(word) for word in kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004
        return {"type": "array", "items": schema_of(arguments[0])}
    raise TypeError(f"the wire has no form for {kind!r}")


def _component(kind: type) -> Json:
    hints = get_type_hints(kind)
    return {
        "type": "object",
        "description": inspect.getdoc(kind),
        "properties": {
            attribute.name: _property(attribute, hints[attribute.name])
            for attribute in fields(kind)
        },
        "required": [attribute.name for attribute in fields(kind) if attribute.default is NOTHING],
    }


def _property(attribute: "Attribute[Any]", hint: Any) -> Json:
    said: Json = attribute.metadata.get("schema", {})
    return dict(said) if "anyOf" in said else schema_of(hint) | said


def _components() -> list[type]:
    """Return every wire class that an operation reaches, by name."""
    reached: set[type] = set()
    waiting = [
        body
        for operation in OPERATIONS
        for body in (operation.takes, *(b for bodies in operation.answers.values() for b in bodies))
        if body is not None
    ]
    while waiting:
        kind = waiting.pop()
        if kind not in reached:
            reached.add(kind)
            waiting += [inner for hint in get_type_hints(kind).values() for inner in _inside(hint)]
    return sorted(reached, key=lambda kind: kind.__name__)


def _inside(hint: Any) -> Iterator[type]:
    if has(hint):
        yield hint
    for argument in get_args(hint):
        yield from _inside(argument)

"""OpenAPI documents: of the whole door, and of one model with its own tensors in it."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from mlserver.rest.examples import model_schemas
from mlserver.rest.schemas import COMPONENTS, ref
from mlserver.rest.table import OPERATIONS, Operation
from mlserver.settings import Settings
from mlserver.types import MetadataModelResponse

Document = dict[str, Any]

# What any request with a body may get, and any request at all.
_BODY_STATUSES = (400, 413, 415)
_STATUSES = (431, 500)
# `{name:converter}`, as path templates may have it and OpenAPI may not.
_CONVERTER = re.compile(r":[^{}]*\}")
_NAME = re.compile(r"\{(\w+)\}")
_PARAMETERS = ("model_name", "model_version", "repository")


def server_document(settings: Settings, custom: Iterable[tuple[str, str]] = ()) -> Document:
    """Every operation, for any model, and the `custom` routes that models bring: methods and path templates."""
    document = _document(settings, "Open Inference Protocol (V2)", OPERATIONS, COMPONENTS)
    for method, path in custom:
        shown = _CONVERTER.sub("}", path)
        document["paths"].setdefault(shown, {}).setdefault(method.lower(), _custom(method, shown))
    return document


def model_document(settings: Settings, metadata: MetadataModelResponse, version: str | None) -> Document:
    """The operations of one model, its name - and its version, where that was asked for - in their paths.

    Requests and answers are those of this model: its tensors, by name, with an example.
    """
    wanted = "{model_version}" if version else "{model_name}"
    unwanted = None if version else "{model_version}"
    operations = [
        operation._replace(
            path=operation.path.replace("{model_name}", metadata.name).replace("{model_version}", version or "")
        )
        for operation in OPERATIONS
        if operation.tag == "model"
        and wanted in operation.path
        and (unwanted is None or unwanted not in operation.path)
    ]
    named = f"{metadata.name} {version}" if version else metadata.name
    return _document(settings, f"Model {named}", operations, COMPONENTS | model_schemas(metadata))


def _document(settings: Settings, title: str, operations: Iterable[Operation], schemas: Document) -> Document:
    paths: Document = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": settings.server_version,
            "description": f"Served by {settings.server_name}",
        },
        "servers": [{"url": settings.root_path or "/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(operation: Operation) -> Document:
    described: Document = {
        "operationId": _id_of(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    parameters = [_parameter(name) for name in _PARAMETERS if f"{{{name}}}" in operation.path]
    if operation.tag == "model" and "/versions/" not in operation.path:
        parameters.append({"name": "model_version", "in": "query", "required": False, "schema": {"type": "string"}})
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content = {"application/json": {"schema": ref(operation.body)}} | _binary(operation)
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _custom(method: str, path: str) -> Document:
    """A route of which only the model knows more."""
    return {
        "operationId": f"custom_{method.lower()}{path}",
        "summary": "Brought by a model",
        "tags": ["custom"],
        "parameters": [_parameter(name) for name in _NAME.findall(path)],
        "responses": {"200": {"description": "OK"}, "default": _error("An error")},
    }


def _responses(operation: Operation) -> Document:
    statuses = {*operation.statuses, *_STATUSES, *(_BODY_STATUSES if operation.body else ())}
    answered: Document = {"description": "OK"}
    if operation.answer:
        kind = "text/event-stream" if operation.stream else "application/json"
        schema = _event(operation.answer) if operation.stream else ref(operation.answer)
        answered["content"] = {kind: {"schema": schema}} | _binary(operation)
    if operation.stream:
        answered["description"] = (
            f"Events whose data are JSON: each a {operation.answer}, or an Error, which is the last"
        )
    responses = {"200": answered} | {str(status): _error(HTTPStatus(status).phrase) for status in sorted(statuses)}
    return responses | ({"default": _error("A status that the model chose")} if operation.any_status else {})


def _binary(operation: Operation) -> Document:
    """The other form of a body: JSON, and behind it tensors, as the header Inference-Header-Content-Length says."""
    return {"application/octet-stream": {}} if operation.binary else {}


def _event(data: str) -> Document:
    """One event of a stream."""
    held = {"type": "string", "contentMediaType": "application/json", "contentSchema": ref(data)}
    return {"type": "object", "properties": {"data": held}, "required": ["data"]}


def _error(description: str) -> Document:
    return {"description": description, "content": {"application/json": {"schema": ref("Error")}}}


def _parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _id_of(operation: Operation) -> str:
    """Unique, and the same from run to run."""
    words = [operation.method.lower(), *operation.path.removeprefix("/v2").split("/")]
    return "_".join(word.strip("{}") for word in words if word)

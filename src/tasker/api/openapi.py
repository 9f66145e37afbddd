"""The OpenAPI 3.1 description of all routes, responses and problems."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import partial
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, TypeAdapter, with_config
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from tasker import model, why
from tasker.analytics import failures
from tasker.analytics import model as analytics
from tasker.api.compat import legacy_views
from tasker.api.docstrings import attribute_docstrings
from tasker.api.problems import ProblemDetails
from tasker.api.requests import JSON_TYPES, JsonBodyParser
from tasker.api.views import tasks
from tasker.teams import model as teams
from tasker.template import diff

_REF = "#/components/schemas/{model}"
_ABOUT = """\
Create tasks, read them, and act on them.

Every error response is `application/problem+json` and has a stable `code`.
Every response has the header `X-Correlation-Id`, with the id that the request sent or a new id.
"""


_DATACLASSES = (model, teams, analytics, failures, diff, tasks, legacy_views, why)
"""Modules with dataclasses that are used as responses."""

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token issued by the identity provider.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How callers authenticate."""


def build_openapi(
    routes: Sequence[BaseRoute],
    version: str,
    *,
    secured: bool = False,
    public: Collection[str] = (),
) -> dict[str, Any]:
    """Describe the API.

    Args:
        routes: Its routes, with the models of their responses.
        version: Version of the API.
        secured: Whether callers must authenticate.
        public: Permissions that need no authentication.
    """
    for module in _DATACLASSES:
        for kind in vars(module).values():
            if isinstance(kind, type) and is_dataclass(kind):
                _describe_dataclass(kind)
    spec = get_openapi(
        title="Tasker",
        version=version,
        openapi_version="3.1.0",
        description=_ABOUT,
        routes=routes,
    )
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(_json_schemas_of(ProblemDetails))
    bodies = list(_routes_with_json_body(routes))
    models = {model.__name__: model for _, body in bodies for model in body.possible_models}
    _, definitions = models_json_schema(
        [(model, "validation") for model in models.values()], ref_template=_REF
    )
    schemas.update(definitions.get("$defs", {}))
    for route, body in bodies:
        for method in route.methods or ():
            operation = spec["paths"][route.path_format][method.lower()]
            operation["requestBody"] = _describe_request_body(body)
    for path in spec["paths"].values():
        for operation in path.values():
            _remove_422_and_describe_headers(operation)
            if secured and set(operation.get("x-permissions", ())).difference(public):
                operation["security"] = [{name: []} for name in SCHEMES]
    if secured:
        spec["components"]["securitySchemes"] = SCHEMES
    return spec


def _describe_dataclass(kind: type) -> None:
    """Describe a dataclass as a response, with the docstrings of its attributes, including
    inherited ones. All fields are required.
    """
    config = ConfigDict(
        json_schema_extra=partial(_describe_response_fields, kind),
        json_schema_serialization_defaults_required=True,
    )
    with_config(config)(kind)


def _describe_response_fields(kind: type, schema: dict[str, Any]) -> None:
    documented = attribute_docstrings(kind)
    for name, field in schema["properties"].items():
        field.pop("default", None)
        if name in documented:
            field.setdefault("description", documented[name].replace("None", "null"))


def _json_schemas_of(shape: Any) -> dict[str, Any]:
    schema = TypeAdapter(shape).json_schema(ref_template=_REF)
    return {**schema.pop("$defs", {}), shape.__name__: schema}


def _routes_with_json_body(
    routes: Iterable[BaseRoute],
) -> Iterator[tuple[APIRoute, JsonBodyParser[BaseModel]]]:
    """Yield the routes that read a JSON body, each with the dependency that reads it."""
    for route in routes:
        if isinstance(route, APIRoute):
            for dependency in route.dependant.dependencies:
                if isinstance(dependency.call, JsonBodyParser):
                    yield route, dependency.call


def _describe_request_body(body: JsonBodyParser[BaseModel]) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(model=model.__name__)} for model in body.possible_models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {
        "required": not body.optional,
        "content": {media_type: {"schema": schema} for media_type in JSON_TYPES},
    }


def _remove_422_and_describe_headers(operation: dict[str, Any]) -> None:
    """Remove FastAPI's 422 response, which is never sent, and add headers."""
    operation["responses"].pop("422", None)
    for status, response in operation["responses"].items():
        headers = response.setdefault("headers", {})
        headers["X-Correlation-Id"] = _describe_response_header(
            "The correlation id of the request or, if it created a task, of that task."
        )
        if status == "201":
            headers["Location"] = _describe_response_header("The URL of the created object.")
        if status in ("429", "503"):
            headers["Retry-After"] = _describe_response_header(
                "Seconds to wait before the next request."
            )
    operation.setdefault("parameters", []).extend(_header_parameters(operation))


def _header_parameters(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Describe the headers that a request may have."""
    name = operation["operationId"].partition(".")[2]
    yield _describe_header_parameter(
        "X-Correlation-Id",
        "A correlation id, which is stored with the tasks that the request creates and returned in"
        " the response.",
    )
    if "tasks:create" in operation.get("x-permissions", ()):
        yield _describe_header_parameter("traceparent", "W3C trace context, stored with the task.")
        if name != "create_tasks":
            yield _describe_header_parameter(
                "Idempotency-Key", "The same as `idempotency_key` in the body."
            )
    if name == "stream_task":
        yield _describe_header_parameter(
            "Last-Event-ID", "The last id received from the interrupted stream."
        )


def _describe_response_header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _describe_header_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        **_describe_response_header(description),
    }

"""Reads request bodies, and reports invalid bodies and invalid parameters."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from tasker.api.docstrings import add_field_descriptions
from tasker.api.fields import UUID_PATTERN
from tasker.api.headers import first_header
from tasker.api.problems import Problem, RequestFault
from tasker.suggest import did_you_mean
from tasker.template.schema import format_json_path
from tasker.validation import describe_validation_error

M = TypeVar("M", bound=BaseModel)

JSON_TYPES = ("application/json",)
_MOST_FAULTS = 20
_MOST_ERRORS = 2_000  #: of a body, from which none is described: each takes pydantic 20 us
_MOST_KEYS = 200  #: of a body, and of each of its tasks; no model has as many fields
_LARGE = 20_000  #: bytes from which a body's keys are counted before it is validated
_QUOTED = re.compile(r"'([^']*)'")


class RequestBody(BaseModel):
    """A JSON request body: values are not converted, unknown fields are rejected.

    Its validator is built at the first request, because building all validators would delay the
    server's startup.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        defer_build=True,
        json_schema_extra=add_field_descriptions,
    )


class JsonBodyParser(Generic[M]):
    """A dependency that reads the body as one model: `Annotated[M, Depends(JsonBodyParser(M))]`.

    Args:
        model: The model of the body.
        optional: Whether the body may be absent; it is then read as `{}`.
    """

    def __init__(self, model: type[M], *, optional: bool = False) -> None:
        self.model = model
        self.optional = optional

    async def __call__(self, request: Request) -> M:
        text = await read_body(request.receive)
        if not text and self.optional:
            text = b"{}"
        else:
            require_media_type(request, JSON_TYPES)
        return self.parse(text)

    @property
    def possible_models(self) -> tuple[type[BaseModel], ...]:
        """All models that the body may match."""
        return (self.model,)

    def choose_model(self, keys: Collection[str]) -> type[M]:
        """Return the model for a body with these keys."""
        return self.model

    def parse(self, text: bytes) -> M:
        """Return a body as its model. Raises Problem if it is not valid."""
        model = self.model
        try:
            if len(text) > _LARGE:
                self._require_few_keys(from_json(text))
            if len(self.possible_models) > 1:
                value = from_json(text)
                model = self.choose_model(value if isinstance(value, dict) else ())
            return model.model_validate_json(text)
        except ValidationError as error:
            if (count := error.error_count()) > _MOST_ERRORS:
                raise Problem("invalid_request", f"The body has {count:,} errors.") from None
            raise invalid_request_problem(
                error.errors(include_url=False), body_schema_of(model)
            ) from None
        except ValueError as error:  # of from_json
            raise Problem("malformed_json", f"The body is not valid JSON: {error}.") from None

    def _require_few_keys(self, body: Any) -> None:
        """Reject a body with many fields: pydantic would make an error for each unknown one."""
        if not isinstance(body, dict):
            return
        _require_few_keys("$", body)
        for name in _object_list_fields(self.model):
            items = body.get(name)
            for index, item in enumerate(items if isinstance(items, list) else ()):
                _require_few_keys(f"$.{name}[{index}]", item)


def _require_few_keys(path: str, part: Any) -> None:
    if isinstance(part, dict) and len(part) > _MOST_KEYS:
        message = f"has {len(part):,} fields; the limit is {_MOST_KEYS}"
        fault: RequestFault = {"path": path, "message": message}
        raise Problem("invalid_request", f"{path}: {message}", errors=[fault])


@cache
def _object_list_fields(model: type[BaseModel]) -> Sequence[str]:
    """Return the fields of a body that are lists of objects with fields of their own."""
    return [
        name
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is list
        and isinstance(item := get_args(field.annotation)[0], type)
        and issubclass(item, BaseModel)
    ]


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request. Raises ClientDisconnect."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


@cache
def body_schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the JSON Schema of a body's model."""
    return model.model_json_schema()


def require_media_type(request: Request, allowed: Sequence[str]) -> str:
    """Return the body's media type, which must be one of `allowed` (or end in `+json`).

    Raises:
        Problem: It is absent or not allowed.
    """
    sent = (first_header(request.scope, "content-type") or "").partition(";")[0].strip().lower()
    if sent in allowed or (sent.endswith("+json") and JSON_TYPES[0] in allowed):
        return sent
    raise Problem(
        "unsupported_media_type",
        f"Content-Type is {sent or 'absent'}; it must be {' or '.join(allowed)}.",
        headers={"Accept": ", ".join(allowed)},
    )


def invalid_request_problem(
    errors: Iterable[Mapping[str, Any]], schema: Mapping[str, Any] | None = None
) -> Problem:
    """Return the problem for a body or parameters that pydantic rejected.

    Args:
        errors: The result of `ValidationError.errors()`, or FastAPI's errors if `schema` is None.
        schema: The body's JSON Schema.
    """
    first, *_ = errors = list(errors)
    if first["type"] == "json_invalid":
        return Problem("malformed_json", f"The body is not valid JSON: {first['ctx']['error']}.")
    faults = [_fault_of_validation_error(error, schema) for error in errors[:_MOST_FAULTS]]
    detail = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults[:3])
    return Problem("invalid_request", detail, errors=faults)


def _fault_of_validation_error(
    error: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> RequestFault:
    location: Sequence[str | int] = error["loc"]
    if schema is None:
        path = ".".join(map(str, location))
        names: list[str] = []
    else:
        path, names = _error_path_and_allowed_names(location, schema)
    allowed = names if error["type"] == "extra_forbidden" else _allowed_values(error)
    fault: RequestFault = {"path": path, "message": _describe_fault(error, location, allowed)}
    if allowed:
        fault["allowed"] = allowed
    return fault


def _describe_fault(
    error: Mapping[str, Any], location: Sequence[str | int], allowed: list[str]
) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"is unknown{did_you_mean(str(location[-1]), allowed)}"
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] == UUID_PATTERN:
        return "is not a UUID"
    return describe_validation_error(error)


def _allowed_values(error: Mapping[str, Any]) -> list[str]:
    """Return the allowed values if the error lists them."""
    context = error.get("ctx") or {}
    expected = context.get("expected") or context.get("expected_tags")
    return _QUOTED.findall(expected) if isinstance(expected, str) else []


def _error_path_and_allowed_names(
    location: Sequence[str | int], schema: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """Return the JSON path of an error, and the names that its parent object may have."""
    steps: list[str | int] = []
    here: Mapping[str, Any] = schema
    names: list[str] = []
    for step in location:
        here = _resolve_schema(here, schema)
        tags = here.get("discriminator", {}).get("mapping", {})
        if step in tags:  # pydantic adds the name of the branch, which is not part of the value
            here = {"$ref": tags[step]}
            continue
        names = list(here.get("properties", ()))
        steps.append(step)
        here = (
            here.get("items", {})
            if isinstance(step, int)
            else here.get("properties", {}).get(step, {})
        )
    return format_json_path(steps), names


def _resolve_schema(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a reference or an optional type resolves to."""
    while True:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next((part for part in schema["anyOf"] if part.get("type") != "null"), {})
        else:
            return schema

"""Reading bodies and parameters, and saying what is wrong with them."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from tasker.api.dependencies import UUID_PATTERN
from tasker.api.problems import Fault, Problem
from tasker.api.scope import header
from tasker.suggest import did_you_mean
from tasker.template.schema import json_path

M = TypeVar("M", bound=BaseModel)

JSON_TYPES = ("application/json",)
_MOST_FAULTS = 20
_QUOTED = re.compile(r"'([^']*)'")


class Body(BaseModel):
    """A JSON object as a request's body. Nothing is converted, and nothing may be unknown."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class JsonBody(Generic[M]):
    """A dependency that reads the body as one model: `Annotated[M, Depends(JsonBody(M))]`.

    Args:
        model: What the body must be.
        optional: Whether there may be none, which is read as `{}`.
    """

    def __init__(self, model: type[M], *, optional: bool = False) -> None:
        self.model = model
        self.optional = optional

    async def __call__(self, request: Request) -> M:
        text = await request.body()
        if not text and self.optional:
            text = b"{}"
        else:
            require_type(request, JSON_TYPES)
        return self.read(text)

    @property
    def models(self) -> tuple[type[BaseModel], ...]:
        """All that the body may be."""
        return (self.model,)

    def model_for(self, keys: Collection[str]) -> type[M]:
        """Tell what a body with these keys must be."""
        return self.model

    def read(self, text: bytes) -> M:
        """Read a body. Raises Problem."""
        model = self.model
        try:
            if len(self.models) > 1:
                found = from_json(text)
                model = self.model_for(found if isinstance(found, dict) else ())
            return model.model_validate_json(text)
        except ValidationError as error:
            raise wrong(error.errors(include_url=False), schema_of(model)) from None
        except ValueError as error:  # of from_json
            raise Problem("malformed_json", f"The body is not JSON: {error}.") from None


@cache
def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """Tell the JSON Schema of a body."""
    return model.model_json_schema()


def require_type(request: Request, allowed: Sequence[str]) -> str:
    """Tell the body's media type, which must be one of `allowed` (or end in `+json`).

    Raises:
        Problem: It is another, or none is said.
    """
    said = (header(request.scope, "content-type") or "").partition(";")[0].strip().lower()
    if said in allowed or (said.endswith("+json") and JSON_TYPES[0] in allowed):
        return said
    raise Problem(
        "unsupported_media_type",
        f"The body is {said or 'of no type'}; Content-Type may be {' or '.join(allowed)}.",
        headers={"Accept": ", ".join(allowed)},
    )


def wrong(errors: Iterable[Mapping[str, Any]], schema: Mapping[str, Any] | None = None) -> Problem:
    """Make the problem of what pydantic found, in our words.

    Args:
        errors: As `ValidationError.errors()` tells them; of FastAPI where `schema` is None.
        schema: The JSON Schema that the body must fulfil.
    """
    found = list(errors)
    if found and found[0]["type"] == "json_invalid":
        return Problem("malformed_json", f"The body is not JSON: {found[0]['ctx']['error']}.")
    faults = [_fault(error, schema) for error in found[:_MOST_FAULTS]]
    told = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults[:3])
    return Problem("invalid_request", told, errors=faults)


def _fault(error: Mapping[str, Any], schema: Mapping[str, Any] | None) -> Fault:
    way: Sequence[str | int] = error["loc"]
    if schema is None:
        path = ".".join(map(str, way))
        names: list[str] = []
    else:
        path, names = _place(way, schema)
    allowed = names if error["type"] == "extra_forbidden" else _expected(error)
    fault: Fault = {"path": path, "message": _message(error, way, allowed)}
    if allowed:
        fault["allowed"] = allowed
    return fault


def _message(error: Mapping[str, Any], way: Sequence[str | int], allowed: list[str]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"is not known here{did_you_mean(str(way[-1]), allowed)}"
    if kind in ("missing", "union_tag_not_found"):
        return "is required"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        pattern = error["ctx"]["pattern"]
        return "is not a UUID" if pattern == UUID_PATTERN else f"must match {pattern}"
    message: str = error["msg"]
    return message[:1].lower() + message[1:]


def _expected(error: Mapping[str, Any]) -> list[str]:
    """List the words that would have been right, where the error knows them."""
    context = error.get("ctx") or {}
    said = context.get("expected") or context.get("expected_tags")
    return _QUOTED.findall(said) if isinstance(said, str) else []


def _place(way: Sequence[str | int], schema: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Tell the JSON path of an error, and the names that its parent object may have."""
    steps: list[str | int] = []
    here: Mapping[str, Any] = schema
    names: list[str] = []
    for step in way:
        here = _resolved(here, schema)
        tags = here.get("discriminator", {}).get("mapping", {})
        if step in tags:  # pydantic names the branch; it is no part of the value
            here = {"$ref": tags[step]}
            continue
        names = list(here.get("properties", ()))
        steps.append(step)
        here = (
            here.get("items", {})
            if isinstance(step, int)
            else here.get("properties", {}).get(step, {})
        )
    return json_path(steps), names


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and the one branch of an optional value that has parts."""
    while True:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next((part for part in schema["anyOf"] if part.get("type") != "null"), {})
        else:
            return schema

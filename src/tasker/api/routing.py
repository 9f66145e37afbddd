"""Declaring routes: what each needs, answers and refuses, said once, beside its function."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, Depends

from tasker.api.authorization import requires
from tasker.api.problems import MEDIA_TYPE, STATUSES
from tasker.teams.permissions import Permission

F = TypeVar("F", bound=Callable[..., Any])

ALWAYS = ("internal_error", "store_unavailable", "overloaded", "schema_mismatch", "request_timeout")
PROTECTED = ("unauthenticated", "forbidden", "rate_limited", "auth_unavailable")
READS_BODY = (
    "malformed_json",
    "invalid_request",
    "too_large",
    "unsupported_media_type",
    "request_incomplete",
)
PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}


class Answer(NamedTuple):
    """One of the answers of a route."""

    shape: Any  #: what its JSON looks like; None: it has none
    description: str


class Routes:
    """The routes about one thing.

    Args:
        tag: What they are about.
        prefix: Of all their paths.
    """

    def __init__(self, tag: str, prefix: str = "") -> None:
        self._tag = tag
        self._named: set[str] = set()
        self.router = APIRouter(prefix=prefix, tags=[tag])

    def add(
        self,
        method: str,
        path: str,
        *permissions: Permission,
        answer: Any,
        status: int = 200,
        told: str = "",
        also: Mapping[int, Answer] | None = None,
        refuses: Collection[str] = (),
        media_type: str = "application/json",
        reads: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Declare a route.

        Args:
            method: GET, POST, ...
            path: Below the prefix.
            permissions: Those that it may ask for; none: it is open to everybody.
            answer: The shape of its answer.
            status: The status of that.
            told: What that answer is, in the description.
            also: Its other answers.
            refuses: Codes of the problems that it tells, beside those that all do.
            media_type: Of an answer that is not JSON.
            reads: Media types and schemas of a body that no `JsonBody` reads.
        """
        codes = {*refuses, *ALWAYS, *(PROTECTED if permissions else ())}
        responses: dict[int | str, dict[str, Any]] = {**problems(codes)}
        for other, (shape, description) in (also or {}).items():
            responses[other] = {"model": shape, "description": description}
        if told:
            responses[status] = {"description": told}
        if media_type != "application/json":
            responses[status] = {
                "description": told,
                "content": {media_type: {"schema": {"type": "string"}}},
            }
        extra: dict[str, Any] = {}
        if permissions:
            extra["x-permissions"] = [str(one) for one in permissions]
        if reads is not None:
            content = {kind: {"schema": schema} for kind, schema in reads.items()}
            extra["requestBody"] = {"required": True, "content": content}

        def declare(endpoint: F) -> F:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=answer,
                status_code=status,
                responses=responses,
                dependencies=[Depends(requires(*permissions))] if permissions else [],
                openapi_extra=extra,
                operation_id=self._operation(endpoint.__name__),
                summary=(endpoint.__doc__ or "").split("\n", 1)[0].rstrip("."),
                description=inspect.cleandoc(endpoint.__doc__ or ""),
            )
            return endpoint

        return declare

    def _operation(self, name: str) -> str:
        """Name an operation; one that is at two paths has two names."""
        if name in self._named:
            name += "_too"
        self._named.add(name)
        return f"{self._tag}.{name}"


def problems(codes: Collection[str]) -> dict[int | str, dict[str, Any]]:
    """Describe the problems of these codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUSES[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {STATUSES[code][1]}" for code in found),
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status, found in sorted(by_status.items())
    }

"""Declares routes: their permissions, responses and problems stand next to their functions."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tasker.api.authorization import require_permissions
from tasker.api.problems import MEDIA_TYPE, STATUSES, Problem, RequestFault, respond_with_problem
from tasker.errors import TaskerError
from tasker.suggest import did_you_mean
from tasker.teams.permissions import Permission

F = TypeVar("F", bound=Callable[..., Any])

_Dependency: TypeAlias = Callable[[Request], Awaitable[Any]]

ALWAYS = ("internal_error", "store_unavailable", "overloaded", "schema_mismatch", "request_timeout")
PROTECTED = (
    "invalid_request",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "auth_unavailable",
)
READS_BODY = (
    "malformed_json",
    "too_large",
    "unsupported_media_type",
    "request_incomplete",
)
PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}


class ExtraResponse(NamedTuple):
    """An additional response of a route."""

    model: Any  #: the model of its JSON
    description: str


class Routes:
    """The routes of one subject.

    Args:
        tag: The routes' tag in OpenAPI.
        prefix: The prefix of the routes' paths.
    """

    def __init__(self, tag: str, prefix: str = "") -> None:
        self._tag = tag
        self._named: set[str] = set()
        self._described: list[Callable[[APIRouter], None]] = []
        self.router = APIRouter(prefix=prefix, tags=[tag], route_class=DirectRoute)

    def add(
        self,
        method: str,
        path: str,
        *permissions: Permission,
        every: bool = False,
        admit: _Dependency | None = None,
        response: Any,
        status: int = 200,
        description: str = "",
        extra_responses: Mapping[int, ExtraResponse] | None = None,
        error_codes: Collection[str] = (),
        media_type: str = "application/json",
        reads: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Declare a route.

        Args:
            method: GET, POST, ...
            path: The path below the prefix.
            permissions: The permissions that the route may require; empty for a public route.
            every: Whether it requires all of them.
            admit: Called before the body is read; for public routes, which check no credential.
            response: The model of its response.
            status: HTTP status of `response`.
            description: OpenAPI description of `response`.
            extra_responses: Additional responses by status.
            error_codes: Problem codes, in addition to those that all routes share.
            media_type: Media type of a response that is not JSON.
            reads: Media types and schemas of a body that is not read by a `JsonBodyParser`.
        """
        codes = {*error_codes, *ALWAYS, *(PROTECTED if permissions else ())}
        extra: dict[str, Any] = {}
        if permissions:
            extra["x-permissions"] = [str(one) for one in permissions]
        if reads is not None:
            content = {kind: {"schema": schema} for kind, schema in reads.items()}
            extra["requestBody"] = {"required": True, "content": content}

        known = QueryNameCheck()
        dependencies = [] if admit is None else [Depends(admit)]
        if permissions:
            dependencies += [
                Depends(require_permissions(*permissions, every=every)),
                Depends(known),
            ]

        def describe_responses() -> dict[int | str, dict[str, Any]]:
            responses: dict[int | str, dict[str, Any]] = {**problem_responses(codes)}
            for other, further in (extra_responses or {}).items():
                responses[other] = {"model": further.model, "description": further.description}
            if description:
                responses[status] = {"description": description}
            if media_type != "application/json":
                responses[status] = {
                    "description": description,
                    "content": {media_type: {"schema": {"type": "string"}}},
                }
            return responses

        def declare_route(endpoint: F) -> F:
            route: dict[str, Any] = {
                "path": path,
                "endpoint": endpoint,
                "methods": [method],
                "status_code": status,
                "dependencies": dependencies,
                "operation_id": self._unique_operation_name(endpoint.__name__),
                "openapi_extra": extra,
            }
            self.router.add_api_route(**route, response_model=None)
            self._described.append(
                lambda router: router.add_api_route(
                    **route,
                    response_model=response,
                    responses=describe_responses(),
                    summary=(endpoint.__doc__ or "").split("\n", 1)[0].rstrip("."),
                    description=inspect.cleandoc(endpoint.__doc__ or ""),
                )
            )
            known.names = query_parameter_names(self.router.routes[-1])
            return endpoint

        return declare_route

    def documented_routes(self) -> Sequence[BaseRoute]:
        """Return the routes with the models of their responses.

        Endpoints return ready-made responses, so only the OpenAPI description reads these models.
        Building them at startup would take most of the server's startup time, and memory.
        """
        router = APIRouter(prefix=self.router.prefix, tags=[self._tag])
        for add in self._described:
            add(router)
        return router.routes

    def _unique_operation_name(self, name: str) -> str:
        """Return a unique name for an operation; the second path gets a suffix."""
        if name in self._named:
            name += "_too"
        self._named.add(name)
        return f"{self._tag}.{name}"


class DirectRoute(APIRoute):
    """A route that calls its dependencies itself if they only need the request.

    FastAPI's solver takes longer than the rest of a short request. FastAPI would do the same: call
    each dependency with the request, in order, and the endpoint with their results. Routes with
    parameters in path, query or headers are left to it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # FastAPI's
        super().__init__(*args, **options)
        self.is_direct = _needs_only_request(self.dependant)
        if self.is_direct:
            self.app = self._respond

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        values: dict[str, Any] = {}
        if self.dependant.request_param_name is not None:
            values[self.dependant.request_param_name] = request
        for dependency in self.dependant.dependencies:
            value = await cast(_Dependency, dependency.call)(request)
            if dependency.name is not None:
                values[dependency.name] = value
        response: StarletteResponse = await self.endpoint(**values)
        await response(scope, receive, send)


class DirectRouteMiddleware:
    """The innermost middleware: calls direct routes with fixed paths without a search for them,
    and those that serve a group of paths.

    Starlette's and FastAPI's own layers would take as long as the rest of a short request. While
    requests are traced, FastAPI serves these routes too, because it names the spans.

    Args:
        app: Serves all other requests.
        routes: The routes of the application.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._groups = [route for route in routes if isinstance(route, PathGroupRoute)]
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, DirectRoute) and route.is_direct and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._find_app(scope) if scope["type"] == "http" else None
        if serve is None or scope.get("fastapi.telemetry") is not None:
            await self.app(scope, receive, send)
            return
        try:
            await serve(scope, receive, send)
        except (HTTPException, TaskerError) as error:
            response = await respond_with_problem(Request(scope), error)
            await response(scope, receive, send)

    def _find_app(self, scope: Scope) -> ASGIApp | None:
        """Return what serves a request, or None if another layer does."""
        route = self._routes.get((scope["method"], scope["path"]))
        if route is not None:
            scope.update(route=route, path_params={})
            return route.app
        for group in self._groups:
            match, fields = group.matches(scope)
            if match is Match.FULL:
                scope.update(fields)
                return group.handle
        return None


class PathGroupRoute(BaseRoute):
    """A route that serves all paths of a group by itself."""


def _needs_only_request(dependant: Dependant) -> bool:
    """Return whether an endpoint needs only the request and what is derived from it."""
    dependencies = dependant.dependencies
    return not _parameters_besides_request(dependant) and not any(
        _parameters_besides_request(each) or each.dependencies or not each.request_param_name
        for each in dependencies
    )


def _parameters_besides_request(dependant: Dependant) -> Sequence[object]:
    """Return the parameters of a function, other than the request and dependencies."""
    return (
        *dependant.path_params,
        *dependant.query_params,
        *dependant.header_params,
        *dependant.cookie_params,
        *dependant.body_params,
    )


class QueryNameCheck:
    """A dependency that rejects query parameters unknown to its route."""

    names: Sequence[str] = ()

    async def __call__(self, request: Request) -> None:
        if not request.scope["query_string"]:
            return
        unknown = [name for name in request.query_params if name not in self.names]
        if not unknown:
            return
        faults: list[RequestFault] = [
            {
                "path": f"query.{name}",
                "message": f"unknown query parameter {name!r}{did_you_mean(name, self.names)}",
                "allowed": list(self.names),
            }
            for name in unknown[:20]
        ]
        raise Problem("invalid_request", "; ".join(f["message"] for f in faults), errors=faults)


def query_parameter_names(route: BaseRoute) -> list[str]:
    """Return the names of a route's query parameters."""
    names: list[str] = []
    for field in route.dependant.query_params if isinstance(route, APIRoute) else ():
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names += model.model_fields
        else:
            names.append(field.alias)
    return names


def problem_responses(codes: Collection[str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of problems, by status."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUSES[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {STATUSES[code][1]}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status, codes in sorted(by_status.items())
    }

"""Search by id, name and correlation id; the state of the store."""

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.analytics.model import SystemStatus
from tasker.api.authorization import principal_of, visible_namespaces
from tasker.api.dependencies import ApiServicesOf
from tasker.api.responses import JsonResponse
from tasker.api.routing import Routes
from tasker.client.analytics import read_system_status
from tasker.client.search import LONGEST_SEARCH, SearchMatch, SearchScope, search_store
from tasker.teams.permissions import (
    ANALYTICS_READ,
    NAMESPACES_READ,
    TASKS_LIST,
    TEMPLATES_LIST,
    WORKERS_READ,
    Permission,
)

routes = Routes("search", "/v1/search")
system = Routes("analytics", "/v1/system")


class SearchMatches(TypedDict):
    """The matches of a search, at most 8 of each kind."""

    matches: list[SearchMatch]


@routes.add("GET", "", TASKS_LIST, response=SearchMatches)
async def search(
    request: Request,
    api: ApiServicesOf,
    q: Annotated[str, Query(min_length=1, max_length=LONGEST_SEARCH)],
) -> JsonResponse:
    """Search tasks by a prefix of their id or by their correlation id, and workflows, namespaces
    and workers by a part of their name.

    Kinds that the caller has no permission to list are omitted.
    """
    scope = SearchScope(
        tasks=await visible_namespaces(request, TASKS_LIST),
        templates=await _visible_namespaces_if_permitted(request, TEMPLATES_LIST),
        namespaces=await _visible_namespaces_if_permitted(request, NAMESPACES_READ),
        workers=_may_have_permission(request, WORKERS_READ),
    )
    return JsonResponse(SearchMatches(matches=await search_store(api.store, q, scope)))


async def _visible_namespaces_if_permitted(
    request: Request, permission: Permission
) -> frozenset[str] | None:
    """Return the namespaces in which the caller has a permission; None: all."""
    if not _may_have_permission(request, permission):
        return frozenset()
    return await visible_namespaces(request, permission)


def _may_have_permission(request: Request, permission: Permission) -> bool:
    """Return whether the caller may have a permission in some namespace."""
    principal = principal_of(request)
    return principal.permissions is None or principal.has_permission(permission)


@system.add("GET", "", ANALYTICS_READ, response=SystemStatus)
async def get_system_status(request: Request, api: ApiServicesOf) -> JsonResponse:
    """Report the store, its workers and its steps.

    The response omits the oldest snapshot and the numbers of steps for callers that see only some
    namespaces.
    """
    sees_all = await visible_namespaces(request, ANALYTICS_READ) is None

    async def build_system_status() -> JsonResponse:
        return JsonResponse(await read_system_status(api.store, sees_all=sees_all))

    return await api.shared.respond(request, sees_all, build_system_status)

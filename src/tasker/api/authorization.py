"""Who may do what: every route asks here, and nowhere else.

A route declares its permission (`requires`), which makes the caller known before the body
is read. What it then touches it passes to `authorize`, with namespace, name and version;
what it lists it narrows to `visible_namespaces`. `tasker.api.auth` knows the answers;
without authentication everybody is `anonymous` and may do everything.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request

from tasker.api.auth.coordinators import Resource
from tasker.api.auth.principal import Principal
from tasker.api.dependencies import api_of
from tasker.api.problems import Problem
from tasker.model import TemplateName
from tasker.teams.permissions import PERMISSIONS, Permission


async def authorize(
    request: Request,
    permission: Permission,
    *,
    namespace: str | None = None,
    name: str | None = None,
    version: str | None = None,
    missing: str | None = None,
) -> Principal:
    """Tell who makes a request, where that one may use `permission` on what is named.

    Args:
        request: The request.
        permission: Declared by the route.
        namespace: Of the task or template that is touched; None: of no namespace.
        name: The template's.
        version: The template's, as far as it is known.
        missing: What is said of such a thing where there is none; the same is said of
            one that the caller may not see.

    Raises:
        Problem: `forbidden`; or `not_found`, where the caller may not see it.
    """
    principal = principal_of(request)
    if missing is None:
        missing = f"there is no {'template' if name else 'namespace'} {namespace}"
        missing += f".{name}" if name else ""
    touched = Resource(namespace, name, version)
    authorizer = api_of(request).authorizer
    await authorizer.authorize(request.scope, principal, permission, touched, missing)
    return principal


async def still_authorized(
    request: Request, permission: Permission, template: TemplateName
) -> bool:
    """Tell whether the caller may go on: a credential ends, and rights change."""
    authorizer = api_of(request).authorizer
    try:
        principal = await authorizer.authenticate(request.scope, [permission])
    except Problem as problem:
        return problem.status_code >= 500  # nobody can tell at the moment
    return await authorizer.allows(principal, permission, Resource(*template))


async def visible_namespaces(request: Request, permission: Permission) -> frozenset[str] | None:
    """Tell the namespaces in which the caller may use `permission`; None: in all."""
    return await api_of(request).authorizer.visible(principal_of(request), permission)


def principal_of(request: Request) -> Principal:
    """Tell who makes a request whose route declared a permission."""
    found: Principal = request.state.principal
    return found


def requires(*permissions: Permission) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """Make the dependency of a route that may ask for `permissions`."""
    if unknown := set(permissions) - PERMISSIONS:
        raise ValueError(f"there is no permission {', '.join(map(str, unknown))}")

    async def known(request: Request) -> None:
        api = api_of(request)
        address = (request.scope.get("client") or ("",))[0]
        try:
            principal = await api.authorizer.authenticate(request.scope, permissions)
        except Problem:
            api.rate_limits.take(f"address {address}")
            raise
        api.rate_limits.take(principal.name if principal.known else f"address {address}")
        request.state.principal = principal

    return known

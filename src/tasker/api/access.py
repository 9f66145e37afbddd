"""Who may do what: every route asks here, and nowhere else.

A route declares its permission (`requires`), which makes the caller known before the body
is read. What it then touches it passes to `authorize`, with namespace, name and version;
what it lists it narrows to `visible_namespaces`. Without authentication everybody is
`anonymous` and may do everything.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from starlette.requests import Request

from tasker.permissions import ANALYTICS_READ as ANALYTICS_READ  # noqa: PLC0414
from tasker.permissions import METRICS_READ as METRICS_READ  # noqa: PLC0414
from tasker.permissions import PERMISSIONS, Permission

ANONYMOUS = "anonymous"


class Principal(NamedTuple):
    """Who makes a request."""

    name: str
    """What the audit and `created_by` say; also the owner of a rate limit."""


async def authenticate(request: Request) -> Principal:
    """Tell who makes a request."""
    return Principal(ANONYMOUS)


async def authorize(
    request: Request,
    permission: Permission,
    *,
    namespace: str | None = None,
    name: str | None = None,
    version: str | None = None,
) -> Principal:
    """Tell who makes a request, where that one may use `permission` on what is named.

    Args:
        request: The request.
        permission: Declared by the route.
        namespace: Of the task or template that is touched; None: of no namespace.
        name: The template's.
        version: The template's, as far as it is known.

    Raises:
        Problem: `forbidden`.
    """
    return principal_of(request)


async def visible_namespaces(request: Request, permission: Permission) -> frozenset[str] | None:
    """Tell the namespaces in which the caller may use `permission`; None: in all."""
    return None


def principal_of(request: Request) -> Principal:
    """Tell who makes a request whose route declared a permission."""
    found: Principal = request.state.principal
    return found


def requires(*permissions: Permission) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """Make the dependency of a route that may ask for `permissions`."""
    if unknown := set(permissions) - PERMISSIONS:
        raise ValueError(f"there is no permission {', '.join(map(str, unknown))}")

    async def known(request: Request) -> None:
        request.state.principal = await authenticate(request)

    return known

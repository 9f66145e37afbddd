"""Who may do what: every route asks here, and nowhere else.

A route declares its permission (`requires`), which makes the caller known before the body
is read. What it then touches it passes to `authorize`, with namespace, name and version;
what it lists it narrows to `visible_namespaces`. Without authentication everybody is
`anonymous` and may do everything.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from starlette.requests import Request

ANONYMOUS = "anonymous"


class Permission(NamedTuple):
    """One right: to do `action` to `resource`."""

    resource: str
    action: str

    def __str__(self) -> str:
        return f"{self.resource}:{self.action}"


TASKS_CREATE = Permission("tasks", "create")
TASKS_READ = Permission("tasks", "read")
TASKS_LIST = Permission("tasks", "list")
TASKS_CANCEL = Permission("tasks", "cancel")
TASKS_RETRY = Permission("tasks", "retry")
TASKS_RESOLVE = Permission("tasks", "resolve")
STEPS_READ = Permission("steps", "read")
STEPS_RETRY = Permission("steps", "retry")
STEPS_RESOLVE = Permission("steps", "resolve")
TEMPLATES_READ = Permission("templates", "read")
TEMPLATES_LIST = Permission("templates", "list")
TEMPLATES_REGISTER = Permission("templates", "register")
TEMPLATES_RETIRE = Permission("templates", "retire")
TEMPLATES_APPROVE = Permission("templates", "approve")
NAMESPACES_READ = Permission("namespaces", "read")
NAMESPACES_UPDATE = Permission("namespaces", "update")
WORKERS_READ = Permission("workers", "read")
ANALYTICS_READ = Permission("system", "analytics_read")
METRICS_READ = Permission("system", "metrics_read")

PERMISSIONS: frozenset[Permission] = frozenset(
    value for value in list(globals().values()) if isinstance(value, Permission)
)
"""All there are."""


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

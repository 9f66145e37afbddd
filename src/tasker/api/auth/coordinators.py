"""Authorizes callers: by permissions, by teams, or by your own rules.

A coordinator is one class with one method. `[auth] coordinator = "package.module:Class"`
lets it decide about every request.
"""

from collections.abc import Awaitable
from typing import NamedTuple

from tasker.api.auth.principal import Principal
from tasker.teams.permissions import METRICS_READ, Permission

SHARED = "shared"

_VIEWING = frozenset({"read", "list", "analytics_read"})


class Resource(NamedTuple):
    """The object that a request acts on; unknown parts are None."""

    namespace: str | None = None  #: None: several, as in a list of workers
    name: str | None = None  #: the template's
    version: str | None = None  #: the template's, as requested: possibly a range


class Coordinator:
    """Base class of coordinators; denies everything.

    The server creates one without arguments and calls `authorized` for every request: it must
    not block, and may be a coroutine function. An exception, or any result but True, denies.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool | Awaitable[bool]:
        """Return whether `principal` may do `action` to `resource`.

        Args:
            principal: The caller.
            resource: `tasks`, `steps`, `templates`, `namespaces`, `workers`, `system`.
            action: `create`, `read`, `list`, ...: with the resource, a `Permission`.
            context: The object. Lists call once per namespace, and show the allowed ones.
        """
        return False


class PermissionCoordinator(Coordinator):
    """Allows what the principal's permissions allow, in its namespaces."""

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if not principal.has(Permission(resource, action)):
            return False
        return context.namespace is None or principal.has_access_to(context.namespace)


class TeamCoordinator(Coordinator):
    """Lets teams manage their own namespace, and see that and `shared`.

    A team's namespace has its name: `Customer Success` owns `customer_success`. Namespaces of
    the principal count as its own too. Admins may do anything. If the credential has
    permissions, they restrict it further; without permissions, the team alone decides.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if principal.admin:
            return True
        if not self._holds(principal, resource, action):
            return False
        if context.namespace is None:
            return True  # the response is narrowed to visible namespaces
        if self._owns(principal, context.namespace):
            return True
        belongs = principal.team is not None or bool(principal.namespaces)
        return belongs and action in _VIEWING and context.namespace == SHARED

    def _holds(self, principal: Principal, resource: str, action: str) -> bool:
        permission = Permission(resource, action)
        if principal.permissions is None:
            return permission != METRICS_READ  # figures of all teams
        return principal.has(permission)

    def _owns(self, principal: Principal, namespace: str) -> bool:
        if principal.team is not None and normalized(principal.team) == normalized(namespace):
            return True
        return principal.has_access_to(namespace)


def normalized(name: str) -> str:
    """Return the form in which names of teams and namespaces are compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")

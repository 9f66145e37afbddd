"""Authorizes callers by permissions, by teams, or by custom rules.

A coordinator is a class with a single method. `[auth] coordinator = "package.module:Class"` makes
it decide every request.
"""

from collections.abc import Awaitable
from typing import NamedTuple

from tasker.api.auth.principal import Principal
from tasker.teams.permissions import METRICS_READ, Permission

SHARED = "shared"

_VIEWING = frozenset({"read", "list", "analytics_read"})


class Resource(NamedTuple):
    """The object that a request acts on. Unknown fields are None."""

    namespace: str | None = None  #: None: several namespaces, as in a list of workers
    name: str | None = None  #: the template's
    version: str | None = None  #: the template's, as requested; may be a range


class Coordinator:
    """Base class of coordinators; denies everything.

    The server creates one instance, without arguments, and calls `authorized` for every request.
    The method must not block, and may be a coroutine function. An exception, or any result but
    True, denies the request.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool | Awaitable[bool]:
        """Return whether `principal` may do `action` to `resource`.

        Args:
            principal: The caller.
            resource: `tasks`, `steps`, `templates`, `namespaces`, `workers`, `system`.
            action: `create`, `read`, `list`, ...; together with the resource it is a `Permission`.
            context: The object. For a list, the method is called once per namespace, and the
                response contains only the allowed namespaces.
        """
        return False


class PermissionCoordinator(Coordinator):
    """Allows the actions in the principal's permissions, within its namespaces."""

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if not principal.has_permission(Permission(resource, action)):
            return False
        return context.namespace is None or principal.has_access_to_namespace(context.namespace)


class TeamCoordinator(Coordinator):
    """Lets each team manage its own namespace and read `shared`.

    A team's namespace is named after the team: `Customer Success` owns `customer_success`. The
    principal's namespaces also count as its own. Admins may do anything. If the credential has
    permissions, they restrict the principal further; otherwise only the team decides.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if principal.admin:
            return True
        if not self._has_permission(principal, resource, action):
            return False
        if context.namespace is None:
            return True  # the response is narrowed to visible namespaces
        if self._owns_namespace(principal, context.namespace):
            return True
        belongs = principal.team is not None or bool(principal.namespaces)
        return belongs and action in _VIEWING and context.namespace == SHARED

    def _has_permission(self, principal: Principal, resource: str, action: str) -> bool:
        permission = Permission(resource, action)
        if principal.permissions is None:
            return permission != METRICS_READ  # statistics of all teams
        return principal.has_permission(permission)

    def _owns_namespace(self, principal: Principal, namespace: str) -> bool:
        if principal.team is not None and normalize_team_name(
            principal.team
        ) == normalize_team_name(namespace):
            return True
        return principal.has_access_to_namespace(namespace)


def normalize_team_name(name: str) -> str:
    """Return the form in which team names and namespaces are compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")

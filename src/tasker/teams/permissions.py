"""Permissions, one for each resource and action, and roles, which bundle permissions.

Permissions are written as `tasks:create`; `tasks:*` means all permissions on a resource, and `*`
all permissions, including those of later releases.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasker.errors import InvalidInput
from tasker.suggest import suggest_allowed

ALL = "*"


class Permission(NamedTuple):
    """The permission to perform `action` on `resource`."""

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
TASKS_PAUSE = Permission("tasks", "pause")
PAYLOADS_READ = Permission("payloads", "read")
PAYLOADS_REVEAL = Permission("payloads", "reveal")
SIGNALS_SEND = Permission("signals", "send")
STEPS_READ = Permission("steps", "read")
STEPS_RETRY = Permission("steps", "retry")
STEPS_RESOLVE = Permission("steps", "resolve")
TEMPLATES_READ = Permission("templates", "read")
TEMPLATES_LIST = Permission("templates", "list")
TEMPLATES_REGISTER = Permission("templates", "register")
TEMPLATES_RETIRE = Permission("templates", "retire")
TEMPLATES_APPROVE = Permission("templates", "approve")
TEMPLATES_PAUSE = Permission("templates", "pause")
QUEUES_READ = Permission("queues", "read")
QUEUES_PAUSE = Permission("queues", "pause")
QUEUES_UPDATE = Permission("queues", "update")
LIMITS_READ = Permission("limits", "read")
LIMITS_UPDATE = Permission("limits", "update")
SCHEDULES_READ = Permission("schedules", "read")
SCHEDULES_CREATE = Permission("schedules", "create")
SCHEDULES_UPDATE = Permission("schedules", "update")
SCHEDULES_DELETE = Permission("schedules", "delete")
SCHEDULES_PAUSE = Permission("schedules", "pause")
SCHEDULES_BACKFILL = Permission("schedules", "backfill")
EVENTS_READ = Permission("events", "read")
WEBHOOKS_READ = Permission("webhooks", "read")
WEBHOOKS_UPDATE = Permission("webhooks", "update")
NAMESPACES_READ = Permission("namespaces", "read")
NAMESPACES_UPDATE = Permission("namespaces", "update")
NAMESPACES_PAUSE = Permission("namespaces", "pause")
APPROVALS_READ = Permission("approvals", "read")
APPROVALS_DECIDE = Permission("approvals", "decide")
KEYS_READ = Permission("keys", "read")
WORKERS_READ = Permission("workers", "read")
WORKERS_RUN = Permission("workers", "run")
WORKERS_DRAIN = Permission("workers", "drain")
ANALYTICS_READ = Permission("system", "analytics_read")
METRICS_READ = Permission("system", "metrics_read")

PERMISSIONS: frozenset[Permission] = frozenset(
    value for value in list(globals().values()) if isinstance(value, Permission)
)
"""All there are."""

_VIEWER = frozenset(
    {
        TASKS_READ,
        TASKS_LIST,
        STEPS_READ,
        TEMPLATES_READ,
        TEMPLATES_LIST,
        NAMESPACES_READ,
        QUEUES_READ,
        LIMITS_READ,
        SCHEDULES_READ,
        EVENTS_READ,
        WORKERS_READ,
        APPROVALS_READ,
        ANALYTICS_READ,
    }
)
_OPERATOR = _VIEWER | {
    PAYLOADS_READ,
    TASKS_CREATE,
    TASKS_CANCEL,
    TASKS_RETRY,
    TASKS_RESOLVE,
    TASKS_PAUSE,
    SIGNALS_SEND,
    STEPS_RETRY,
    STEPS_RESOLVE,
    WEBHOOKS_READ,
    TEMPLATES_PAUSE,
    QUEUES_PAUSE,
    LIMITS_UPDATE,
    SCHEDULES_PAUSE,
    SCHEDULES_BACKFILL,
    NAMESPACES_PAUSE,
    WORKERS_DRAIN,
    APPROVALS_DECIDE,
}

ADMIN = "admin"
ROLES: Mapping[str, frozenset[Permission]] = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "developer": _OPERATOR
    | {
        TEMPLATES_REGISTER,
        TEMPLATES_RETIRE,
        SCHEDULES_CREATE,
        SCHEDULES_UPDATE,
        SCHEDULES_DELETE,
        WEBHOOKS_UPDATE,
    },
    "approver": _VIEWER | {PAYLOADS_READ, TEMPLATES_APPROVE, APPROVALS_DECIDE},
    "worker": frozenset({WORKERS_RUN, TASKS_CREATE, TASKS_READ}),
    ADMIN: PERMISSIONS,
}
"""The built-in roles."""


def expand_scope(scope: str) -> frozenset[Permission]:
    """Return the permissions of a scope such as `tasks:create`, `tasks:*`, `*`; none if unknown."""
    if scope == ALL:
        return PERMISSIONS
    resource, _, action = scope.partition(":")
    if action == ALL:
        return frozenset(
            permission for permission in PERMISSIONS if permission.resource == resource
        )
    return PERMISSIONS & {Permission(resource, action)}


def expand_scopes(scopes: Iterable[str], *, path: str = "$") -> frozenset[Permission]:
    """Return the permissions of several scopes.

    Args:
        scopes: As `tasks:create`, `tasks:*`, `*`.
        path: Their path, for the error.

    Raises:
        InvalidInput: A scope is unknown; the message suggests a similar one.
    """
    granted: frozenset[Permission] = frozenset()
    for scope in scopes:
        if not (expanded := expand_scope(scope)):
            known = sorted(str(permission) for permission in PERMISSIONS)
            hint = suggest_allowed(scope, [*known, *list_wildcard_scopes()])
            raise InvalidInput(f"unknown permission {scope[:100]!r}{hint}", path=path)
        granted |= expanded
    return granted


def list_wildcard_scopes() -> list[str]:
    """List the scopes that expand to several permissions."""
    return [*sorted({f"{permission.resource}:{ALL}" for permission in PERMISSIONS}), ALL]


def require_known_roles(
    names: Iterable[str], roles: Iterable[str] = ROLES, *, path: str = "$"
) -> None:
    """Raise InvalidInput if one of the names is not a role."""
    known = list(roles)
    for name in names:
        if name not in known:
            hint = suggest_allowed(name, known)
            raise InvalidInput(f"unknown role {name[:100]!r}{hint}", path=path)

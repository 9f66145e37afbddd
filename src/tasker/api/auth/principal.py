"""The caller of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasker.teams.permissions import METRICS_READ, PERMISSIONS, Permission

ANONYMOUS_NAME = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of a request, with its permissions."""

    name: str
    """The caller's name, used in the audit log, in `created_by`, in lists of approvers and for the
    rate limit."""

    permissions: frozenset[Permission] | None = frozenset()
    """The permissions; None if the credential lists none. In this case, the caller may do nothing
    unless the server's coordinator permits it."""

    namespaces: frozenset[str] | None = frozenset()
    """Namespaces that the permissions apply to; None means all."""

    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    """The caller's groups. An assignee `role:NAME` stands for the members of the group `NAME`."""

    handlers: frozenset[str] = frozenset()
    """Handlers that the caller's workers may serve, as names or patterns such as `payments.*`; if
    empty, they may serve all handlers."""

    team: str | None = None
    admin: bool = False
    """Whether the caller has the role `admin` in all namespaces."""

    known: bool = True
    """Whether the caller was authenticated."""

    credential: str = ""
    """Description of the credential for the log: `key 0f3a...` or `token`."""

    via_session: bool = False
    """Whether the caller is a person who is logged in to the web UI."""

    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The claims of the caller's token."""

    def has_permission(self, permission: Permission) -> bool:
        """Return whether the principal has a permission in at least one namespace."""
        return self.permissions is not None and permission in self.permissions

    def has_access_to_namespace(self, namespace: str) -> bool:
        """Return whether the principal's permissions apply to a namespace."""
        return self.namespaces is None or namespace in self.namespaces


ANONYMOUS = Principal(
    name=ANONYMOUS_NAME, permissions=PERMISSIONS, namespaces=None, admin=True, known=False
)
"""The caller of a server without authentication."""

METRICS_ONLY = Principal(
    name=ANONYMOUS_NAME, permissions=frozenset({METRICS_READ}), namespaces=None
)
"""The caller of public metrics."""

"""Who makes a request, and what is known of that one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasker.teams.permissions import METRICS_READ, PERMISSIONS, Permission

ANONYMOUS_NAME = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who makes a request, and what is known of that one."""

    name: str
    """What the audit and `created_by` say, and what approvers are known by; also the owner
    of a rate limit."""

    permissions: frozenset[Permission] | None = frozenset()
    """What it may do; None: nothing was said about that, which gives no right by itself."""

    namespaces: frozenset[str] | None = frozenset()
    """Where it may do it; None: everywhere."""

    roles: frozenset[str] = frozenset()
    team: str | None = None
    admin: bool = False
    """Whether it has the role `admin`, and that everywhere."""

    known: bool = True
    """Whether it proved who it is; not so where the server asks nobody."""

    credential: str = ""
    """How it did, for the log: `key 0f3a...`, `token`. No secret."""

    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Everything that its token says."""

    def holds(self, permission: Permission) -> bool:
        """Tell whether it has a permission, wherever that may be."""
        return self.permissions is not None and permission in self.permissions

    def reaches(self, namespace: str) -> bool:
        """Tell whether what it may do, it may do in a namespace."""
        return self.namespaces is None or namespace in self.namespaces


ANONYMOUS = Principal(
    name=ANONYMOUS_NAME, permissions=PERMISSIONS, namespaces=None, admin=True, known=False
)
"""Who makes requests of a server that asks nobody who they are."""

METRICS_ONLY = Principal(
    name=ANONYMOUS_NAME, permissions=frozenset({METRICS_READ}), namespaces=None
)
"""Who reads metrics that are open to everybody."""

"""Sessions in responses."""

from datetime import datetime

from typing_extensions import TypedDict

from tasker.api.views import documented


@documented
class SessionView(TypedDict):
    """The caller's identity and permissions."""

    name: str | None
    """The caller's name; null if the caller is not authenticated and must log in."""
    team: str | None
    roles: list[str]
    groups: list[str]
    """The caller's groups; `*` means all. An assignee `role:NAME` stands for the members of the
    group `NAME`."""
    auth: bool
    """Whether callers must authenticate."""
    methods: list[str]
    """Ways to log in: `api_key`, `oidc` (an identity provider)."""
    csrf: str | None
    """The value to send in the header `X-CSRF` with every request that changes data and carries the
    session cookie; null without a session."""
    expires_at: datetime | None
    """The latest time at which the session ends."""
    now: datetime
    """The server's time."""
    version: str
    """The server's version."""
    permissions: dict[str, list[str]]
    """Permissions by namespace; `*` means all namespaces. The server's authorization class (its
    coordinator) may restrict them further."""

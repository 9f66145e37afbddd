"""Sessions in responses."""

from datetime import datetime

from typing_extensions import TypedDict

from tasker.api.views import documented


@documented
class SessionView(TypedDict):
    """The caller's identity and permissions."""

    name: str | None
    """Null: the caller is not authenticated and must log in."""
    team: str | None
    roles: list[str]
    groups: list[str]
    """The caller's groups, matched by assignees of the form `role:NAME`; `*`: all."""
    auth: bool
    """Whether callers must authenticate."""
    methods: list[str]
    """Ways to log in: `api_key`, `oidc` (an identity provider)."""
    csrf: str | None
    """The value to send in the header `X-CSRF` with every change authenticated by the session
    cookie; null without a session."""
    expires_at: datetime | None
    """When the session ends at the latest."""
    now: datetime
    """The server's time."""
    version: str
    """The server's version."""
    permissions: dict[str, list[str]]
    """Permissions by namespace; `*` stands for all. A coordinator of the server may restrict them
    further."""

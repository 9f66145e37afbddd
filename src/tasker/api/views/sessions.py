"""Sessions in responses."""

from datetime import datetime

from typing_extensions import TypedDict

from tasker.api.views import documented


@documented
class SessionView(TypedDict):
    """Who the caller is, and what it may do."""

    name: str | None
    """Null: the caller is not authenticated and must log in."""
    team: str | None
    roles: list[str]
    groups: list[str]
    """What assignees of approvals of the form `role:NAME` match; `*`: all."""
    auth: bool
    """Whether callers must authenticate."""
    methods: list[str]
    """Ways to log in: `api_key`, `oidc` (an identity provider)."""
    csrf: str | None
    """The value of the header `X-CSRF`, which changes need if the session cookie is their
    credential; null without a session."""
    expires_at: datetime | None
    """When the session ends at the latest."""
    now: datetime
    """The server's time."""
    version: str
    """The server's version."""
    permissions: dict[str, list[str]]
    """By namespace; `*` stands for all. A coordinator of the server may refuse more."""

"""Permissions as text, and the roles that bundle them."""

import pytest

from tasker.errors import InvalidInput
from tasker.teams.permissions import (
    PERMISSIONS,
    ROLES,
    TASKS_CREATE,
    TASKS_READ,
    expand_scope,
    expand_scopes,
    require_known_roles,
)


def test_a_permission_is_parsed_and_formatted() -> None:
    for permission in PERMISSIONS:
        assert {permission} == expand_scope(str(permission))


def test_a_wildcard_matches_a_resource_or_everything() -> None:
    """
    Actions have no wildcard.
    """
    assert {"tasks"} == {permission.resource for permission in expand_scope("tasks:*")}
    assert {each for each in PERMISSIONS if each.resource == "tasks"} == expand_scope("tasks:*")
    assert PERMISSIONS == expand_scope("*")
    for text in ("*:read", "tasks", "tasks:", ":read", "**", "", "Tasks:read", "tasks:read "):
        assert frozenset() == expand_scope(text)


def test_a_misspelt_permission_gets_a_suggestion() -> None:
    """The message lists all permissions."""
    assert {TASKS_CREATE, TASKS_READ} == expand_scopes(["tasks:create", "tasks:read"])
    with pytest.raises(
        InvalidInput, match=r"'tasks:creat'; did you mean 'tasks:create'.*steps:read"
    ):
        expand_scopes(["tasks:creat"])
    with pytest.raises(InvalidInput, match=r"'operatr'; did you mean 'operator'.*viewer"):
        require_known_roles(["viewer", "operatr"])


def test_roles_have_their_documented_permissions() -> None:
    """Equal to the table in the documentation."""
    viewer = {
        "tasks:read",
        "tasks:list",
        "approvals:read",
        "steps:read",
        "templates:read",
        "templates:list",
        "namespaces:read",
        "queues:read",
        "limits:read",
        "schedules:read",
        "events:read",
        "workers:read",
        "system:analytics_read",
    }
    operator = viewer | {
        "payloads:read",
        "tasks:create",
        "tasks:cancel",
        "tasks:retry",
        "tasks:resolve",
        "steps:retry",
        "steps:resolve",
        "tasks:pause",
        "approvals:decide",
        "signals:send",
        "templates:pause",
        "queues:pause",
        "limits:update",
        "schedules:pause",
        "schedules:backfill",
        "namespaces:pause",
        "workers:drain",
        "webhooks:read",
    }
    developer = operator | {
        "templates:register",
        "templates:retire",
        "schedules:create",
        "schedules:update",
        "schedules:delete",
        "webhooks:update",
    }

    assert {
        "viewer": viewer,
        "operator": operator,
        "developer": developer,
        "approver": viewer | {"payloads:read", "templates:approve", "approvals:decide"},
        "worker": {"workers:run", "tasks:create", "tasks:read"},
        "admin": {str(permission) for permission in PERMISSIONS},
    } == {role: set(map(str, permissions)) for role, permissions in ROLES.items()}

"""What the claims of a token say about who sends it."""

from typing import Any

import pytest
from tests.api.auth.scene import (
    with_tokens,
)

from tasker.api.auth.claims import principal_of_claims
from tasker.api.auth.principal import Principal
from tasker.settings import TokenClaimNames
from tasker.teams.permissions import ROLES, Permission


def principal(payload: dict[str, Any], **changed: Any) -> Principal:
    roles = {**ROLES, "releaser": frozenset({Permission("templates", "register")})}
    return principal_of_claims({"sub": "jake", **payload}, with_tokens(**changed), roles)


def permissions(payload: dict[str, Any], **changed: Any) -> set[str] | None:
    held = principal(payload, **changed).permissions
    return None if held is None else set(map(str, held))


def test_permissions_are_listed_or_separated_by_spaces() -> None:
    """From `permissions`, `scope` and roles, combined."""
    both = {"tasks:read", "tasks:list"}

    assert both == permissions({"permissions": ["tasks:read", "tasks:list"]})
    assert both == permissions({"scope": "openid tasks:read  tasks:list email"})
    assert both == permissions({"permissions": ["tasks:read"], "scope": "tasks:list"})
    assert both | {"templates:register"} == permissions(
        {"scope": "tasks:read tasks:list", "roles": "releaser"}
    )
    assert {"steps:read", "steps:retry", "steps:resolve"} == permissions({"scope": "steps:*"})


def test_unknown_permissions_are_ignored() -> None:
    """
    Words of other programs, of other spelling, half a wildcard.
    """
    words = "openid Tasks:Read tasks tasks: :read *:read tasks:** tasks:read,tasks:list dlq:read"

    assert set() == permissions({"scope": words, "roles": ["Admin", "owner"]})


def test_absent_permissions_differ_from_an_empty_list() -> None:
    """The team coordinator ignores missing permissions, but not an empty list."""
    assert None is permissions({})
    assert set() == permissions({"permissions": []})
    assert set() == permissions({"scope": ""})
    assert set() == permissions({"roles": []})


def test_a_token_without_namespaces_has_none() -> None:
    """`*` means all, and so does an admin token without a namespaces claim."""
    assert frozenset() == principal({"roles": ["operator"]}).namespaces
    assert (
        frozenset({"payments", "orders"}) == principal({"namespaces": "payments orders"}).namespaces
    )
    assert None is principal({"namespaces": ["*"]}).namespaces
    assert None is principal({"roles": ["admin"]}).namespaces
    assert (
        frozenset({"payments"})
        == principal({"roles": ["admin"], "namespaces": ["payments"]}).namespaces
    )


def test_administrators_have_all_namespaces() -> None:
    """An admin of one namespace has all its permissions, and no others."""
    assert principal({"roles": ["admin"]}).admin
    assert not principal({"roles": ["admin"], "namespaces": ["payments"]}).admin
    assert not principal({"permissions": ["*"], "namespaces": ["*"]}).admin


def test_defaults_apply_to_tokens_without_claims() -> None:
    """Defaults do not apply to tokens with such claims."""
    defaults = {"default_roles": ("viewer",), "default_namespaces": ("payments",)}
    caller = principal({}, **defaults)

    assert (ROLES["viewer"], frozenset({"payments"})) == (caller.permissions, caller.namespaces)
    assert set() == permissions({"permissions": []}, **defaults)
    assert frozenset({"orders"}) == principal({"namespaces": ["orders"]}, **defaults).namespaces


def test_the_names_of_claims_can_be_configured() -> None:
    """By a name that contains dots, such as a URL, or by a path into nested claims."""
    names = TokenClaimNames(
        subject="client_id",
        permissions=("https://tasker.example/permissions",),
        roles="realm_access.roles",
        namespaces="tasker.namespaces",
        team="department",
    )
    caller = principal(
        {
            "client_id": "billing",
            "https://tasker.example/permissions": ["tasks:read"],
            "realm_access": {"roles": ["approver"]},
            "tasker": {"namespaces": ["payments"]},
            "department": "Payments",
            "roles": ["admin"],
            "namespaces": ["*"],
        },
        claims=names,
    )

    spaces = frozenset({"payments"})
    assert ("billing", "Payments", spaces) == (caller.name, caller.team, caller.namespaces)
    assert ROLES["approver"] | {Permission("tasks", "read")} == caller.permissions


@pytest.mark.parametrize(
    ("payload", "trusted", "name"),
    [
        ({"email": "jake@x.test", "email_verified": True}, False, "jake@x.test"),
        ({"email": "jake@x.test", "email_verified": False}, False, "jake"),
        ({"email": "jake@x.test", "email_verified": False}, True, "jake"),
        ({"email": "jake@x.test", "email_verified": "true"}, True, "jake"),
        ({"email": "jake@x.test"}, False, "jake"),
        ({"email": "jake@x.test"}, True, "jake@x.test"),
        ({"email": "no address", "email_verified": True}, False, "jake"),
        ({"email": 7, "email_verified": True}, False, "jake"),
        ({}, True, "jake"),
    ],
)
def test_only_a_verified_address_becomes_the_name(
    payload: dict[str, Any], trusted: bool, name: str
) -> None:
    """Otherwise anyone who can choose an address could impersonate its owner."""
    assert name == principal(payload, trust_email=trusted).name

"""What is said to those who may not: enough to mend it, and nothing about what is there."""

from tasker.api.auth.coordinators import Resource
from tasker.api.auth.credentials import TOLD, Reason
from tasker.api.auth.principal import Principal
from tasker.api.problems import Problem
from tasker.teams.permissions import Permission

_REALM = 'Bearer realm="tasker"'


def unauthenticated(reason: Reason) -> Problem:
    """Refuse a request that does not prove who makes it."""
    told = TOLD[reason]
    challenge = _REALM
    if reason != "missing":
        challenge += f', error="invalid_token", error_description="{reason}"'
    return Problem("unauthenticated", told, reason=reason, headers={"WWW-Authenticate": challenge})


def forbidden(permission: Permission, principal: Principal, touched: Resource) -> Problem:
    """Refuse what a principal may not do, and tell what would be needed."""
    told = f"{principal.name} lacks the permission {permission}"
    challenge = f'{_REALM}, error="insufficient_scope", scope="{permission}"'
    problem = Problem(
        "forbidden",
        f"{told}.",
        headers={"WWW-Authenticate": challenge},
        permission=str(permission),
    )
    if touched.namespace is not None:
        problem.detail = f"{told} in namespace {touched.namespace}."
        problem.more["namespace"] = touched.namespace
    return problem


def not_there(missing: str) -> Problem:
    """Say of what may not be seen what is said of what is not there."""
    return Problem("not_found", missing)


def unavailable() -> Problem:
    """Say that tokens cannot be checked at the moment."""
    return Problem(
        "auth_unavailable", "The keys that verify tokens cannot be had at the moment; try again."
    )

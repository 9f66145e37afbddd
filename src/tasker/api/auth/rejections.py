"""Problems of authentication and authorization, which do not reveal whether an object exists."""

from tasker.api.auth.coordinators import Resource
from tasker.api.auth.credentials import MESSAGES, Reason
from tasker.api.auth.principal import Principal
from tasker.api.problems import Problem
from tasker.teams.permissions import Permission

_REALM = 'Bearer realm="tasker"'


def unauthenticated_problem(reason: Reason) -> Problem:
    """Return the problem of a request without a valid credential."""
    challenge = _REALM
    if reason != "missing":
        challenge += f', error="invalid_token", error_description="{reason}"'
    return Problem(
        "unauthenticated",
        MESSAGES[reason],
        reason=reason,
        headers={"WWW-Authenticate": challenge},
    )


def forbidden_problem(permission: Permission, principal: Principal, target: Resource) -> Problem:
    """Return the problem of a missing permission."""
    message = f"{principal.name} lacks the permission {permission}"
    challenge = f'{_REALM}, error="insufficient_scope", scope="{permission}"'
    problem = Problem(
        "forbidden",
        f"{message}.",
        headers={"WWW-Authenticate": challenge},
        permission=str(permission),
    )
    if target.namespace is not None:
        problem.detail = f"{message} in namespace {target.namespace}."
        problem.more["namespace"] = target.namespace
    return problem


def not_found_problem(message: str) -> Problem:
    """Return the problem for an object that the caller may not see, as for a missing one."""
    return Problem("not_found", message)


def auth_unavailable_problem(what: str) -> Problem:
    """Return the problem for a caller that cannot be authenticated at the moment.

    Args:
        what: What is unavailable, as a plural noun.
    """
    return Problem("auth_unavailable", f"{what} are temporarily unavailable; try again.")

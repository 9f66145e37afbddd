"""Authenticates callers by custom credentials, in addition to API keys and tokens.

`[auth] authenticator = "package.module:Class"` names the class. The class receives requests whose
credential is neither an API key nor, if tokens are accepted, a bearer token.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Collection, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, NamedTuple

from tasker.api.auth.credentials import NOT_A_NAME, NotAuthenticated, is_valid_principal_name
from tasker.api.auth.principal import ANONYMOUS_NAME, Principal
from tasker.api.headers import client_address, get_or_make_correlation_id
from tasker.teams.model import ALL_NAMESPACES
from tasker.teams.permissions import ADMIN, Permission, expand_scope

log = logging.getLogger("tasker.auth")

TIME_LIMIT = 10.0  #: seconds for one answer


class AuthRequest(NamedTuple):
    """The part of a request that an authenticator receives; the body has not been read yet."""

    method: str
    path: str
    headers: Mapping[str, str]
    """The headers, by lower-case name. The values of a repeated header are joined with `, `."""
    address: str
    """The caller's address or, behind a proxy listed in `server.proxies`, the address that the
    proxy forwards."""


class Authenticator:
    """Base class of authenticators; rejects every request.

    The server creates one instance, without arguments, and calls `authenticate` for every request
    without a built-in credential, and again every few seconds while a wait or a stream is open. The
    method must not block, and may be a coroutine function. Its results are not cached.
    """

    def authenticate(
        self, request: AuthRequest
    ) -> "Principal | None | Awaitable[Principal | None]":
        """Return the caller, or None if the request has no valid credential (401).

        If it raises an exception, takes longer than 10 s, or returns anything but a `Principal`,
        the response is 503 `auth_unavailable`, and the reason is logged.

        These fields of the principal are used: `name`, which must be unique to this caller,
        `roles`, `permissions`, `namespaces` (`*` for all), `team` and `claims`. Roles add their
        permissions.
        """
        return None


class AuthenticatorError(Exception):
    """An authenticator failed, or did not return a principal."""


async def authenticate_with(
    authenticator: Authenticator,
    scope: MutableMapping[str, Any],
    roles: Mapping[str, frozenset[Permission]],
) -> Principal:
    """Return the principal of a request, as determined by an authenticator.

    Args:
        authenticator: The configured authenticator.
        scope: The request's ASGI scope.
        roles: The permissions of each role.

    Raises:
        NotAuthenticated: It returned None.
        AuthenticatorError: It failed; the log has the reason.
    """
    request = to_auth_request(scope)
    try:
        answer: Any = authenticator.authenticate(request)
        if inspect.isawaitable(answer):
            async with asyncio.timeout(TIME_LIMIT):
                answer = await answer
        principal = None if answer is None else validate_authenticator_result(answer, roles)
    except Exception as error:
        log.exception(
            "authenticator_failed", extra={"correlation_id": get_or_make_correlation_id(scope)}
        )
        raise AuthenticatorError from error
    if principal is None:
        missing = "authorization" not in request.headers and "x-api-key" not in request.headers
        raise NotAuthenticated(
            "missing" if missing else "invalid", "the authenticator rejected the request"
        )
    return principal


def to_auth_request(scope: MutableMapping[str, Any]) -> AuthRequest:
    """Return the part of a request that an authenticator receives."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    address = client_address(scope)
    return AuthRequest(scope["method"], scope["path"], headers, address)


def validate_authenticator_result(
    answer: object, roles: Mapping[str, frozenset[Permission]]
) -> Principal:
    """Return a principal with the permissions of its roles.

    Raises:
        TypeError: It is not a principal, or has a field of another type.
        ValueError: Its name cannot be used.
    """
    if not isinstance(answer, Principal):
        raise TypeError(f"not a Principal: {type(answer).__name__}")
    for field in ("name", "team"):
        text = getattr(answer, field)
        if text is None and field == "team":
            continue
        if not (isinstance(text, str) and is_valid_principal_name(text)) or text == ANONYMOUS_NAME:
            raise ValueError(f"the {field} of the principal is {NOT_A_NAME}: {text!r:.100}")
    held = _read_string_set("roles", answer.roles)
    spaces = (
        None if answer.namespaces is None else _read_string_set("namespaces", answer.namespaces)
    )
    if spaces is not None and ALL_NAMESPACES in spaces:
        spaces = None
    permissions = None
    if answer.permissions or held:
        scopes = {str(each) for each in answer.permissions or ()}
        granted = [*map(expand_scope, scopes), *(roles.get(role, frozenset()) for role in held)]
        permissions = frozenset[Permission]().union(*granted)
    elif answer.permissions is not None:
        permissions = frozenset()
    return replace(
        answer,
        permissions=permissions,
        namespaces=spaces,
        roles=held,
        admin=ADMIN in held and spaces is None,
        known=True,
        credential="authenticator",
    )


def _read_string_set(field: str, words: object) -> frozenset[str]:
    if isinstance(words, str | bytes) or not isinstance(words, Collection):
        raise TypeError(f"{field} must be a collection of strings, not {type(words).__name__}")
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"{field} must contain only strings")
    return frozenset(words)

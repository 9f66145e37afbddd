"""Sessions of people who use the web UI."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.principal import Principal
from tasker.api.auth.refusals import unauthenticated
from tasker.api.auth.sessions import (
    COOKIE,
    HOST_COOKIE,
    csrf_token_of,
    require_own_page,
    session_secret_of,
)
from tasker.api.dependencies import Api, ApiOf
from tasker.api.headers import first_header
from tasker.api.problems import Problem
from tasker.api.requests import Body, JsonBody
from tasker.api.responses import JsonResponse
from tasker.api.routing import READS_BODY, Routes
from tasker.api.server import is_loopback
from tasker.api.views.sessions import SessionView
from tasker.teams.model import ALL_NAMESPACES, UserSession
from tasker.teams.permissions import PERMISSIONS

routes = Routes("session", "/v1/session")

_VERSION = version("tasker-workflows")


class LoginBody(Body):
    """Begins a session."""

    api_key: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@routes.add(
    "POST",
    "",
    response=SessionView,
    status=201,
    description="The session has begun; `Set-Cookie` carries it.",
    refuses=(*READS_BODY, "invalid_request", "unauthenticated", "csrf_refused", "rate_limited"),
)
async def begin_session(
    request: Request, api: ApiOf, body: Annotated[LoginBody, Depends(JsonBody(LoginBody))]
) -> Response:
    """Log in to the web UI with an API key."""
    require_own_page(request.scope, None)
    api.logins.take_token((request.scope.get("client") or ("",))[0])
    if not (api.authorizer.enabled and api.authorizer.accepts_keys):
        raise Problem("invalid_request", "This server has no logins: API keys are not accepted.")
    try:
        session = await api.authorizer.sessions.begin(body.api_key)
    except NotAuthenticated as refusal:
        raise unauthenticated(refusal.reason) from None
    response = JsonResponse(_view(api, session.principal, session.secret, session.stored), 201)
    _set_cookie(request, api, response, session.secret, session.stored)
    return response


@routes.add("GET", "", response=SessionView)
async def get_session(request: Request, api: ApiOf) -> JsonResponse:
    """Return who the caller is, and what it may do; `name` is null if it must log in."""
    secret = session_secret_of(request.scope)
    stored = None
    try:
        principal: Principal | None = await api.authorizer.authenticate(request.scope, ())
        if secret is not None and api.authorizer.enabled:
            stored = await api.authorizer.sessions.read(secret)
    except Problem as problem:
        if problem.code != "unauthenticated":
            raise
        principal = None
    return JsonResponse(_view(api, principal, secret, stored))


@routes.add("DELETE", "", response=None, status=204, refuses=("csrf_refused",))
async def end_session(request: Request, api: ApiOf) -> Response:
    """Log out; does nothing without a session."""
    secret = session_secret_of(request.scope)
    if secret is not None:
        require_own_page(request.scope, csrf_token_of(secret))
        await api.authorizer.sessions.end(secret)
    response = Response(status_code=204)
    for name in (COOKIE, HOST_COOKIE):
        path = "/" if name == HOST_COOKIE else f"{api.settings.base_path}/"
        secure = name == HOST_COOKIE
        response.delete_cookie(name, path, secure=secure, httponly=True, samesite="strict")
    return response


def _view(
    api: Api, principal: Principal | None, secret: str | None, stored: UserSession | None
) -> SessionView:
    permissions: dict[str, list[str]] = {}
    if principal is not None:
        held = PERMISSIONS if principal.permissions is None else principal.permissions
        spaces = [ALL_NAMESPACES] if principal.namespaces is None else sorted(principal.namespaces)
        permissions = {space: sorted(map(str, held)) for space in spaces}
    return {
        "name": principal.name if principal else None,
        "team": principal.team if principal else None,
        "roles": sorted(principal.roles) if principal else [],
        "auth": api.authorizer.enabled,
        "methods": ["api_key"] if api.authorizer.enabled and api.authorizer.accepts_keys else [],
        "csrf": csrf_token_of(secret) if stored and secret else None,
        "expires_at": stored.expires_at if stored else None,
        "now": datetime.now(UTC),
        "version": _VERSION,
        "permissions": permissions,
    }


def _set_cookie(
    request: Request, api: Api, response: Response, secret: str, stored: UserSession
) -> None:
    host = (first_header(request.scope, "host") or "").rsplit(":", 1)[0].strip("[]")
    secure = request.scope["scheme"] == "https" or not is_loopback(host)
    own = secure and not api.settings.base_path
    response.set_cookie(
        HOST_COOKIE if own else COOKIE,
        secret,
        path="/" if own else f"{api.settings.base_path}/",
        expires=stored.expires_at,
        secure=secure,
        httponly=True,
        samesite="strict",
    )

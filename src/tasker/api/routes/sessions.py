"""Sessions of people who use the web UI."""

import logging
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.principal import Principal
from tasker.api.auth.rejections import unauthenticated_problem
from tasker.api.auth.sessions import (
    COOKIE,
    HOST_COOKIE,
    check_csrf,
    csrf_token_of,
    session_secret_of,
)
from tasker.api.dependencies import ApiServices, ApiServicesOf, api_services_of
from tasker.api.headers import client_address, first_header
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routing import READS_BODY, Routes
from tasker.api.server import is_loopback
from tasker.api.views.sessions import SessionView
from tasker.approvals import EVERY_GROUP
from tasker.teams.model import ALL_NAMESPACES, UserSession
from tasker.teams.permissions import PERMISSIONS

if TYPE_CHECKING:
    from tasker.api.auth.oidc import IdentityProvider

routes = Routes("session", "/v1/session")
log = logging.getLogger("tasker.auth")

LOGIN_COOKIE = "tasker_login"
HOST_LOGIN_COOKIE = f"__Host-{LOGIN_COOKIE}"

_VERSION = version("tasker-workflows")


class LoginBody(RequestBody):
    """Begins a session."""

    api_key: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


async def _check_origin_and_login_rate(request: Request) -> None:
    check_csrf(request.scope, None)
    api_services_of(request).logins.admit(client_address(request.scope))


@routes.add(
    "POST",
    "",
    admit=_check_origin_and_login_rate,
    response=SessionView,
    status=201,
    description="The session was created; `Set-Cookie` contains its cookie.",
    error_codes=(
        *READS_BODY,
        "invalid_request",
        "unauthenticated",
        "csrf_rejected",
        "rate_limited",
    ),
)
async def begin_session(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[LoginBody, Depends(JsonBodyParser(LoginBody))],
) -> Response:
    """Log in to the web UI with an API key."""
    if not (api.authorizer.is_enabled and api.authorizer.accepts_keys):
        raise Problem(
            "invalid_request",
            "Login is disabled on this server: it does not accept API keys.",
        )
    try:
        session = await api.authorizer.sessions.begin_with_key(body.api_key)
    except NotAuthenticated as rejection:
        raise unauthenticated_problem(rejection.reason) from None
    response = JsonResponse(
        _session_view(api, session.principal, session.secret, session.stored), 201
    )
    _set_session_cookie(request, api, response, session.secret, session.stored)
    return response


@routes.add("GET", "", response=SessionView)
async def get_session(request: Request, api: ApiServicesOf) -> JsonResponse:
    """Return the caller's name and permissions; `name` is null if the caller must log in."""
    secret = session_secret_of(request.scope)
    stored = None
    try:
        principal: Principal | None = await api.authorizer.authenticate_and_check_permissions(
            request.scope, ()
        )
        if secret is not None and api.authorizer.is_enabled:
            stored = await api.authorizer.sessions.find_by_secret(secret)
    except Problem as problem:
        if problem.code != "unauthenticated":
            raise
        principal = None
    return JsonResponse(_session_view(api, principal, secret, stored))


@routes.add(
    "GET",
    "/oidc/start",
    response=None,
    status=307,
    description="A redirect to the identity provider's login page; `Set-Cookie` contains a cookie "
    "for the callback.",
    error_codes=("invalid_request",),
)
async def begin_login(
    request: Request,
    api: ApiServicesOf,
    page: Annotated[
        str,
        Query(
            alias="next",
            max_length=500,
            description="Page of the UI that is shown after the login.",
        ),
    ] = "/",
) -> Response:
    """Redirect a browser to the identity provider to log in to the web UI."""
    provider = _require_identity_provider(api)
    from tasker.api.auth.oidc import LOGIN_SECONDS, LoginFailed, PendingLogin

    login = PendingLogin.begin(page)
    try:
        url = await provider.login_url(login, _callback_url(request, api))
    except LoginFailed as failure:
        return _redirect_to_login_after_failure(api, failure.code, failure.why)
    response = RedirectResponse(url, 307)
    name, options = _cookie_name_and_options(request, api, LOGIN_COOKIE, HOST_LOGIN_COOKIE)
    response.set_cookie(name, str(login), max_age=LOGIN_SECONDS, samesite="lax", **options)
    return response


@routes.add(
    "GET",
    "/oidc/callback",
    response=None,
    status=303,
    description="A redirect to the requested page of the UI; `Set-Cookie` contains the session's "
    "cookie. If the login is rejected, a redirect to the login page, with the reason in the query "
    "parameter `problem`.",
    error_codes=("invalid_request", "rate_limited"),
)
async def finish_login(request: Request, api: ApiServicesOf) -> Response:
    """Create the session of a person who returns from the identity provider."""
    api.logins.admit(client_address(request.scope))
    provider = _require_identity_provider(api)
    from tasker.api.auth.oidc import LoginFailed, PendingLogin

    name, options = _cookie_name_and_options(request, api, LOGIN_COOKIE, HOST_LOGIN_COOKIE)
    login = PendingLogin.parse(request.cookies.get(name, ""))
    try:
        if login is None:
            raise LoginFailed("state", "the browser sent no login cookie")
        address = _callback_url(request, api)
        claims = await provider.exchange_callback_for_claims(
            login, dict(request.query_params), address
        )
        session = await api.authorizer.sessions.begin_with_claims(claims)
    except LoginFailed as failure:
        response: Response = _redirect_to_login_after_failure(api, failure.code, failure.why)
    else:
        response = RedirectResponse(f"{api.settings.base_path}/ui{login.path}", 303)
        _set_session_cookie(request, api, response, session.secret, session.stored)
    response.delete_cookie(name, samesite="lax", **options)
    return response


def _require_identity_provider(api: ApiServices) -> "IdentityProvider":
    if api.authorizer.provider is None:
        raise Problem(
            "invalid_request", "Login with an identity provider is disabled on this server."
        )
    return api.authorizer.provider


def _callback_url(request: Request, api: ApiServices) -> str:
    """Return the URL to which the identity provider redirects browsers."""
    own = f"{request.url.scheme}://{request.url.netloc}{api.settings.base_path}"
    return f"{(api.settings.public_url or own).rstrip('/')}/v1/session/oidc/callback"


def _redirect_to_login_after_failure(api: ApiServices, code: str, why: str) -> Response:
    log.warning("login_failed", extra={"code": code, "why": why})
    return RedirectResponse(f"{api.settings.base_path}/ui/login?problem={code}", 303)


@routes.add("DELETE", "", response=None, status=204, error_codes=("csrf_rejected",))
async def end_session(request: Request, api: ApiServicesOf) -> Response:
    """Log out; does nothing without a session."""
    secret = session_secret_of(request.scope)
    if secret is not None:
        check_csrf(request.scope, csrf_token_of(secret))
        await api.authorizer.sessions.end(secret)
    response = Response(status_code=204)
    for name in (COOKIE, HOST_COOKIE):
        path = "/" if name == HOST_COOKIE else f"{api.settings.base_path}/"
        secure = name == HOST_COOKIE
        response.delete_cookie(name, path, secure=secure, httponly=True, samesite="strict")
    return response


def _session_view(
    api: ApiServices, principal: Principal | None, secret: str | None, stored: UserSession | None
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
        "groups": _group_names(principal),
        "auth": api.authorizer.is_enabled,
        "methods": _login_methods(api),
        "csrf": csrf_token_of(secret) if stored and secret else None,
        "expires_at": stored.expires_at if stored else None,
        "now": datetime.now(UTC),
        "version": _VERSION,
        "permissions": permissions,
    }


def _login_methods(api: ApiServices) -> list[str]:
    authorizer = api.authorizer
    if not authorizer.is_enabled:
        return []
    return [
        *(["api_key"] if authorizer.accepts_keys else []),
        *(["oidc"] if authorizer.provider else []),
    ]


def _group_names(principal: Principal | None) -> list[str]:
    if principal is None:
        return []
    return sorted(principal.groups) if principal.known else [EVERY_GROUP]


def _set_session_cookie(
    request: Request, api: ApiServices, response: Response, secret: str, stored: UserSession
) -> None:
    name, options = _cookie_name_and_options(request, api, COOKIE, HOST_COOKIE)
    response.set_cookie(name, secret, expires=stored.expires_at, samesite="strict", **options)


def _cookie_name_and_options(
    request: Request, api: ApiServices, name: str, host_name: str
) -> tuple[str, dict[str, Any]]:
    """Return the name of a cookie, and its path and other options."""
    host = (first_header(request.scope, "host") or "").rsplit(":", 1)[0].strip("[]")
    secure = request.scope["scheme"] == "https" or not is_loopback(host)
    own = secure and not api.settings.base_path
    path = "/" if own else f"{api.settings.base_path}/"
    return host_name if own else name, {"path": path, "secure": secure, "httponly": True}

"""Sessions: a browser's cookie in place of an API key.

The cookie is an opaque secret that scripts cannot read; the store keeps its SHA-256 and either the
prefix of the API key used to log in or the claims from the identity provider. Each request checks
the key again, so revoking a key also ends its sessions. Browsers send cookies automatically, so a
request that changes something must prove that one of this server's pages sent it: by its origin and
by a token that only these pages can read.
"""

import hmac
import logging
import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.requests import cookie_parser

from tasker.api.auth.claims import principal_of_claims
from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.keyring import ApiKeyCache
from tasker.api.auth.principal import Principal
from tasker.api.headers import BASE_PATH, first_header
from tasker.api.problems import Problem
from tasker.errors import StoreError
from tasker.settings import AuthSettings
from tasker.store.protocol import TeamStore
from tasker.teams.api_keys import digest_secret, parse_key
from tasker.teams.model import UserSession
from tasker.teams.permissions import Permission
from tasker.ttl_cache import TTLCache

log = logging.getLogger("tasker.auth")

CSRF = "x-csrf"
COOKIE = "tasker_session"
HOST_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name if the server is reached over HTTPS at the root of a host. Because of the
prefix `__Host-`, browsers let only that host set the cookie."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_TOUCH = 60.0  #: seconds between two updates of a session's `seen_at`


class NewSession(NamedTuple):
    """A newly created session, with the secret that only its browser keeps."""

    secret: str  #: the cookie's value
    stored: UserSession
    principal: Principal


class Sessions:
    """Begins, finds and ends the sessions in a store.

    Args:
        store: The store.
        keys: Its API keys.
        settings: Lifetimes of sessions, and the claims to read.
        roles: The permissions of each role.
    """

    def __init__(
        self,
        store: TeamStore,
        keys: ApiKeyCache,
        settings: AuthSettings,
        roles: Mapping[str, frozenset[Permission]],
    ) -> None:
        self._store = store
        self._roles = roles
        self._keys = keys
        self._settings = settings
        self._known: TTLCache[str, UserSession | None] = TTLCache(
            self._read_stored_session, seconds=settings.cache.total_seconds()
        )
        self._touched: TTLCache[str, None] = TTLCache(self._record_use, seconds=_TOUCH)

    async def begin_with_key(self, key: str) -> NewSession:
        """Begin a session with an API key. Raises NotAuthenticated."""
        principal = await self._keys.authenticate_key(key)
        parts = parse_key(key)
        if parts is None:  # rejected above
            raise NotAuthenticated("invalid", "malformed key")
        secret = secrets.token_urlsafe(32)
        stored = await self._store.add_session(
            digest_secret(secret), parts.prefix, lifetime=self._settings.session
        )
        return NewSession(secret, stored, principal)

    async def begin_with_claims(self, claims: Mapping[str, Any]) -> NewSession:
        """Begin a session with the claims of an identity provider."""
        secret = secrets.token_urlsafe(32)
        stored = await self._store.add_session(
            digest_secret(secret), claims=claims, lifetime=self._settings.session
        )
        return NewSession(secret, stored, self._principal_of_claims(claims))

    async def end(self, secret: str) -> None:
        """End a session in the store; other servers may accept it from their caches for up to
        `auth.cache`."""
        digest = digest_secret(secret)
        await self._store.end_session(digest)
        self._known.forget(digest)

    async def find_by_secret(self, secret: str) -> UserSession | None:
        """Return the session with this secret, or None if it has ended or never existed."""
        return await self._known.get(digest_secret(secret))

    async def authenticate_and_check_csrf(
        self, secret: str, scope: MutableMapping[str, Any]
    ) -> Principal:
        """Return the caller of a request with a session, and record the use of the session.

        Raises:
            NotAuthenticated: The session has ended, or its key was revoked.
            Problem: `csrf_rejected`; the request may come from another site's page.
        """
        session = await self.find_by_secret(secret)
        if session is None:
            raise NotAuthenticated("expired", "the session has ended")
        check_csrf(scope, csrf_token_of(secret))
        await self._touched.get(digest_secret(secret))
        if session.key_prefix is None:
            principal = self._principal_of_claims(session.claims or {})
            return replace(principal, credential="session of a login", via_session=True)
        if not self._settings.api_keys:
            raise NotAuthenticated("revoked", "API keys are not accepted")
        principal = await self._keys.find_principal_by_key_prefix(session.key_prefix)
        return replace(
            principal, credential=f"session of key {session.key_prefix}", via_session=True
        )

    def _principal_of_claims(self, claims: Mapping[str, Any]) -> Principal:
        """Return the person who logged in with an identity provider; roles come from the current
        settings."""
        if not self._settings.has_oidc_login:
            raise NotAuthenticated("revoked", "login with an identity provider is disabled")
        return principal_of_claims(claims, self._settings, self._roles)

    async def _read_stored_session(self, digest: str) -> UserSession | None:
        return await self._store.find_session(digest, idle=self._settings.session_idle)

    async def _record_use(self, digest: str) -> None:
        try:
            await self._store.touch_session(digest)
        except StoreError as error:  # no reason to reject the request
            log.warning("session_touch_failed", extra={"code": error.code})


def csrf_token_of(secret: str) -> str:
    """Return the token that a session's pages send with each change."""
    return digest_secret(f"csrf {secret}")


def session_secret_of(scope: MutableMapping[str, Any]) -> str | None:
    """Return the value of a request's session cookie, or None if it has none.

    Over HTTPS at the root of the host, only the cookie that no other host can have set counts:
    otherwise one of the same domain could log a person in as somebody else.
    """
    header = first_header(scope, "cookie")
    if header is None:
        return None
    cookies = cookie_parser(header)
    if scope["scheme"] == "https" and not scope.get(BASE_PATH):
        return cookies.get(HOST_COOKIE) or None
    return cookies.get(HOST_COOKIE) or cookies.get(COOKIE) or None


def check_csrf(scope: MutableMapping[str, Any], token: str | None) -> None:
    """Reject a change that was not sent by one of this server's pages.

    Args:
        scope: The request's ASGI scope.
        token: The session's CSRF token; None for the login, which has no session yet.

    Raises:
        Problem: `csrf_rejected`.
    """
    if scope["method"] in _SAFE:
        return
    if not _is_same_origin(scope):
        raise Problem("csrf_rejected", "The request came from a page on another site.")
    sent = first_header(scope, CSRF) or ""
    if token is not None and not hmac.compare_digest(sent.encode(), token.encode()):
        raise Problem(
            "csrf_rejected",
            "A request with a session cookie needs the header X-CSRF with the `csrf` value that "
            "GET /v1/session returns.",
        )


def _is_same_origin(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request comes from this server's own pages, or from no page at all."""
    site, origin = first_header(scope, "sec-fetch-site"), first_header(scope, "origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True  # not a browser: browsers send one of the two with every change
    try:
        return urlsplit(origin).netloc == first_header(scope, "host")
    except ValueError:
        return False

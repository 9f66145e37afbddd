"""Login with an identity provider: OpenID Connect, authorization code flow with PKCE.

The provider redirects the browser back with a code, which the server exchanges for an ID token. The
values that the response must match (state, nonce and the code's verifier) are kept in a cookie that
scripts cannot read. No token reaches the browser; its session works as after a login with an API
key.
"""

import hmac
import logging
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import httpx

from tasker import codec
from tasker.api.auth.claims import principal_of_claims
from tasker.api.auth.credentials import NotAuthenticated, TokenKeysUnavailable
from tasker.api.auth.jwks import PublishedKeySet, fetch_discovery_document, read_bounded_body
from tasker.api.auth.principal import Principal
from tasker.api.auth.tokens import TokenVerifier
from tasker.errors import InvalidInput, TooLarge
from tasker.settings import AuthSettings, check_key_url
from tasker.teams.permissions import Permission
from tasker.ttl_cache import TTLCache

log = logging.getLogger("tasker.auth")

LOGIN_SECONDS = 300  #: to log in at the provider
_FRESH = 600.0  #: seconds for which the discovery document is cached
_LONGEST_CLAIMS = 16 << 10  #: bytes of the claims of a session
_LONGEST_PATH = 500


class LoginFailed(Exception):
    """A login did not succeed.

    Args:
        code: For the login page: `state`, `rejected`, `token`, `unmapped` or `unavailable`.
        why: For the log.
    """

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


class PendingLogin(NamedTuple):
    """The values that the provider's response must match; kept in a cookie of the browser."""

    state: str
    nonce: str
    verifier: str
    path: str  #: of the page to show afterwards, below `/ui`

    @classmethod
    def begin(cls, path: str) -> "PendingLogin":
        """Return a new login that leads to a page of the UI."""
        allowed = path.startswith("/") and not path.startswith("//") and "\\" not in path
        shown = path if allowed and len(path) <= _LONGEST_PATH and path.isprintable() else "/"
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, shown)

    @classmethod
    def parse(cls, text: str) -> "PendingLogin | None":
        """Parse the value of the cookie."""
        parts = text.split("~", 3)
        return cls(*parts) if len(parts) == len(cls._fields) and all(parts) else None

    def __str__(self) -> str:
        return "~".join(self)

    @property
    def challenge(self) -> str:
        """The hash of the verifier, which the provider compares with it."""
        digest = sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


class _ProviderEndpoints(NamedTuple):
    authorization: str
    token: str


class IdentityProvider:
    """The identity provider with which people log in.

    Args:
        settings: The issuer, this server's id and secret, and the claims to read.
        roles: The permissions of each role.
    """

    def __init__(self, settings: AuthSettings, roles: Mapping[str, frozenset[Permission]]) -> None:
        self._settings = settings
        self._roles = roles
        self._client_id = settings.oidc.client_id or ""
        self._timeout = settings.jwks_timeout.total_seconds()
        own = settings.model_copy(update={"audience": self._client_id, "jwks_url": None})
        self._verifier = TokenVerifier(PublishedKeySet(own), own)
        self._endpoints: TTLCache[str, _ProviderEndpoints] = TTLCache(
            self._fetch_endpoints, seconds=_FRESH
        )

    async def login_url(self, login: PendingLogin, redirect_uri: str) -> str:
        """Return the provider's URL to which the browser is redirected. Raises LoginFailed."""
        endpoint = (await self._find_endpoints()).authorization
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.oidc.scopes),
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": login.challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def exchange_callback_for_claims(
        self, login: PendingLogin, query: Mapping[str, str], redirect_uri: str
    ) -> Mapping[str, Any]:
        """Return the claims of the person who logged in at the provider.

        Args:
            login: The values that the response must match.
            query: The parameters of the callback.
            redirect_uri: The callback's URL, as sent to the provider.

        Raises:
            LoginFailed: The response, its token or the person was rejected.
        """
        if not hmac.compare_digest(query.get("state", "").encode(), login.state.encode()):
            raise LoginFailed("state", "the state in the response does not match the login")
        if query.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise LoginFailed("token", "the response came from another provider")
        if "error" in query:
            raise LoginFailed("rejected", f"the provider returned {query['error'][:80]!r}")
        if not query.get("code"):
            raise LoginFailed("state", "the response has no authorization code")
        token = await self._exchange_code_for_id_token(query["code"], login, redirect_uri)
        claims = await self._verify_id_token(token, login.nonce)
        if not self.principal_of_claims(claims).permissions:
            raise LoginFailed("unmapped", "the claims grant neither roles nor permissions")
        if self.principal_of_claims(claims).namespaces == frozenset():
            raise LoginFailed("unmapped", "the claims grant no namespaces")
        return claims

    def principal_of_claims(self, claims: Mapping[str, Any]) -> Principal:
        """Return the principal of a person by their claims. Raises NotAuthenticated."""
        return principal_of_claims(claims, self._settings, self._roles)

    async def _verify_id_token(self, token: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        try:
            claims = await self._verifier.verify_token(token)
            self.principal_of_claims(claims)
        except NotAuthenticated as rejection:
            raise LoginFailed("token", f"the ID token was rejected: {rejection.why}") from None
        except TokenKeysUnavailable:
            raise LoginFailed("unavailable", "the provider's keys cannot be fetched") from None
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise LoginFailed("token", "the nonce in the ID token does not match the login")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._client_id) != self._client_id:
            raise LoginFailed("token", "the ID token was issued to another client")
        if len(codec.dumps(claims)) > _LONGEST_CLAIMS:
            raise LoginFailed("token", f"the claims exceed {_LONGEST_CLAIMS:,} bytes")
        return claims

    async def _exchange_code_for_id_token(
        self, code: str, login: PendingLogin, redirect_uri: str
    ) -> str:
        """Return the ID token for a code."""
        secret = self._settings.oidc.client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "code_verifier": login.verifier,
        }
        auth = None if secret is None else (self._client_id, secret.get_secret_value())
        endpoint = (await self._find_endpoints()).token
        try:
            async with (
                httpx.AsyncClient(follow_redirects=False, timeout=self._timeout) as client,
                client.stream("POST", endpoint, data=form, auth=auth) as response,
            ):
                body = await read_bounded_body(response)
            answer = codec.parse_untrusted(body, what="the provider's response", limit=len(body))
        except (httpx.HTTPError, ValueError) as error:
            raise LoginFailed(
                "unavailable", f"cannot obtain a token: {type(error).__name__}: {error}"
            ) from None
        except (InvalidInput, TooLarge):
            raise LoginFailed(
                "unavailable", "cannot obtain a token: the response is not valid JSON"
            ) from None
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise LoginFailed("token", "the provider's response has no id_token")
        return token

    async def _find_endpoints(self) -> _ProviderEndpoints:
        try:
            return await self._endpoints.get(self._settings.issuer or "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            why = f"cannot fetch the discovery document: {type(error).__name__}: {error}"[:200]
            raise LoginFailed("unavailable", why) from None

    async def _fetch_endpoints(self, issuer: str) -> _ProviderEndpoints:
        document = await fetch_discovery_document(issuer, self._timeout)
        urls = []
        for name in _ProviderEndpoints._fields:
            url = document.get(f"{name}_endpoint")
            if not isinstance(url, str):
                raise ValueError(f"the discovery document has no {name}_endpoint")
            check_key_url(url, f"{name}_endpoint", allow_http=self._settings.jwks_allow_http)
            urls.append(url)
        return _ProviderEndpoints(*urls)

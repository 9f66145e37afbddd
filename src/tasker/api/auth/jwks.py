"""The keys that an identity provider publishes and rotates (JWKS).

Keys are fetched when a token first needs them, when they have become old, and when a token names an
unknown key. Concurrent requests share one fetch. If fetching fails, the cached keys stay in use for
a bounded time. If no key URL is configured, it is read from the issuer's discovery document.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tasker import codec
from tasker.api.auth.credentials import TokenKeysUnavailable
from tasker.api.auth.tokens import PublicKey, key_supports_algorithm
from tasker.errors import InvalidInput, TooLarge
from tasker.settings import AuthSettings, check_key_url
from tasker.ttl_cache import Clock

log = logging.getLogger("tasker.auth")

REFETCH = 10.0  #: minimum seconds between two fetches
_MAX_BYTES = 256 << 10  #: bytes of a response
_MAX_KEYS = 100  #: keys
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}  #: no decompression bombs

KeySet = Mapping[str, list[tuple[str | None, PublicKey]]]
"""The keys by id. Each has the algorithm to which it is restricted, or None if any may be used."""


class PublishedKeySet:
    """The keys of one identity provider.

    Args:
        settings: URL or issuer, lifetimes and timeout.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, settings: AuthSettings, *, clock: Clock = time.monotonic) -> None:
        self._url = settings.jwks_url
        self._issuer = settings.issuer or ""
        self._allow_http = settings.jwks_allow_http
        self._refresh = settings.jwks_refresh.total_seconds()
        self._stale = settings.jwks_stale.total_seconds()
        self._timeout = settings.jwks_timeout.total_seconds()
        self._clock = clock
        self._keys: KeySet = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find_key(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key that a token names, after fetching the keys if they are too old.

        See `TokenKeySource.find_key`. Tokens must name a key.
        """
        if kid is None:
            return None
        age = self._cache_age()
        if age is not None and age <= self._refresh + self._stale:
            if age > self._refresh:
                self._start_or_join_fetch()  # later tokens use the result
        else:
            await self._fetch_keys_unless_just_tried()
            age = self._cache_age()
            if age is None or age > self._refresh + self._stale:
                raise TokenKeysUnavailable("the keys for verifying tokens cannot be fetched")
        key = self._find_cached_key(kid, algorithm)
        if key is None:
            await self._fetch_keys_unless_just_tried()
            key = self._find_cached_key(kid, algorithm)
        return key

    def _cache_age(self) -> float | None:
        return None if self._fetched is None else self._clock() - self._fetched

    def _find_cached_key(self, kid: str, algorithm: str) -> PublicKey | None:
        for only, key in self._keys.get(kid, ()):
            if only in (None, algorithm) and key_supports_algorithm(key, algorithm):
                return key
        return None

    async def _fetch_keys_unless_just_tried(self) -> None:
        """Fetch the keys, unless a fetch was attempted a moment ago."""
        fetching = self._start_or_join_fetch()
        if fetching is not None:
            await asyncio.shield(fetching)

    def _start_or_join_fetch(self) -> "asyncio.Task[None] | None":
        """Start fetching the keys; return the running fetch, or None if it is too early."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if self._tried is not None and now - self._tried < REFETCH:
            return None
        self._tried = now
        self._fetching = asyncio.create_task(self._fetch_keys(), name="fetch token keys")
        return self._fetching

    async def _fetch_keys(self) -> None:
        url = self._url or self._issuer
        try:
            async with asyncio.timeout(self._timeout):
                url = self._url or await self._discover_key_url()
                keys = parse_signature_keys(await fetch_document(url, self._timeout))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"[:200]
            log.warning("token_keys_not_fetched", extra={"url": url, "why": why})
            return
        self._keys, self._fetched = keys, self._clock()
        log.info("token_keys_fetched", extra={"url": url, "keys": sorted(keys)})

    async def _discover_key_url(self) -> str:
        """Return the key URL of the discovery document."""
        document = await fetch_discovery_document(self._issuer, self._timeout)
        keys = document.get("jwks_uri")
        if not isinstance(keys, str):
            raise ValueError("the discovery document has no jwks_uri")
        check_key_url(keys, "jwks_uri", allow_http=self._allow_http)
        return keys


async def fetch_discovery_document(issuer: str, timeout: float) -> Mapping[str, Any]:
    """Return the discovery document of an issuer (OpenID Connect Discovery 1.0, section 4).

    Raises:
        httpx.HTTPError: The URL cannot be reached.
        ValueError: The response is not the issuer's document.
    """
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = _parse_object(await fetch_document(url, timeout), "the discovery document")
    if document.get("issuer") != issuer:
        raise ValueError("the discovery document names a different issuer")
    return document


async def fetch_document(url: str, timeout: float) -> bytes:
    """Fetch a document of bounded size; redirects are not followed.

    Raises:
        httpx.HTTPError: The URL cannot be reached.
        ValueError: The response is not a JSON document.
    """
    async with (
        httpx.AsyncClient(follow_redirects=False, timeout=timeout) as client,
        client.stream("GET", url, headers=_HEADERS) as response,
    ):
        return await read_bounded_body(response)


async def read_bounded_body(response: httpx.Response) -> bytes:
    """Return the body of a successful response. Raises ValueError."""
    if response.is_redirect:
        raise ValueError("the response is a redirect, and redirects are not followed")
    if response.status_code != httpx.codes.OK:
        raise ValueError(f"the response has status {response.status_code}")
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the response is larger than {_MAX_BYTES:,} bytes")
    return body


def parse_signature_keys(body: bytes) -> KeySet:
    """Return the signature keys of a JWKS document; other keys are ignored.

    Raises:
        ValueError: The document is not a JWKS.
    """
    listed = _parse_object(body, "the key set").get("keys")
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise ValueError(f"the key set must have a list `keys` of at most {_MAX_KEYS} keys")
    keys: dict[str, list[tuple[str | None, PublicKey]]] = {}
    for entry in listed:
        if isinstance(entry, dict) and (key := _parse_signature_key(entry)) is not None:
            keys.setdefault(entry["kid"], []).append(key)
    return keys


def _parse_object(body: bytes, what: str) -> Mapping[str, Any]:
    try:
        document = codec.parse_untrusted(body, what=what, limit=_MAX_BYTES)
    except (InvalidInput, TooLarge) as error:
        raise ValueError(str(error)) from None
    return document if isinstance(document, dict) else {}


def _parse_signature_key(entry: Mapping[str, Any]) -> tuple[str | None, PublicKey] | None:
    """Return one key, or None if it cannot verify signatures."""
    kid, kind, only = entry.get("kid"), entry.get("kty"), entry.get("alg")
    usable = (
        isinstance(kid, str)
        and isinstance(only, str | None)
        and kind in ("RSA", "EC")
        and entry.get("use") in (None, "sig")
        and ("key_ops" not in entry or entry["key_ops"] == ["verify"])
    )
    if not usable:
        return None
    reader = RSAAlgorithm if kind == "RSA" else ECAlgorithm
    try:
        key = reader.from_jwk(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        return None  # a published private key proves nothing
    return only, key

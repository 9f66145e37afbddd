"""JSON Web Tokens as credentials, verified with the identity provider's public keys.

Claims are used only after the signature, issuer, audience and times have been checked.
Shared-secret signatures and unsigned tokens cannot be enabled: see `Algorithm`.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tasker.api.auth.credentials import NotAuthenticated, Reason
from tasker.errors import InvalidSettings
from tasker.settings import AuthSettings
from tasker.ttl_cache import TTLCache

PublicKey = RSAPublicKey | EllipticCurvePublicKey

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_MIN_BITS, _MAX_BITS = 2048, 16384  #: minimum size of an RSA key


class TokenKeySource(Protocol):
    """Finds the keys that verify tokens."""

    async def find_key(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key that a token names, or None if no key is suitable.

        Raises:
            TokenKeysUnavailable: The keys cannot be fetched at the moment.
        """
        ...


class FixedTokenKey:
    """The single key from the settings, used for every token."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    async def find_key(self, kid: str | None, algorithm: str) -> PublicKey | None:
        return self._key if key_supports_algorithm(self._key, algorithm) else None


class TokenVerifier:
    """Verifies tokens.

    Args:
        keys: The keys that verify signatures.
        settings: Issuer, audience and algorithms.
    """

    def __init__(self, keys: TokenKeySource, settings: AuthSettings) -> None:
        self._keys = keys
        self._algorithms = frozenset(settings.algorithms)
        self._issuer, self._audience = settings.issuer, settings.audience
        self._leeway = settings.leeway
        self._verified = TTLCache(self._verify_uncached, seconds=settings.cache.total_seconds())

    async def verify_token(self, text: str) -> Mapping[str, Any]:
        """Return the claims of a token, after verifying it.

        Raises:
            NotAuthenticated: The token is invalid or has expired.
            TokenKeysUnavailable: The token cannot be verified at the moment.
        """
        claims = await self._verified.get(text)
        if int(claims["exp"]) <= time.time() - self._leeway.total_seconds():
            raise NotAuthenticated("expired", "the token expired while it was cached")
        return claims

    async def _verify_uncached(self, text: str) -> Mapping[str, Any]:
        """Verify a token and return its claims."""
        algorithm, kid = self._read_algorithm_and_key_id(text)
        key = await self._keys.find_key(kid, algorithm)
        if key is None:
            raise NotAuthenticated(
                "invalid", f"no key for {algorithm} has the id {_quote_for_log(kid)}"
            )
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise NotAuthenticated(_reason_for_caller(error), _reason_for_log(error)) from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotAuthenticated("invalid", f"unreadable: {type(error).__name__}") from None
        return claims

    def _read_algorithm_and_key_id(self, text: str) -> tuple[str, str | None]:
        """Return the algorithm and key id of a token, before verification."""
        try:
            header = jwt.get_unverified_header(text)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated("invalid", "malformed token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise NotAuthenticated(
                "invalid", f"the algorithm {_quote_for_log(algorithm)} is not allowed"
            )
        return algorithm, kid if isinstance(kid, str) else None


def key_supports_algorithm(key: PublicKey, algorithm: str) -> bool:
    """Return whether an algorithm can use a key."""
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(algorithm) == key.curve.name
    return algorithm.startswith(("RS", "PS")) and _MIN_BITS <= key.key_size <= _MAX_BITS


def load_configured_key(settings: AuthSettings) -> FixedTokenKey:
    """Return the key from the settings.

    Raises:
        InvalidSettings: It cannot be read, or is not a suitable key.
    """
    pem, name = settings.jwt_public_key or "", "auth.jwt_public_key"
    if settings.jwt_public_key_file is not None:
        path, name = settings.jwt_public_key_file, "auth.jwt_public_key_file"
        try:
            pem = path.read_text("ascii", "replace")
        except OSError as error:
            raise InvalidSettings(f"{name}: cannot read {path}: {error.strerror}") from None
    if "PRIVATE KEY" in pem:
        raise InvalidSettings(f"{name} contains a private key; give the public key")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSettings(
            f"{name} is not a public key in PEM format (-----BEGIN PUBLIC KEY-----)"
        ) from None
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        raise InvalidSettings(f"{name} is neither an RSA nor an EC key")
    if not any(key_supports_algorithm(key, algorithm) for algorithm in settings.algorithms):
        raise InvalidSettings(
            f"{name} cannot be used with any of auth.algorithms ({', '.join(settings.algorithms)});"
            f" an RSA key needs {_MIN_BITS} bits or more"
        )
    return FixedTokenKey(key)


def _reason_for_caller(error: jwt.PyJWTError) -> Reason:
    return "expired" if isinstance(error, jwt.ExpiredSignatureError) else "invalid"


def _reason_for_log(error: jwt.PyJWTError) -> str:
    """Return the reason for the log, without the token's content."""
    name = type(error).__name__
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"{name}: {error.claim}"
    return name


def _quote_for_log(text: object) -> str:
    """Return a string from the caller, quoted and truncated, for the log."""
    return repr(text)[:80]

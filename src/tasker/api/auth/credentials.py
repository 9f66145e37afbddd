"""Reads the credential of a request."""

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tasker.api.headers import first_header

Reason = Literal["missing", "malformed", "invalid", "expired", "revoked"]

MESSAGES: Mapping[Reason, str] = {
    "missing": (
        "Send an API key or a token as `Authorization: Bearer ...`, or an API key as"
        " `X-API-Key: ...`."
    ),
    "malformed": (
        "The credential is malformed: send `Authorization: Bearer ...` or `X-API-Key: ...`."
    ),
    "invalid": "The credential is not valid on this server.",
    "expired": "The credential has expired.",
    "revoked": "The credential was revoked.",
}
"""Messages to callers; they never say which part of a credential was wrong."""

KEY_PREFIX = "tsk_"
_LONGEST_NAME = 255
NOT_A_NAME = (
    f"not a valid name (1 to {_LONGEST_NAME} printable characters without leading or trailing"
    " spaces)"
)
_MOST = 16 << 10  #: characters of a credential
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)


class NotAuthenticated(Exception):
    """The request has no valid credential.

    Args:
        reason: The reason, as shown to the caller.
        why: Further details for the log; must not contain secrets.
    """

    def __init__(self, reason: Reason, why: str = "") -> None:
        super().__init__(why or reason)
        self.reason, self.why = reason, why


class TokenKeysUnavailable(Exception):
    """The keys that verify tokens are temporarily unavailable."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The text of a credential, hidden in its `repr`."""

    text: str = field(repr=False)
    is_key: bool
    """Whether the credential must be an API key."""


def credential_of(scope: MutableMapping[str, Any]) -> Credential:
    """Return the credential of a request; `Authorization` takes precedence over `X-API-Key`.

    Raises:
        NotAuthenticated: It is absent or malformed.
    """
    bearer = _single_header(scope, "authorization")
    if bearer is not None:
        match = _BEARER.fullmatch(bearer)
        if match is None:
            raise NotAuthenticated(
                "malformed", "Authorization must be `Bearer` followed by a token"
            )
        return Credential(match[1], match[1].startswith(KEY_PREFIX))
    key = _single_header(scope, "x-api-key")
    if key is None:
        raise NotAuthenticated("missing")
    if not _KEY.fullmatch(key):
        raise NotAuthenticated("malformed", "X-API-Key does not contain an API key")
    return Credential(key, True)


def sends_credential(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request has a header that carries a credential."""
    return any(first_header(scope, name) is not None for name in ("authorization", "x-api-key"))


def is_valid_principal_name(text: str) -> bool:
    """Return whether a string is valid as the name of a principal or a team."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()


def _single_header(scope: MutableMapping[str, Any], name: str) -> str | None:
    """Return a header, or None if it is absent. Raises NotAuthenticated if it is repeated."""
    if first_header(scope, name) is None:
        return None
    wanted = name.encode()
    values = [value for key, value in scope["headers"] if key == wanted]
    if len(values) > 1:
        raise NotAuthenticated("malformed", f"{name} was sent {len(values)} times")
    if len(values[0]) > _MOST:
        raise NotAuthenticated("malformed", f"{name} has {len(values[0]):,} characters")
    text: str = values[0].decode("latin-1")
    return text

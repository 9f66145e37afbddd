"""What a request brings to prove who makes it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Reason = Literal["missing", "malformed", "invalid", "expired", "revoked"]

TOLD: Mapping[Reason, str] = {
    "missing": "Send an API key or a token: `Authorization: Bearer ...`, or `X-API-Key: ...`.",
    "malformed": "A credential is written as `Authorization: Bearer ...` or `X-API-Key: ...`.",
    "invalid": "The credential is not valid here.",
    "expired": "The credential has expired.",
    "revoked": "The credential was revoked.",
}
"""What callers are told; never which part of a credential was wrong."""

_MOST = 16 << 10  #: characters of a credential
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)


class NotAuthenticated(Exception):
    """A request does not prove who makes it.

    Args:
        reason: What the caller is told.
        why: What the log is told beside that. No secret.
    """

    def __init__(self, reason: Reason, why: str = "") -> None:
        super().__init__(why or reason)
        self.reason, self.why = reason, why


@dataclass(frozen=True, slots=True)
class Credential:
    """A text that is to prove who makes a request. It shows itself nowhere."""

    text: str = field(repr=False)
    is_key: bool
    """Whether it must be an API key."""


def credential_of(scope: Mapping[str, Any]) -> Credential:
    """Tell the credential of a request; `Authorization` counts before `X-API-Key`.

    Raises:
        NotAuthenticated: There is none, or not a readable one.
    """
    bearer = _only(scope, "authorization")
    if bearer is not None:
        found = _BEARER.fullmatch(bearer)
        if found is None:
            raise NotAuthenticated("malformed", "Authorization is not Bearer and a token")
        return Credential(found[1], found[1].startswith("tsk_"))
    key = _only(scope, "x-api-key")
    if key is None:
        raise NotAuthenticated("missing")
    if not _KEY.fullmatch(key):
        raise NotAuthenticated("malformed", "X-API-Key is not a key")
    return Credential(key, True)


def _only(scope: Mapping[str, Any], name: str) -> str | None:
    """Tell the one header of a name."""
    wanted = name.encode()
    found = [value for key, value in scope["headers"] if key == wanted]
    if len(found) > 1:
        raise NotAuthenticated("malformed", f"{name} was sent {len(found)} times")
    if not found:
        return None
    if len(found[0]) > _MOST:
        raise NotAuthenticated("malformed", f"{name} has {len(found[0]):,} characters")
    text: str = found[0].decode("latin-1")
    return text

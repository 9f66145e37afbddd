"""Provider hooks: verified requests of other systems that are turned into signals or broadcasts."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasker.errors import InvalidExpression, InvalidInput
from tasker.limits import ARRIVAL_NAME
from tasker.template.expressions import (
    Path,
    check_path_names,
    compile_expression,
    compile_path,
    value_to_text,
)

TOLERANCE = 300.0  #: seconds by which a signed time may differ from the server's
DEFAULT_HEADER = "x-signature-256"
NAMES = ("body", "headers")  #: names that paths and conditions may start with
LONGEST_SECRET = 500


class SignatureScheme(StrEnum):
    """How the requests of a provider are signed."""

    HMAC = "hmac"  #: HMAC-SHA256 of the body in a header, in hexadecimal or base64
    GITHUB = "github"  #: `X-Hub-Signature-256`
    STRIPE = "stripe"  #: `Stripe-Signature`, with the time


class HookMessageKind(StrEnum):
    """The message into which a request is turned."""

    SIGNAL = "signal"  #: to the task whose id `key` points to
    BROADCAST = "broadcast"  #: with the key that `key` points to


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHook:
    """A declared provider hook, without its secret."""

    namespace: str
    name: str
    scheme: SignatureScheme
    header: str = DEFAULT_HEADER
    """Lower-case name of the header that contains the signature; used only with the scheme `hmac`.
    """

    target: HookMessageKind
    sends: str
    """Name of the signal or broadcast that is sent."""

    key: str
    """Path to the id of the task or to the key of the broadcast, such as `body.data.order_id`."""

    id: str | None = None
    """Path to the id of the request, such as `body.id`. A request with the same id as an earlier
    one changes nothing."""

    when: str | None = None
    """Condition over `body` and `headers`; if it is false, the request is ignored. None means that
    no request is ignored."""

    updated_by: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookWithSecret:
    """A hook and its secret."""

    hook: ProviderHook
    secret: str = field(repr=False)


def check_hook_and_secret(hook: ProviderHook, secret: str) -> None:
    """Raise InvalidInput unless a hook can be stored."""
    if not 16 <= len(secret) <= LONGEST_SECRET or not secret.isprintable():
        raise InvalidInput(
            f"a secret must have 16 to {LONGEST_SECRET} printable characters", path="$.secret"
        )
    if not 0 < len(hook.sends) <= ARRIVAL_NAME or not hook.sends.isprintable():
        raise InvalidInput(
            f"a name must have 1 to {ARRIVAL_NAME} printable characters", path="$.sends"
        )
    for field_, text in (("key", hook.key), ("id", hook.id)):
        if text is not None:
            _check_path_names(field_, text, (compile_path(text),))
    if hook.when is not None:
        _check_path_names("when", hook.when, compile_expression(hook.when).paths)


def _check_path_names(field_: str, text: str, paths: tuple[Path, ...]) -> None:
    try:
        check_path_names(text, paths, NAMES)
    except InvalidExpression as error:
        raise InvalidInput(str(error), path=f"$.{field_}") from None


def has_valid_signature(
    given: HookWithSecret | None, headers: Mapping[str, str], body: bytes, now: float
) -> bool:
    """Return whether a request has a valid signature; the comparison takes constant time.

    Args:
        given: The hook and its secret. None: no such hook, which takes as long to reject.
        headers: The request's headers, with their names in lower case.
        body: Its body.
        now: Seconds since 1970.
    """
    if given is None:
        _hmac_hex(b"", body)
        return False
    secret = given.secret.encode()
    match given.hook.scheme:
        case SignatureScheme.STRIPE:
            return _has_valid_stripe_signature(
                secret, headers.get("stripe-signature", ""), body, now
            )
        case SignatureScheme.GITHUB:
            signature = headers.get("x-hub-signature-256", "")
            return _signatures_equal(signature.removeprefix("sha256="), _hmac_hex(secret, body))
    signature = headers.get(given.hook.header, "").removeprefix("sha256=")
    digest = _hmac_hex(secret, body)
    return _signatures_equal(signature, digest) or _signatures_equal(
        _base64_to_hex(signature), digest
    )


def _has_valid_stripe_signature(secret: bytes, header: str, body: bytes, now: float) -> bool:
    parts = [part.partition("=") for part in header.split(",")[:20]]
    times = [value for name, _, value in parts if name.strip() == "t"]
    digest = _hmac_hex(secret, f"{times[0] if times else ''}.".encode() + body)
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > 15:
        return False
    if abs(now - int(times[0])) > TOLERANCE:
        return False
    given = [value for name, _, value in parts if name.strip() == "v1"]
    matches = [_signatures_equal(signature, digest) for signature in given]  # compares all
    return any(matches)


def _hmac_hex(secret: bytes, content: bytes) -> str:
    return hmac.new(secret, content, hashlib.sha256).hexdigest()


def _signatures_equal(signature: str, digest: str) -> bool:
    return hmac.compare_digest(signature.strip().lower().encode(), digest.encode())


def _base64_to_hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""


def text_at_path(path: str, names: Mapping[str, Any]) -> str | None:
    """Return the text at a path of a request, or None if there is no usable value."""
    value = compile_path(path).evaluate(names)
    if value is None or isinstance(value, bool | Mapping | list | tuple):
        return None
    text = value_to_text(value)
    return text if 0 < len(text) <= ARRIVAL_NAME else None


def meets_hook_condition(hook: ProviderHook, names: Mapping[str, Any]) -> bool:
    """Return whether a request meets the condition of its hook. Raises InvalidExpression."""
    return hook.when is None or compile_expression(hook.when).is_true(names)

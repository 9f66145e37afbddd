"""JSON Web Tokens as credentials: which are believed, and what they say."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.auth.scene import (
    AUDIENCE,
    ISSUER,
    begin,
    calling,
    claims,
    ec_key,
    public_pem,
    rsa_key,
    token,
    with_tokens,
)

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.tokens import TokenVerifier, load_configured_key
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


def part(value: Any) -> str:
    """Write one part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value, default=_stamp).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _stamp(value: Any) -> int:
    return int(value.timestamp())


def forged(header: Any, signature: bytes = b"", **changed: Any) -> str:
    """Write a token by hand."""
    return f"{part(header)}.{part(claims(**changed))}.{part(signature)}"


def signed_with_public_key() -> str:
    """Sign with HMAC, and the public key for a secret: servers that mix kinds up take it."""
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    secret = public_pem(rsa_key()).encode()
    return f"{body}.{part(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def resigned(**changed: Any) -> str:
    """Change what a valid token says, and leave its signature."""
    head, _, signature = token().split(".")
    return f"{head}.{part(claims(**changed))}.{signature}"


async def reason_for(store: Store, text: str, **changed: Any) -> str | None:
    """Return why a token is refused; None where it is not."""
    async with calling(store, text, auth=with_tokens(**changed)) as caller:
        answer = await caller.get("/v1/tasks")
    if answer.status_code == 200:
        return None
    assert 401 == answer.status_code
    return str(answer.json()["reason"])


# --------------------------------------------------------------------- what is believed


@pytest.mark.parametrize(
    ("secret", "algorithm"),
    [(rsa_key, "RS256"), (rsa_key, "RS512"), (rsa_key, "PS256"), (ec_key, "ES256")],
)
async def test_a_token_of_the_identity_provider_is_accepted(
    store: Store, secret: Callable[[], Any], algorithm: str
) -> None:
    """
    Signed with its key, in a way that is allowed.
    """
    text = token(signed_with=secret(), algorithm=algorithm)
    pem = public_pem(secret())

    assert None is await reason_for(store, text, jwt_public_key=pem, algorithms=(algorithm,))


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
async def test_an_algorithm_that_is_not_allowed_is_refused(store: Store, algorithm: str) -> None:
    """
    Though the key is the right one.
    """
    assert "invalid" == await reason_for(store, token(algorithm=algorithm), algorithms=("RS384",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(signed_with=rsa_key(1)),
        lambda: token(signed_with=ec_key(), algorithm="ES256"),
        lambda: forged({"alg": "none", "typ": "JWT"}),
        lambda: forged({"alg": "NONE"}),
        lambda: forged({"typ": "JWT"}),
        lambda: forged({"alg": ["RS256"]}),
        lambda: forged({"alg": "RS256"}),
        lambda: forged({"alg": "RS256"}, b"\0" * 256),
        lambda: forged(["RS256"]),
        lambda: forged(b"\xff\xfe"),
        lambda: forged(b"[" * 8000),
        lambda: forged(b'{"alg": ' + b"9" * 8000 + b"}"),
        lambda: forged({"alg": "RS256", "kid": "k" * 8000}),
        lambda: forged({"alg": "RS256", "jku": "https://evil.test/", "jwk": {"kty": "oct"}}),
        signed_with_public_key,
        lambda: jwt.encode(claims(), "x" * 64, algorithm="HS256"),
        lambda: resigned(roles=["admin"], namespaces=["*"]),
        lambda: token()[:-2],
        lambda: token() + "AA",
        lambda: token().rsplit(".", 1)[0],
        lambda: token().rsplit(".", 1)[0] + ".",
        lambda: token() + "." + token(),
        lambda: "a.b.c",
        lambda: "...",
        lambda: "x" * 5000,
        lambda: token(headers={"crit": ["exp"]}),
        lambda: token(headers={"crit": ["b64"], "b64": False}),
    ],
)
async def test_a_forged_token_is_refused(store: Store, make: Callable[[], str]) -> None:
    """Foreign or missing signature, shared secret, changed content, not a token."""
    assert "invalid" == await reason_for(store, make(), algorithms=("RS256", "ES256"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": timedelta(seconds=-20)}, None),
        ({"exp": timedelta(seconds=-40)}, "expired"),
        ({"exp": None}, "invalid"),
        ({"exp": "soon"}, "invalid"),
        ({"exp": 1e400}, "invalid"),
        ({"exp": []}, "invalid"),
        ({"exp": 10**400}, None),
        ({"nbf": timedelta(seconds=20)}, None),
        ({"nbf": timedelta(seconds=40)}, "invalid"),
        ({"nbf": "now"}, "invalid"),
        ({"iat": timedelta(seconds=40)}, "invalid"),
        ({"iat": None}, None),
        ({"iss": "https://elsewhere.test/"}, "invalid"),
        ({"iss": ISSUER.rstrip("/")}, "invalid"),
        ({"iss": [ISSUER]}, "invalid"),
        ({"iss": None}, "invalid"),
        ({"aud": "another"}, "invalid"),
        ({"aud": ["another", AUDIENCE]}, None),
        ({"aud": ["another"]}, "invalid"),
        ({"aud": []}, "invalid"),
        ({"aud": {"tasker": 1}}, "invalid"),
        ({"aud": None}, "invalid"),
        ({"sub": None}, "invalid"),
        ({"sub": ""}, "invalid"),
        ({"sub": 7}, "invalid"),
        ({"sub": "two\nlines"}, "invalid"),
        ({"sub": "nul\0"}, "invalid"),
        ({"sub": "x" * 256}, "invalid"),
        ({"sub": "José"}, None),
        ({"roles": {"admin": True}}, "invalid"),
        ({"roles": [1]}, "invalid"),
        ({"roles": ["viewer"] * 1001}, "invalid"),
        ({"namespaces": 7}, "invalid"),
        ({"team": ["payments"]}, "invalid"),
        ({"team": ""}, "invalid"),
        ({"scope": 1}, "invalid"),
    ],
)
async def test_issuer_audience_and_times_of_a_token_are_checked(
    store: Store, changed: dict[str, Any], reason: str | None
) -> None:
    """
    Valid issuer and audience, between `nbf` and `exp` with 30 s leeway, claims of the right types.
    """
    head, _, _ = token().split(".")
    now = datetime.now(UTC)
    sent = claims(
        **{
            key: now + value if isinstance(value, timedelta) else value
            for key, value in changed.items()
        }
    )
    body = f"{head}.{part(sent)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(body.encode(), rsa_key())

    assert reason == await reason_for(store, f"{body}.{part(signature)}")


async def test_the_leeway_can_be_set(store: Store) -> None:
    text = token(exp=datetime.now(UTC) - timedelta(seconds=1))

    assert "expired" == await reason_for(store, text, leeway=timedelta(0))
    assert None is await reason_for(store, text, leeway=timedelta(minutes=1))


async def test_a_single_key_verifies_tokens_with_any_key_id(store: Store) -> None:
    for headers in ({}, {"kid": "what it is called"}, {"kid": "../../etc/passwd"}):
        assert None is await reason_for(store, token(headers=headers))


async def test_tokens_are_refused_without_a_configured_key(store: Store) -> None:
    """Only API keys are accepted then."""
    async with calling(store, token()) as caller:
        assert 401 == (await caller.get("/v1/tasks")).status_code


async def test_a_cached_token_still_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Repeated tokens within seconds are not verified again."""
    auth = with_tokens(leeway=timedelta(0))
    decoded: list[str] = []
    decode = jwt.decode

    def spy(text: str, *args: Any, **options: Any) -> Any:
        decoded.append(text)
        return decode(text, *args, **options)

    monkeypatch.setattr(jwt, "decode", spy)
    tokens, text, other = (
        TokenVerifier(load_configured_key(auth), auth),
        token(),
        token(sub="priya"),
    )
    for each in (text, text, other, text):
        await tokens.verify_token(each)
    assert [text, other] == decoded

    now = time.time()
    monkeypatch.setattr("tasker.api.auth.tokens.time.time", lambda: now + 61)
    with pytest.raises(NotAuthenticated) as refusal:
        await tokens.verify_token(text)
    assert "expired" == refusal.value.reason


@settings(max_examples=200)
@given(st.text(alphabet=st.characters(max_codepoint=127, categories=("L", "N")), max_size=60))
async def test_malformed_tokens_cause_no_error(text: str) -> None:
    """Any text may stand between the dots."""
    auth = with_tokens()
    tokens = TokenVerifier(load_configured_key(auth), auth)
    head, body, signature = token().split(".")
    for written in (text, f"{text}.{body}.{signature}", f"{head}.{text}.{signature}"):
        with pytest.raises(NotAuthenticated):
            await tokens.verify_token(written)


# ------------------------------------------------------------------------- what it does


async def test_a_token_acts_under_its_subject(store: Store) -> None:
    """In created tasks and in the audit."""
    task = await begin(store, "payments")
    async with calling(store, token(), auth=with_tokens()) as caller:
        made = await caller.post(
            "/v1/tasks", json={"name": "payments.refund", "created_by": "somebody else"}
        )
        await caller.patch(
            f"/compat/core/v1/tasks/{task}/workflow_steps/check",
            json={"action_type": "resolve_manually", "resolved_by": "somebody else"},
        )
        await caller.post(f"/v1/tasks/{task}/cancel", json={"reason": "a test"})
        audit = (await caller.get(f"/v1/tasks/{task}/audit")).json()

    assert "jake" == made.json()["created_by"]
    assert ["jake", "jake"] == [entry["actor"] for entry in audit]

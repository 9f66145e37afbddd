"""Provider hooks: signed requests of other systems become signals and broadcasts."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.api.auth.scene import calling

from tasker import hooks
from tasker.errors import InvalidInput, NotFound
from tasker.hooks import HookMessageKind, HookWithSecret, ProviderHook, SignatureScheme
from tasker.settings import AuthSettings
from tasker.store.open import open_store
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    one_step_template,
    register_and_create_task,
)
from tasker.testing.store_suite.signals import create_waiting_task, make_awaited_broadcast
from tasker.waits import decode_arrival

pytestmark = pytest.mark.anyio
SECRET = "whsec_0123456789abcdef"
NOTE = AuditNote(actor="root")
PAID = {"id": "evt_1", "type": "charge.succeeded", "data": {"object": {"order": "o-1"}}}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as opened:
        yield opened


def hook(scheme: SignatureScheme = SignatureScheme.STRIPE, **fields: Any) -> ProviderHook:
    given = {
        "target": HookMessageKind.BROADCAST,
        "sends": "paid",
        "key": "body.data.object.order",
        "id": "body.id",
        **fields,
    }
    return ProviderHook(namespace="suite", name="pay", scheme=scheme, **given)


def signature(content: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).digest()


def stripe(content: bytes, at: float = 0.0, secret: str = SECRET) -> dict[str, str]:
    stamp = int(time.time() + at)
    signed = signature(f"{stamp}.".encode() + content, secret).hex()
    return {"Stripe-Signature": f"t={stamp},v1={'0' * 64},v1={signed},v0=x"}


async def send(store: Store, content: bytes, headers: dict[str, str], name: str = "pay") -> Any:
    """Send a request of a provider to a server that requires credentials elsewhere."""
    async with calling(store) as caller:
        answer: httpx.Response = await caller.post(
            f"/v1/hooks/suite/{name}", content=content, headers=headers
        )
    body = answer.json()
    return body.get("delivered", body.get("code"))


async def test_a_verified_request_becomes_a_broadcast(store: Store) -> None:
    """Once for each id; the payload is the body."""
    await store.put_hook(hook(), SECRET, NOTE)
    await create_waiting_task(store, make_awaited_broadcast("paid", "o-1"))
    content = json.dumps(PAID).encode()

    answers = [await send(store, content, stripe(content)) for _ in range(2)]

    assert [True, True] == answers
    worker = await ManualWorker.register(store)
    (call,) = await store.load_durable_calls(await worker.claim_one())
    assert call.value is not None
    arrival = decode_arrival(call.value)
    assert ("paid", "o-1", PAID, "hook suite.pay") == (
        arrival.name,
        arrival.key,
        arrival.payload,
        arrival.sent_by,
    )


async def test_a_hook_signals_only_tasks_of_its_namespace(store: Store) -> None:
    await store.put_hook(hook(SignatureScheme.GITHUB, target=HookMessageKind.SIGNAL), SECRET, NOTE)
    task_id = await create_waiting_task(store, "paid")

    async def ask(order: str) -> Any:
        content = json.dumps({"data": {"object": {"order": order}}}).encode()
        headers = {"X-Hub-Signature-256": f"sha256={signature(content).hex()}"}
        return await send(store, content, headers)

    assert await ask(task_id) is True
    await store.cancel_task(task_id, NOTE)
    elsewhere = await register_and_create_task(
        store, replace(one_step_template(), namespace="other")
    )
    assert await ask(task_id) is False
    assert await ask("no-task") is False
    assert await ask(elsewhere) is False


async def test_invalid_requests_are_refused_alike(store: Store) -> None:
    """Unknown hooks, and signatures that are wrong, late or missing."""
    await store.put_hook(hook(), SECRET, NOTE)
    await store.put_hook(hook(SignatureScheme.HMAC, header="x-sig"), SECRET, NOTE)
    content = json.dumps(PAID).encode()
    hexadecimal = signature(content).hex()
    right = {"X-Sig": hexadecimal}

    async def all_of(cases: list[dict[str, str]]) -> list[Any]:
        return [await send(store, content, headers) for headers in cases]

    base = base64.b64encode(signature(content)).decode()
    assert [True] * 3 == await all_of([right, {"X-Sig": f"sha256={hexadecimal}"}, {"X-Sig": base}])
    assert ["not_found"] * 6 == await all_of(
        [
            {},
            {"X-Sig": ""},
            {"X-Sig": "ä".encode().hex()},
            {"X-Sig": hexadecimal[:-1] + ("0" if hexadecimal[-1] != "0" else "1")},
            {"X-Signature-256": hexadecimal},
            {"X-Sig": signature(content, SECRET + "x").hex()},
        ]
    )
    assert "not_found" == await send(store, content, right, name="unknown")
    await store.put_hook(hook(), SECRET, NOTE)
    assert [
        True,
        True,
        "not_found",
        "not_found",
        "not_found",
        "not_found",
    ] == await all_of(
        [
            stripe(content),
            stripe(content, at=-290),
            stripe(content, at=-310),
            stripe(content, at=310),
            stripe(content, secret=SECRET + "x"),
            {"Stripe-Signature": "t=x,v1=y"},
        ]
    )


ORDER = b'{"type": "paid", "data": {"object": {"order": "x"}}}'


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (b"{", {}, "invalid_input"),
        (b"\xff", {}, "invalid_input"),
        (b"x" * (1 << 20) + b"x", {}, "too_large"),
        (b"{}", {}, False),
        (b"[]", {}, False),
        (b'{"data": {"object": {"order": {}}}}', {}, False),
        (b'{"data": {"object": {"order": 17}}}', {}, True),
        (ORDER, {"when": 'body.type == "refunded"'}, False),
        (ORDER, {"when": 'body.type == "paid"'}, True),
        (ORDER, {"when": "body.data > 1"}, False),
        (b"{}", {"key": "headers.x-delivery"}, True),
    ],
)
async def test_bodies_in_the_expected_format_are_delivered(
    store: Store, content: bytes, fields: dict[str, Any], expected: Any
) -> None:
    await store.put_hook(hook(**fields), SECRET, NOTE)
    headers = {**stripe(content), "X-Delivery": "d-1", "Content-Type": "text/plain"}

    assert expected == await send(store, content, headers)


@pytest.mark.parametrize(
    ("path", "secret", "fields"),
    [
        ("$.secret", "short", {}),
        ("$.secret", "x" * 501, {}),
        ("$.sends", SECRET, {"sends": ""}),
        ("$.key", SECRET, {"key": "input.x"}),
        ("$", SECRET, {"key": "body.x == 1"}),
        ("$.id", SECRET, {"id": "x"}),
        ("$.when", SECRET, {"when": "input.x"}),
    ],
)
async def test_an_invalid_hook_is_refused(
    store: Store, path: str, secret: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await store.put_hook(hook(**fields), secret, NOTE)

    assert path == refusal.value.path
    assert [] == await store.list_hooks()


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": "1", "data": {"object": {"order": "o-1"}}, "x": NaN}',
        b'{"id": "1", "data": {"object": {"order": "o-1"}}, "x": Infinity}',
        b'{"id": "1", "data": {"object": {"order": "o-1"}}, "x": "a\\u0000b"}',
        b'{"id": "1", "data": {"object": {"order": "o-1"}}, "x": "\\ud800"}',
        b'{"id": "1", "data": {"object": {"order": "o-1"}}, "x": {"$tasker": 1}}',
    ],
)
async def test_a_body_that_cannot_be_stored_is_refused(store: Store, content: bytes) -> None:
    """Verified or not: the step that waits could not read it."""
    await store.put_hook(hook(SignatureScheme.HMAC), SECRET, NOTE)
    signed = {"X-Signature-256": signature(content).hex()}

    assert "invalid_input" == await send(store, content, signed)


async def test_large_numbers_are_keys_and_ids(store: Store) -> None:
    await store.put_hook(hook(SignatureScheme.HMAC), SECRET, NOTE)
    content = b'{"id": 1e300, "data": {"object": {"order": ' + b"9" * 200 + b"}}}"
    signed = {"X-Signature-256": signature(content).hex()}

    assert await send(store, content, signed) is True


@pytest.mark.parametrize("scheme", [None, *SignatureScheme])
def test_each_refusal_reads_the_whole_body(
    scheme: SignatureScheme | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the time of a refusal would show whether the hook exists."""
    digested: list[bytes] = []
    digest = hooks._hmac_hex

    def counted(secret: bytes, body: bytes) -> str:
        digested.append(body)
        return digest(secret, body)

    monkeypatch.setattr(hooks, "_hmac_hex", counted)
    given = None if scheme is None else HookWithSecret(hook=hook(scheme), secret=SECRET)

    for headers in ({}, {"stripe-signature": "t=1,v1=0", "x-signature-256": "0"}):
        digested.clear()
        assert not hooks.has_valid_signature(given, headers, b"a body", 0.0)
        assert [True] == [content.endswith(b"a body") for content in digested]


async def test_an_unknown_hook_takes_as_long_to_refuse(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[HookWithSecret | None] = []

    def is_signed(given: HookWithSecret | None, *_: Any) -> bool:
        asked.append(given)
        return False

    monkeypatch.setattr("tasker.api.routes.hooks.has_valid_signature", is_signed)

    assert "not_found" == await send(store, b"{}", {}, "unknown")
    assert [None] == asked


async def test_hooks_are_declared_listed_and_deleted(store: Store) -> None:
    """Their secret is never shown, not even in the audit."""
    async with calling(store, auth=AuthSettings(enabled=False)) as caller:
        body = {
            "scheme": "hmac",
            "secret": SECRET,
            "header": "X-Sig",
            "target": "signal",
            "sends": "paid",
            "key": "body.task",
            "reason": "new provider",
        }
        put = await caller.put("/v1/hooks/suite/pay", json=body)
        listed = await caller.get("/v1/hooks?namespace=suite")
        elsewhere = await caller.get("/v1/hooks?namespace=other")
        deleted = await caller.delete("/v1/hooks/suite/pay")
        again = await caller.delete("/v1/hooks/suite/pay")

    assert ("x-sig", "signal", "anonymous") == tuple(
        put.json()[name] for name in ("header", "target", "updated_by")
    )
    assert [put.json()] == listed.json()["hooks"]
    assert [] == elsewhere.json()["hooks"]
    assert (200, 404) == (deleted.status_code, again.status_code)
    audit = await store.list_team_audit(namespace="suite")
    assert ["delete_hook", "put_hook"] == [event.action for event in audit]
    assert SECRET not in put.text + listed.text + str(audit)
    with pytest.raises(NotFound):
        await store.delete_hook("suite", "pay", NOTE)


async def test_requests_are_limited_by_a_rate_per_address(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasker.api.rate_limits import CallerRateLimits

    monkeypatch.setattr("tasker.api.routes.hooks._limits", CallerRateLimits(0.001, 2))

    assert ["not_found", "not_found", "rate_limited"] == [
        await send(store, b"{}", {}) for _ in range(3)
    ]

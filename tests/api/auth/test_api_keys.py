"""API keys as credentials: which count, for how long, and what they stand for."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.api.auth.scene import ACT, calling, key

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.keyring import ApiKeyCache
from tasker.errors import StoreUnavailable
from tasker.model import TaskId
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import generate_key, parse_key
from tasker.teams.model import ApiKeyWithDigest
from tasker.teams.permissions import ROLES

pytestmark = pytest.mark.anyio

AT_ONCE = AuthSettings(enabled=True, cache=timedelta(0))


def prefix(text: str) -> str:
    parts = parse_key(text)
    assert parts is not None
    return parts.prefix


class Seconds:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "write",
    [
        lambda text: {"Authorization": f"Bearer {text}"},
        lambda text: {"Authorization": f"bearer  {text} "},
        lambda text: {"X-API-Key": text},
        lambda text: {"X-API-Key": "not looked at", "Authorization": f"Bearer {text}"},
    ],
)
async def test_a_key_is_sent_in_either_header(
    store: Store, write: Callable[[str], dict[str, str]]
) -> None:
    """
    `Authorization` counts before `X-API-Key`.
    """
    text = await key(store, "viewer")
    async with calling(store) as caller:
        assert 200 == (await caller.get("/v1/tasks", headers=write(text))).status_code


async def test_a_key_acts_under_its_name(store: Store) -> None:
    """A `created_by` in the body has no effect."""
    text = await key(store, "operator", name="ci of payments")
    async with calling(store, text) as caller:
        made = await caller.post(
            "/v1/tasks", json={"name": "payments.refund", "created_by": "somebody else"}
        )
        task = made.json()["id"]
        await caller.post(f"/v1/tasks/{task}/cancel", json={"reason": "a test"})
        audit = (await caller.get(f"/v1/tasks/{task}/audit")).json()

    assert "ci of payments" == made.json()["created_by"]
    assert ["ci of payments"] == [entry["actor"] for entry in audit]


async def test_a_key_named_anonymous_is_an_ordinary_key(store: Store) -> None:
    """A key named `anonymous` cannot claim another name, unlike unauthenticated callers."""
    text = await key(store, "operator", name="anonymous")
    async with calling(store, text) as caller:
        made = await caller.post(
            "/v1/tasks", json={"name": "payments.refund", "created_by": "somebody else"}
        )

    assert "anonymous" == made.json()["created_by"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), "invalid"),
        (lambda text: text[:-1], "invalid"),
        (lambda text: text.upper(), "invalid"),
        (lambda text: generate_key().text, "invalid"),
        (lambda text: "tsk_", "invalid"),
        (lambda text: text.replace("_", "-"), "invalid"),
        (lambda text: f"{text} {text}", "malformed"),
        (lambda text: "schlüssel", "malformed"),
        (lambda text: "", "malformed"),
        (lambda text: "x" * 20_000, "malformed"),
    ],
)
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_an_invalid_key_is_refused(
    store: Store, spoil: Callable[[str], str], reason: str, header: str
) -> None:
    """The response is the same for a wrong secret, a foreign prefix and malformed text."""
    wrong = spoil(await key(store, "admin", namespaces=["*"]))
    value = f"Bearer {wrong}" if header == "Authorization" else wrong
    async with calling(store) as caller:
        headers = [(header.encode(), value.encode("latin-1"))]
        answer = await caller.get("/v1/tasks", headers=headers)

    assert (401, reason) == (answer.status_code, answer.json()["reason"])
    assert (
        f'Bearer realm="tasker", error="invalid_token", error_description="{reason}"'
        == answer.headers["WWW-Authenticate"]
    )


@pytest.mark.parametrize("value", ["Basic amFrZTpzZWNyZXQ=", "Bearer", "Token abc", "tsk_1"])
async def test_only_the_scheme_bearer_is_accepted(store: Store, value: str) -> None:
    """A header of another kind is malformed, and `X-API-Key` is not used as a fallback."""
    text = await key(store, "viewer")
    async with calling(store) as caller:
        answer = await caller.get("/v1/tasks", headers={"Authorization": value, "X-API-Key": text})

    assert (401, "malformed") == (answer.status_code, answer.json()["reason"])


async def test_a_duplicate_header_is_refused(store: Store) -> None:
    """
    A proxy might have looked at the other one.
    """
    texts = [await key(store, "viewer"), await key(store, "viewer")]
    async with calling(store) as caller:
        for name in ("Authorization", "X-API-Key"):
            headers = [(name, f"Bearer {text}") for text in texts]
            answer = await caller.get("/v1/tasks", headers=headers)
            assert (401, "malformed") == (answer.status_code, answer.json()["reason"])


async def test_an_expired_key_is_refused(store: Store) -> None:
    """Only the holder of its secret learns that it expired."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    text = await key(store, "viewer", expires_at=past)
    async with calling(store, text) as caller:
        ended = await caller.get("/v1/tasks")
        guessed = await caller.get(
            "/v1/tasks", headers={"Authorization": f"Bearer {text[:-4]}0000"}
        )

    assert (401, "expired") == (ended.status_code, ended.json()["reason"])
    assert (401, "invalid") == (guessed.status_code, guessed.json()["reason"])


async def test_a_revoked_key_is_refused(store: Store) -> None:
    text = await key(store, "viewer")
    async with calling(store, text, auth=AT_ONCE) as caller:
        before = await caller.get("/v1/tasks")
        await store.revoke_api_key(prefix(text), ACT)
        after = await caller.get("/v1/tasks")

    assert (200, 401) == (before.status_code, after.status_code)
    assert "revoked" == after.json()["reason"]


async def test_a_revocation_takes_effect_once_the_cached_key_expires(
    store: Store,
) -> None:
    """Until then the store is not queried."""
    clock, text = Seconds(), await key(store, "viewer")
    ring = ApiKeyCache(store, ROLES, seconds=5, clock=clock)
    assert "a key" == (await ring.authenticate_key(text)).name

    await store.revoke_api_key(prefix(text), ACT)
    clock.now += 4.9
    assert "a key" == (await ring.authenticate_key(text)).name
    clock.now += 0.2
    with pytest.raises(NotAuthenticated) as refusal:
        await ring.authenticate_key(text)

    assert "revoked" == refusal.value.reason


async def test_concurrent_requests_share_one_lookup(store: Store) -> None:
    """The use of the key is recorded once."""
    import asyncio

    text, calls = await key(store, "viewer"), []

    class Counting:
        async def find_api_key(self, prefix: str) -> object:
            calls.append("find")
            return await store.find_api_key(prefix)

        async def touch_api_key(self, prefix: str) -> None:
            calls.append("touch")
            await store.touch_api_key(prefix)

    ring = ApiKeyCache(Counting(), ROLES, seconds=5)  # type: ignore[arg-type]
    await asyncio.gather(*(ring.authenticate_key(text) for _ in range(100)))

    assert ["find", "touch"] == calls
    assert (await store.list_api_keys())[0].last_used_at is not None


async def test_unknown_keys_do_not_accumulate_in_the_cache(store: Store) -> None:
    """Unknown keys are cached in bounded memory."""
    ring = ApiKeyCache(store, ROLES, seconds=5)
    for _ in range(1500):
        with pytest.raises(NotAuthenticated):
            await ring.authenticate_key(generate_key().text)

    assert 1024 == len(ring._known._entries)


class Down:
    """A store that cannot be reached."""

    async def find_api_key(self, prefix: str) -> object:
        raise StoreUnavailable("the database at 10.0.0.1 is down")


async def test_a_store_outage_is_not_cached_as_a_refusal(store: Store) -> None:
    """
    The failure is reported, not cached.
    """
    text = await key(store, "viewer")
    ring = ApiKeyCache(Down(), ROLES, seconds=5)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await ring.authenticate_key(text)

    assert {} == ring._known._entries


async def test_a_key_is_accepted_if_its_use_cannot_be_recorded(store: Store) -> None:
    """
    A note is a courtesy.
    """

    class ReadOnly:
        find_api_key = store.find_api_key

        async def touch_api_key(self, prefix: str) -> None:
            raise StoreUnavailable("read only")

    ring = ApiKeyCache(ReadOnly(), ROLES, seconds=5)  # type: ignore[arg-type]

    assert "a key" == (await ring.authenticate_key(await key(store, "viewer"))).name


async def test_secrets_are_compared_in_constant_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether the secret is right, wrong, or of a key that there is not.
    """
    compared = []
    compare = hmac.compare_digest

    def spy(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    text = await key(store, "viewer")
    monkeypatch.setattr("tasker.teams.api_keys.hmac.compare_digest", spy)
    async with calling(store) as caller:
        for sent in (text, text[:-4] + "0000", generate_key().text):
            await caller.get("/v1/tasks", headers={"X-API-Key": sent})

    assert [(64, 64)] * 3 == compared


async def test_keys_can_be_switched_off(store: Store) -> None:
    """Tokens are then the only credentials."""
    from tests.api.auth.scene import token, with_tokens

    auth = with_tokens(api_keys=False)
    for credential, status in ((await key(store, "viewer"), 401), (token(), 200)):
        async with calling(store, credential, auth=auth) as caller:
            assert status == (await caller.get("/v1/tasks")).status_code


async def test_unknown_scopes_and_roles_grant_nothing(store: Store) -> None:
    """Unknown scopes and roles grant nothing and remove nothing."""
    text = await key(store, "viewer")

    class Later:
        touch_api_key = store.touch_api_key

        async def find_api_key(self, prefix: str) -> ApiKeyWithDigest:
            stored = await store.find_api_key(prefix)
            assert stored is not None
            scopes, roles = ("tasks:launch", "moon:*"), ("viewer", "astronaut")
            return stored._replace(key=replace(stored.key, scopes=scopes, roles=roles))

    principal = await ApiKeyCache(Later(), ROLES, seconds=5).authenticate_key(text)  # type: ignore[arg-type]

    assert ROLES["viewer"] == principal.permissions


async def test_a_key_without_namespaces_sees_nothing(store: Store) -> None:
    """
    Though it has a role.
    """
    text = await key(store, "operator", namespaces=[])
    async with calling(store, text) as caller:
        listed = await caller.get("/v1/namespaces")
        made = await caller.post("/v1/tasks", json={"name": "payments.refund"})

    assert [] == listed.json()["namespaces"]
    assert (403, "payments") == (made.status_code, made.json()["namespace"])


@pytest.mark.parametrize("bulk", [False, True])
async def test_replacing_a_task_needs_the_permission_to_cancel(store: Store, bulk: bool) -> None:
    """
    A key that may only create tasks cannot end one.
    """
    new = {"name": "payments.refund", "context": {}, "idempotency_key": "order-9"}
    again = {**new, "if_exists": "replace"}
    path, body = ("/v1/tasks/bulk", {"tasks": [again]}) if bulk else ("/v1/tasks", again)
    creator = await key(store, permissions=["tasks:create", "tasks:read"])
    operator = await key(store, "operator", name="an operator")
    async with calling(store, creator) as caller:
        first = (await caller.post("/v1/tasks", json=new)).json()["id"]
        refused = await caller.post(path, json=body)
        status = (await caller.get(f"/v1/tasks/{first}")).json()["status"]
    async with calling(store, operator) as caller:
        replaced = await caller.post(path, json=body)

    assert (403, "tasks:cancel") == (refused.status_code, refused.json()["permission"])
    assert ("pending", 201) == (status, replaced.status_code)
    assert "cancelled" == (await store.get_task(TaskId(first))).status.value

"""What the client over HTTP makes of credentials, and of refusals."""

import httpx
import pytest
from tests.api.auth.scene import begin, key, token, with_tokens

from tasker.api import create_app
from tasker.client.http import HttpClient
from tasker.errors import Forbidden, NotFound, StoreUnavailable, Unauthenticated
from tasker.settings import AuthSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


def client(
    store: Store,
    *,
    auth: AuthSettings | None = None,
    api_key: str | None = None,
    token: str | None = None,
) -> HttpClient:
    transport = httpx.ASGITransport(create_app(store, auth=auth or with_tokens()))
    return HttpClient("http://server", api_key=api_key, token=token, retries=0, transport=transport)


async def test_a_client_sends_a_key_or_a_token(store: Store) -> None:
    """The actor is the name of the key or token."""
    async with client(store, api_key=await key(store, "operator", name="billing")) as billing:
        assert "billing" == (await billing.create_task("payments.refund")).created_by
    async with client(store, token=token()) as jake:
        assert "jake" == (await jake.create_task("payments.refund")).created_by


async def test_refusals_raise_specific_errors(store: Store) -> None:
    """For unauthenticated callers, missing permissions and invisible objects."""
    hidden = await begin(store, "orders")
    async with client(store) as anonymous:
        with pytest.raises(Unauthenticated, match="Send an API key or a token"):
            await anonymous.tasks()
    async with client(store, token=token()) as jake:
        with pytest.raises(Forbidden, match="jake lacks the permission tasks:create in namespace"):
            await jake.create_task("orders.refund")
        with pytest.raises(NotFound, match=hidden):
            await jake.get(hidden)


async def test_a_request_is_retried_while_the_provider_is_down(store: Store) -> None:
    """The client treats it like an unreachable store."""
    auth = with_tokens(jwt_public_key=None, jwks_url="http://127.0.0.1:9/jwks.json")
    async with client(store, auth=auth, token=token(headers={"kid": "a"})) as jake:
        with pytest.raises(StoreUnavailable, match="keys that verify tokens"):
            await jake.tasks()

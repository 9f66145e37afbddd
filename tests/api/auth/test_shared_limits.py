"""Only administrators bound the keys that all namespaces share."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.api.auth.scene import key

from tasker import InvalidInput, LocalClient, open_store, parse_template
from tasker.api import create_app
from tasker.settings import AuthSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

BOUND = "limits: [{key: 'shared:bank', concurrency: 1}]"
OPEN_TASKS = "concurrency: {key: 'shared:bank', tasks: 1, when_full: cancel_oldest}"
USED = "limits: [{key: 'shared:bank'}]"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Open a store in memory."""
    async with open_store("sqlite::memory:") as store:
        yield store


@pytest.mark.parametrize(
    ("namespaces", "template", "status"),
    [
        (["shop"], BOUND, 403),
        (["shop"], OPEN_TASKS, 403),
        (["shop"], USED, 201),
        (["*"], BOUND, 201),
        (["*"], OPEN_TASKS, 201),
    ],
)
async def test_a_template_with_a_shared_limit_needs_an_administrator(
    store: Store, namespaces: list[str], template: str, status: int
) -> None:
    text = await key(store, "admin", name="a", namespaces=namespaces)
    app = create_app(store, auth=AuthSettings(enabled=True))
    document = f"name: t\nnamespace: shop\n{template}\nsteps: [{{name: s}}]\n"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://tasker", headers={"X-API-Key": text}
    ) as client:
        response = await client.post(
            "/v1/templates", content=document, headers={"Content-Type": "application/yaml"}
        )

    assert status == response.status_code, response.text


@pytest.mark.parametrize(
    "template",
    [
        "limits: [{key: '{input.k}', concurrency: 1}]",
        "concurrency: {key: '{input.k}', tasks: 1, when_full: cancel_oldest}",
    ],
)
async def test_an_input_never_makes_a_shared_key(store: Store, template: str) -> None:
    client = LocalClient(store)
    await client.register(parse_template(f"name: t\n{template}\nsteps: [{{name: s}}]\n"))

    await client.create_task("t", {"k": "mine"})
    with pytest.raises(InvalidInput, match="must not produce a key that begins with 'shared:'"):
        await client.create_task("t", {"k": "shared:bank"})

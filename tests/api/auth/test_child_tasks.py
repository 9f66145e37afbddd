"""Steps create tasks in other namespaces only if whoever registers them may."""

import httpx
import pytest
from tests.api.auth.scene import key

from tasker import open_store
from tasker.api import create_app
from tasker.settings import AuthSettings

pytestmark = pytest.mark.anyio

STEP = '{name: s, task: {template: "bank.refund@^2"}}'
OWN = "{name: s, task: {template: shop.refund}}"
OF_DEFAULT = "{name: s, task: {template: refund}}"
EACH = "{name: l}, {name: m, dependencies: [l], map: "
IN_BODY = EACH + "{over: results.l}, steps: [" + STEP + "]}"
OF_EACH = EACH + "{over: results.l, task: {template: bank.x}}}"


@pytest.mark.parametrize(
    ("namespaces", "steps", "status"),
    [
        (["shop"], OWN, 201),
        (["shop"], STEP, 403),
        (["shop"], IN_BODY, 403),
        (["shop"], OF_EACH, 403),
        (["shop"], OF_DEFAULT, 403),
        (["shop", "bank"], STEP, 201),
        (["shop", "bank"], IN_BODY, 201),
        (["*"], STEP, 201),
    ],
)
async def test_a_step_that_runs_tasks_elsewhere_needs_the_permission_to_create_them(
    namespaces: list[str], steps: str, status: int
) -> None:
    """Also within the body of a map, and among the templates of one request."""
    document = f"name: t\nnamespace: shop\nsteps: [{steps}]\n"
    async with open_store("sqlite::memory:") as store:
        text = await key(store, "developer", name="a", namespaces=namespaces)
        app = create_app(store, auth=AuthSettings(enabled=True))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://tasker",
            headers={"X-API-Key": text},
        ) as client:
            response = await client.post(
                "/v1/templates", content=document, headers={"Content-Type": "application/yaml"}
            )
            assert status == response.status_code, response.text
            if status == 201:
                return
            assert "tasks:create" == response.json()["permission"]
            body = {
                "templates": [
                    {
                        "name": "t",
                        "namespace": "shop",
                        "steps": [{"name": "s", "task": {"template": "bank.refund"}}],
                    }
                ]
            }
            assert 403 == (await client.post("/v1/templates/bulk", json=body)).status_code
        assert [] == await store.list_approved_templates()

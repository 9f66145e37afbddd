"""Results of instances, which remote workers read page by page while their attempt runs."""

from typing import Any

import httpx
import pytest
from tests.api.api_client import ApiClient
from tests.engine.factories import SOON
from tests.remote.remote_worker import ManualRemoteWorker

from tasker import Worker, parse_template
from tasker.api import create_app
from tasker.client import LocalClient
from tasker.handlers.instances import Instances
from tasker.model import Map, StepSpec, Template
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

NUMBERS = 1100  #: more than the result of a step has
FLOW = """
namespace: n
name: flow
version: 1.0.0
steps:
  - name: numbers
  - name: double
    dependencies: [numbers]
    map: {over: results.numbers, as: number}
  - name: total
    dependencies: [double]
"""


async def test_a_remote_worker_reads_all_instances_while_its_attempt_runs(store: Store) -> None:
    """
    The route has pages, knows the steps that the handler may read, and refuses later calls.
    """
    app = create_app(store)
    sent: list[dict[str, Any]] = []
    answers: list[bytes] = []

    class Transport(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/instances"):
                sent.append({"url": str(request.url), "content": await request.aread()})
            response = await super().handle_async_request(request)
            answers.append(await response.aread())
            return response

    async def total(double: Instances[int]) -> list[int]:
        values = [value async for value in double]
        return [len(double), len(values), sum(values)]

    handlers = {
        "numbers": lambda: list(range(NUMBERS)),
        "double": lambda number: 2 * number,
        "total": total,
    }
    client = LocalClient(store)
    await client.register(parse_template(FLOW))
    async with (
        RemoteStore("http://tasker", transport=Transport(app)) as remote,
        RemoteWorker(remote, [handlers], namespaces=["n"]),
        Worker(store, engine_only=True),
        httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http,
    ):
        task = await client.run("n.flow", timeout=SOON)
        headers = {"Content-Type": "application/json"}
        late = await http.post(**sent[0], headers=headers)

    assert [NUMBERS, NUMBERS, NUMBERS * (NUMBERS - 1)] == task.result
    assert 4 == len(sent)  # the last page is empty
    assert any(b'"items":{"number":17,"item":17}' in answer for answer in answers)
    assert (409, "attempt_cancelled") == (late.status_code, late.json()["code"])


async def test_a_spawn_that_changed_is_refused_without_its_batch(
    api: ApiClient, store: Store
) -> None:
    """A call adds the same instances in every attempt."""
    visit = StepSpec(name="visit", spawning=Map(over="input.pages", item="page"))
    template = Template(namespace="shop", name="crawl", version="1.0.0", steps=(visit,))
    await store.register_template(template, registered_by="tests")
    worker = await ManualRemoteWorker.register(api, ["visit"])
    async with Worker(store, engine_only=True):
        task = await api.create("shop.crawl", context={"pages": ["a", "b", "c"]})
        steps: list[Any] = []
        while len(steps) < 3:
            steps += await worker.claim(wait_s=25)
        changed, over, good = steps
        spawn: Any = {"call": "spawn-1", "step": "visit"}
        added = await worker.call("spawn", ticket=changed["ticket"], items=["d"], **spawn)

        refused = await worker.call("spawn", 409, ticket=changed["ticket"], items=[1, 2], **spawn)
        await worker.complete(over)
        settled = await worker.settle(
            {"ticket": changed["ticket"], "outcome": "spawned", "items": ["d", "e"], **spawn},
            {"ticket": over["ticket"], "outcome": "spawned", "items": ["f"], **spawn},
            {"ticket": good["ticket"], "outcome": "complete"},
        )

    assert (3, 1) == (added["first_instance"], added["instances"])
    assert "durable_call_conflict" == refused["code"]
    assert ["error", "refused", "complete"] == settled["settled"]
    assert task["id"] == good["task_id"]

"""Who may run which steps: the permission `workers:run`."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient, templates
from tests.api.auth.scene import key
from tests.remote.remote_worker import ManualRemoteWorker

from tasker import open_store
from tasker.api import create_app
from tasker.client import LocalClient, TaskRequest
from tasker.model import StepSpec, StepStatus, Template
from tasker.settings import AuthSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Open a store in memory with templates of two namespaces."""
    other = Template(
        namespace="bank", name="pay", version="1.0.0", steps=(StepSpec(name="look_up"),)
    )
    async with open_store("sqlite::memory:") as store:
        for template in (*templates(), other):
            await store.register_template(template, registered_by="tests")
        yield store


async def caller(
    store: Store,
    app: Any,
    role: str,
    namespaces: Sequence[str],
    name: str = "",
    handlers: Sequence[str] = (),
) -> ApiClient:
    """Return a client with a key of its own."""
    name = name or f"key {len(await store.list_api_keys())}"
    text = await key(store, role, name=name, namespaces=namespaces, handlers=handlers)
    transport = httpx.ASGITransport(app)
    headers = {"X-API-Key": text}
    return ApiClient(store, transport=transport, base_url="http://tasker", headers=headers)


async def test_a_worker_serves_only_the_namespaces_of_its_credential(store: Store) -> None:
    """The namespaces that it requests do not matter."""
    app = create_app(store, auth=AuthSettings(enabled=True))
    local = LocalClient(store)
    await local.create_task("bank.pay")
    mine = await local.create_task("shop.refund", {"order": "o-1"})
    async with await caller(store, app, "worker", ["shop"]) as api:
        worker = await ManualRemoteWorker.register(api, ["look_up"], namespaces=["*"])
        other = await ManualRemoteWorker.register(api, ["look_up"], namespaces=["bank"])

        assert [mine.id] == [step["task_id"] for step in await worker.claim()]
        assert ["look_up"] == other.registered["refused"]
        assert [] == await other.claim(wait_s=0)


@pytest.mark.parametrize(
    ("permitted", "serves", "refused"),
    [
        (("look_up",), True, ["pay"]),
        (("shop.look_up",), True, ["pay"]),
        (("shop.*",), True, []),
        (("look*", "pay"), True, []),
        (("bank.*", "pa?"), False, ["look_up"]),
        (("Shop::*",), False, ["look_up", "pay"]),
    ],
)
async def test_a_worker_serves_only_the_handlers_of_its_key(
    store: Store, permitted: tuple[str, ...], serves: bool, refused: list[str]
) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    await LocalClient(store).create_task("shop.refund", {"order": "o-1"})
    async with await caller(store, app, "worker", ["shop"], handlers=permitted) as api:
        worker = await ManualRemoteWorker.register(api, ["look_up", "pay"], namespaces=["shop"])
        assert refused == worker.registered["refused"]
        restarted = create_app(store, auth=AuthSettings(enabled=True))
        assert await restarted.state.tasker.remote_workers.get_worker(
            int(worker.registered["worker"])
        )
        assert serves == bool(await worker.claim(wait_s=0))


async def test_a_key_for_some_handlers_limits_workers_of_all_namespaces(store: Store) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    local = LocalClient(store)
    await local.create_task("shop.refund", {"order": "o-1"})
    mine = await local.create_task("bank.pay")
    async with await caller(store, app, "worker", ["*"], handlers=["bank.*"]) as api:
        worker = await ManualRemoteWorker.register(api, ["look_up"], namespaces=["*"])

        assert [mine.id] == [step["task_id"] for step in await worker.claim()]
        assert [] == await worker.claim(wait_s=0)


async def test_a_worker_with_a_refused_handler_survives_a_restart_of_the_server(
    store: Store,
) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    async with await caller(store, app, "worker", ["shop"]) as api:
        handlers = [
            {"name": "pay", "namespaces": ["bank"]},
            {"name": "look_up", "namespaces": ["shop"]},
        ]
        body = {"protocol": 1, "name": "w", "slots": 1, "handlers": handlers}
        registered = await api.call("/v1/workers", body, 201)
    assert ["pay"] == registered["refused"]

    restarted = create_app(store, auth=AuthSettings(enabled=True))
    worker = await restarted.state.tasker.remote_workers.get_worker(int(registered["worker"]))
    look_up = worker.registration.find_handler("look_up", "shop")
    assert 1 == look_up.place  # refused handlers keep theirs


async def test_children_in_the_default_namespace_need_the_permission_too(store: Store) -> None:
    """The name of a template without a namespace is one of `default`."""
    steps = (StepSpec(name="look_up"),)
    template = Template(namespace="default", name="shop", version="1.0.0", steps=steps)
    await store.register_template(template, registered_by="tests")
    app = create_app(store, auth=AuthSettings(enabled=True))
    await LocalClient(store).create_task("shop.refund", {"order": "o-1"})
    async with await caller(store, app, "worker", ["shop"]) as api:
        worker = await ManualRemoteWorker.register(api, ["look_up"], namespaces=["shop"])
        step = await worker.claim_one()
        body = {"ticket": step["ticket"], "template": "shop", "call": "c"}
        refused = await api.call(f"/v1/workers/{worker.registered['worker']}/run_task", body, 403)

    assert ("forbidden", "default") == (refused["code"], refused["namespace"])


async def test_a_credential_without_the_permission_registers_no_worker(store: Store) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    async with await caller(store, app, "operator", ["*"]) as api:
        refused = await api.call(
            "/v1/workers", {"protocol": 1, "name": "w", "slots": 1, "handlers": []}, 403
        )

    assert ("forbidden", "workers:run") == (refused["code"], refused["permission"])


@pytest.mark.parametrize("thief", ["b", "a"])
async def test_a_worker_belongs_to_its_credential(store: Store, thief: str) -> None:
    """Not to another key, also one of the same name."""
    app = create_app(store, auth=AuthSettings(enabled=True))
    async with (
        await caller(store, app, "worker", ["shop"], "a") as api,
        await caller(store, app, "worker", ["shop"], thief) as other,
    ):
        worker = await ManualRemoteWorker.register(api)
        await LocalClient(store).create_task("shop.refund", {"order": "o-1"})
        step = await worker.claim_one()
        stolen = ManualRemoteWorker(other, worker.registered)

        refused = await stolen.call("settle", 403, outcomes=[], max=1)
        created = await other.post(
            "/v1/tasks",
            json={"name": "shop.refund", "context": {"order": "o"}, "idempotency_key": "k"},
            headers={"Tasker-Ticket": step["ticket"]},
        )

    assert "forbidden" == refused["code"]
    assert (403, "invalid_ticket") == (created.status_code, created.json()["code"])


async def test_a_child_is_created_by_the_credential_of_the_worker(store: Store) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    await LocalClient(store).create_task("shop.refund", {"order": "o-1"})
    async with await caller(store, app, "worker", ["shop"], "shop workers") as api:
        worker = await ManualRemoteWorker.register(api, ["look_up"])
        step = await worker.claim_one()
        run: Any = {"call": "c", "template": "shop.refund", "context": {"order": "o-2"}}
        child = await worker.call("run_task", ticket=step["ticket"], **run)

    assert "shop workers" == (await store.get_task(child["task_id"])).created_by


async def test_a_task_created_with_a_ticket_is_a_child(store: Store) -> None:
    app = create_app(store, auth=AuthSettings(enabled=True))
    async with await caller(store, app, "worker", ["shop"]) as api:
        worker = await ManualRemoteWorker.register(api)
        parent = await LocalClient(store).create_task(
            "shop.refund", {"order": "o-1"}, correlation_id="c-1"
        )
        step = await worker.claim_one()
        body = {"name": "shop.refund", "context": {"order": "o-2"}, "idempotency_key": "k"}
        ticket = {"Tasker-Ticket": step["ticket"]}
        child = await api.call("/v1/tasks", body, 201, headers=ticket)
        assert (parent.id, "c-1") == (child["parent_id"], child["correlation_id"])

        await worker.complete(step)
        late = await api.call("/v1/tasks", {**body, "idempotency_key": "l"}, 409, headers=ticket)

    assert "attempt_cancelled" == late["code"]


async def test_who_may_drain_all_namespaces_of_a_worker_drains_it(store: Store) -> None:
    """For a worker on the database, that is who may do so everywhere."""
    app = create_app(store, auth=AuthSettings(enabled=True))
    await LocalClient(store).create_task("shop.refund", {"order": "o-1"})
    native = await store.register_worker("n", lease=timedelta(seconds=30), slots=1, handlers=[])
    async with (
        await caller(store, app, "worker", ["shop"]) as api,
        await caller(store, app, "operator", ["bank"]) as stranger,
        await caller(store, app, "operator", ["shop"]) as operator,
    ):
        worker = await ManualRemoteWorker.register(api)
        path = f"/v1/workers/{worker.id}/drain"
        hidden = await stranger.call(path, {}, 403)
        of_all = await operator.call(f"/v1/workers/{native}/drain", {}, 403)
        unknown = await api.call(path, {}, 403)

        assert 204 == (await operator.post(path, json={"reason": "deploy"})).status_code

        assert {"forbidden"} == {hidden["code"], of_all["code"], unknown["code"]}
        assert (await worker.call("renew", held=[], wait_s=0))["quiet"]
        assert [] == await worker.claim(wait_s=0)
    [event] = [one for one in await store.list_team_audit(limit=50) if one.action == "drain_worker"]
    assert ("deploy", "w") == (event.reason, event.after)


async def test_a_step_does_not_wait_for_a_task_that_its_credential_may_not_read(
    store: Store,
) -> None:
    """It runs again at once, as after a wait for a task that does not exist."""
    app = create_app(store, auth=AuthSettings(enabled=True))
    local = LocalClient(store)
    parent = await local.create_task("shop.refund", {"order": "o-1"})
    request = TaskRequest(template="bank.pay", parent_id=parent.id)
    [child] = await local.create_tasks([request])
    foreign = await local.create_task("bank.pay")
    statuses = {}
    async with await caller(store, app, "worker", ["shop"]) as api:
        worker = await ManualRemoteWorker.register(api)
        for awaited in (UNKNOWN_TASK, foreign.id, child.id):
            step = await worker.claim_one()
            wait = {"outcome": "parked", "wait_for": {"task": awaited}}
            parked = await worker.settle({"ticket": step["ticket"], **wait})
            assert (["parked"], [], []) == (
                parked["settled"],
                parked["steps"],
                list(parked.get("problems", ())),
            )
            statuses[awaited] = (await local.steps(parent.id))[0].status

    assert {
        UNKNOWN_TASK: StepStatus.ENQUEUED,
        foreign.id: StepStatus.ENQUEUED,
        child.id: StepStatus.WAITING,
    } == statuses


async def test_a_step_waits_for_a_task_of_any_namespace_that_its_credential_may_read(
    store: Store,
) -> None:
    """Though its worker serves another one."""
    app = create_app(store, auth=AuthSettings(enabled=True))
    local = LocalClient(store)
    parent = await local.create_task("shop.refund", {"order": "o-1"})
    other = await local.create_task("bank.pay")
    async with await caller(store, app, "worker", ["shop", "bank"]) as api:
        worker = await ManualRemoteWorker.register(api, namespaces=["shop"])
        step = await worker.claim_one()
        wait = {"outcome": "parked", "wait_for": {"task": other.id}}
        await worker.settle({"ticket": step["ticket"], **wait})

    assert StepStatus.WAITING is (await local.steps(parent.id))[0].status

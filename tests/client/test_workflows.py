"""A workflow object in place of a name: its input goes in typed, its result comes back typed."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict

from tasker import (
    AsyncContext,
    Client,
    InvalidInput,
    LocalClient,
    SyncClient,
    SyncContext,
    TaskStatus,
    Worker,
    Workflow,
    open_store,
)
from tasker.api import create_app
from tasker.client.http import HttpClient
from tasker.store.protocol import Store
from tasker.testing import run_step, run_workflow

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        yield store


class Order(BaseModel):
    number: str = Field(alias="orderNumber")
    due: date


@dataclass
class Parcel:
    label: str
    due: date


class Weighing(TypedDict):
    grams: int


DUE = date(2030, 1, 31)
ORDER = Order(orderNumber="o1", due=DUE)
PARCEL = Parcel("parcel o1", DUE)

orders = Workflow("shop.fulfil_order", version="1.0.0", input=Order, result=Parcel)


@orders.step
def pack(orderNumber: str, due: date) -> Parcel:  # noqa: N803 - the input's alias
    return Parcel(f"parcel {orderNumber}", due)


weighing = Workflow("shop.weigh", input=Weighing, result=Weighing)


@weighing.step
def weigh(grams: int) -> Weighing:
    return {"grams": grams + 1}


greeting = Workflow("shop.greet")


@greeting.step
def greet(name: str = "nobody") -> str:
    return f"hello {name}"


forward = Workflow("shop.forward", result=str)


@forward.step
async def wait_for_pack(ctx: AsyncContext) -> Parcel:
    return await ctx.client.run(orders, ORDER)


@forward.step
def wait_for_greet(wait_for_pack: Parcel, ctx: SyncContext) -> str:
    return f"{ctx.client.run(greeting)}: {wait_for_pack.label}"


@pytest.mark.parametrize("kind", ["local", "server"])
async def test_a_workflow_can_be_run_with_a_typed_input_and_result(kind: str, store: Store) -> None:
    async with Worker(store, [orders, weighing, greeting]) as worker:
        if kind == "local":
            await assert_typed_runs(worker.client)
        else:
            transport = httpx.ASGITransport(create_app(store))
            async with HttpClient("http://server", transport=transport) as client:
                await assert_typed_runs(client)


async def assert_typed_runs(client: Client) -> None:
    task = await client.create_task(orders, ORDER)

    assert {"orderNumber": "o1", "due": "2030-01-31"} == task.context
    assert PARCEL == orders.result_of_task(await client.wait(task.id, timeout=60))
    assert PARCEL == await client.run(orders, ORDER, timeout="20s")
    assert {"grams": 8} == await client.run(weighing, Weighing(grams=7))
    assert "hello nobody" == await client.run(greeting)
    assert "hello Ann" == await client.run(greeting, {"name": "Ann"})
    assert TaskStatus.COMPLETE == (await client.run("shop.greet", {})).status


async def test_a_blocking_client_runs_workflows(store: Store) -> None:
    def program(client: SyncClient) -> tuple[Parcel, object]:
        return client.run(orders, ORDER), client.create_task(greeting).template.name

    async with Worker(store, [orders, greeting]) as worker:
        blocking = SyncClient(worker.client, asyncio.get_running_loop())
        assert (PARCEL, "greet") == await asyncio.to_thread(program, blocking)


async def test_a_workflow_runs_its_own_version(store: Store) -> None:
    newer = Workflow("shop.greet", version="9.0.0")
    newer.step(name="greet")(lambda: "newer")
    async with Worker(store, [greeting, newer]) as worker:
        assert "hello nobody" == await worker.client.run(greeting)
        assert "newer" == (await worker.client.run("shop.greet")).result


async def test_a_result_that_is_not_of_its_type_is_refused(store: Store) -> None:
    broken = Workflow("shop.broken", result=Parcel)
    broken.step(name="pack")(lambda: {"label": "x"})
    async with Worker(store, [broken]) as worker:
        with pytest.raises(ValidationError, match="due"):
            await worker.client.run(broken)


@pytest.mark.parametrize(
    ("workflow", "given", "message"),
    [
        (orders, PARCEL, "the input of shop.fulfil_order@1.0.0 must be Order, not Parcel"),
        (greeting, ORDER, "the context of shop.greet@0.1.0 must be a JSON object, not Order"),
    ],
)
async def test_an_input_of_another_type_is_refused(
    workflow: Workflow[Any, Any], given: object, message: str
) -> None:
    async with open_store("sqlite::memory:") as store:
        with pytest.raises(InvalidInput, match=message):
            await LocalClient(store).create_task(workflow, given)


async def test_steps_run_workflows_through_the_client_of_their_context() -> None:
    run = await run_workflow(forward, templates=[orders, greeting])

    assert "hello nobody: parcel o1" == run.result
    assert ["fulfil_order", "greet"] == [child.template.name for child in run.children]


def test_a_step_outside_a_worker_records_what_it_would_run() -> None:
    run = run_step(wait_for_pack)

    assert "parked" == run.outcome
    assert [("shop.fulfil_order@1.0.0", {"orderNumber": "o1", "due": "2030-01-31"})] == [
        (request.template, request.context) for request in run.created
    ]


def test_the_blocking_client_has_every_method_of_the_client() -> None:
    def signatures(kind: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [(one.name, one.default) for one in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert signatures(Client) == signatures(SyncClient)

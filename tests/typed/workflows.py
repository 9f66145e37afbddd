"""What type checkers say of workflows, their inputs and their results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from tasker import Client, Retry, SyncClient, Task, Workflow, open_store
from tasker.testing import WorkflowRun, run_workflow, run_workflow_sync


@dataclass
class Order:
    sku: str


class Parcel(BaseModel):
    label: str


class Weights(TypedDict):
    grams: int


orders = Workflow("shop.fulfil_order", input=Order, result=Parcel)
weighing = Workflow("shop.weigh", input=Weights, result=list[int])
untyped = Workflow("shop.greet")
described = Workflow("shop.described", input={"type": "object"}, result=str)


@orders.step
def pack(sku: str) -> Parcel:
    return Parcel(label=sku)


@orders.step(retry=Retry(max_attempts=3), timeout="5m", after=[pack])
async def ship(pack: Parcel) -> Parcel:
    return pack


@orders.step(retries=3)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore
def refund() -> None: ...


async def steps_stay_functions() -> None:
    assert_type(pack("mug"), Parcel)
    assert_type(await ship(Parcel(label="mug")), Parcel)
    pack(7)  # type: ignore[arg-type]  # pyright: ignore


async def clients(client: Client) -> None:
    assert_type(await client.run(orders, Order("mug"), idempotency_key="o1"), Parcel)
    assert_type(await client.run(weighing, Weights(grams=5), timeout="10s"), list[int])
    print(await client.run(orders, Order("mug")))
    assert_type(await client.run(untyped), Any)
    assert_type(await client.run(untyped, {"name": "Ann"}), Any)
    assert_type(await client.run(described), str)
    assert_type(await client.run("shop.greet", {"name": "Ann"}), Task)
    assert_type(await client.create_task(orders, Order("mug")), Task)
    await client.run(orders)  # type: ignore[arg-type]  # pyright: ignore
    await client.run(orders, {"sku": "mug"})  # type: ignore[misc]  # pyright: ignore
    await client.run(orders, Parcel(label="mug"))  # type: ignore[misc]  # pyright: ignore
    await client.create_task(orders)  # type: ignore[arg-type]  # pyright: ignore
    await client.run("shop.fulfil_order", Order("mug"))  # type: ignore[call-overload]  # pyright: ignore


def blocking_clients(client: SyncClient) -> None:
    assert_type(client.run(orders, Order("mug")), Parcel)
    assert_type(client.run("shop.greet"), Task)
    assert_type(client.create_task(untyped), Task)
    client.run(orders, Parcel(label="mug"))  # type: ignore[misc]  # pyright: ignore


async def tests() -> None:
    run = await run_workflow(orders, Order("mug"), stubs={"pack": {"label": "x"}})
    assert_type(run, WorkflowRun[Parcel])
    assert_type(run.result, Parcel)
    assert_type(run_workflow_sync(described).result, str)
    assert_type(run_workflow_sync("shop/greet.yaml", {"name": "Ann"}).result, Any)
    run_workflow_sync(orders, {"sku": "mug"})  # type: ignore[misc]  # pyright: ignore
    run_workflow_sync(untyped, stub={})  # type: ignore[call-overload]  # pyright: ignore


async def results(client: Client) -> None:
    task = await client.get("id")
    task_id: str = task.id
    assert_type(task.result, Any)
    assert_type(task.result_as(Parcel), Parcel)
    assert_type(orders.result_of_task(task), Parcel)
    assert_type(orders.make_context(Order(task_id)), Mapping[str, Any])
    async with open_store("sqlite::memory:") as store:
        assert_type(store.url, str)


def no_parameters_are_needed(workflow: Workflow) -> Workflow:
    return workflow

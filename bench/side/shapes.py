"""Chains and fans: created, run, created one by one, and run with many others in the tables."""

import asyncio
from collections.abc import Callable, Coroutine

from bench.side.order import RESULT, Cpu, Order, Sample, Steps, connect, cpu_of
from tasker import Client, LocalClient, Task, TaskRequest, Worker, Workflow, open_store

_BATCH_STEPS = 2_000  #: steps created by one call
_MEASURED = 2_000  #: most tasks that are measured with many others in the tables
_CREATORS = 50  #: coroutines that create tasks one by one


async def result() -> dict[str, str]:
    return RESULT


def make_workflow(
    shape: str, work: Callable[[], Coroutine[None, None, dict[str, str]]] = result
) -> Workflow:
    """Return the workflow `chain` (4 steps in a row) or `fan50` (1-50-1)."""

    async def handler() -> dict[str, str]:
        return await work()

    workflow = Workflow(f"bench.{shape}", version="1.0.0")
    if shape == "chain":
        for no in range(1, 5):
            workflow.step(name=f"s{no}", after=f"s{no - 1}" if no > 1 else ())(handler)
    else:
        middle = [f"m{no}" for no in range(50)]
        workflow.step(name="first")(handler)
        for name in middle:
            workflow.step(name=name, after="first")(handler)
        workflow.step(name="last", after=middle)(handler)
    return workflow


async def create(client: Client, workflow: Workflow, tasks: int) -> list[Task]:
    """Create tasks, and return those of the last call."""
    request = TaskRequest(template=workflow.template.full_name, context={"n": 1})
    batch = max(1, _BATCH_STEPS // len(workflow.template.steps))
    created: list[Task] = []
    for done in range(0, tasks, batch):
        created = list(await client.create_tasks([request] * min(batch, tasks - done)))
    return created


async def shape(order: Order) -> Sample:
    """Create tasks of one shape, work them off, and return the CPU per step of both."""
    steps = Steps(order)
    workflow = make_workflow(order["program"], steps.work)
    total = order["amount"] * len(workflow.template.steps)
    async with open_store(order["url"], upgrade=True) as store:
        client = LocalClient(store)
        await client.register(workflow.template)
        start = cpu_of(order)
        created = await create(client, workflow, order["amount"])
        creating = cpu_of(order).since(start, total)
        steps.expect(total)
        async with Worker(store, handlers=[workflow]):
            await steps.done.wait()
            for task in created:
                await client.wait(task.id)
    return {"create": creating, "run": steps.cost()}


async def create_single(order: Order) -> Sample:
    """Create chains one by one from 50 coroutines, and return the CPU of each creation."""
    workflow = make_workflow("chain")
    name = workflow.template.full_name
    async with open_store(order["url"], upgrade=True) as store:
        client = LocalClient(store)
        await client.register(workflow.template)
        await create(client, workflow, 10)

        async def one_by_one() -> None:
            for n in left:
                await client.create_task(name, {"n": n})

        async def create_all() -> Cpu:
            start = cpu_of(order)
            await asyncio.gather(*(one_by_one() for _ in range(_CREATORS)))
            return start

        left = iter(range(order["amount"] // 10))
        await create_all()
        left = iter(range(order["amount"]))
        start = await create_all()
        return {"create": cpu_of(order).since(start, order["amount"])}


async def backlog(order: Order) -> Sample:
    """Run chains in empty tables, then with `amount` ended and `amount` enqueued ones in them."""
    steps = Steps(order)
    workflow = make_workflow("chain", steps.work)
    each, measured = len(workflow.template.steps), min(_MEASURED, order["amount"])
    async with open_store(order["url"], upgrade=True) as store:
        client = LocalClient(store)
        await client.register(workflow.template)

        async def work_off(tasks: int) -> None:
            steps.expect(tasks * each)
            async with Worker(store, handlers=[workflow]):
                await steps.done.wait()

        await create(client, workflow, measured)
        await work_off(measured)
        empty = steps.cost()
        await create(client, workflow, order["amount"])
        await work_off(order["amount"])
        await create(client, workflow, order["amount"] + measured)
        if order["postmaster"]:
            connection = await connect(order["url"])
            await connection.execute("vacuum (analyze)", timeout=3600)
            await connection.execute("checkpoint", timeout=3600)
            await connection.close()
        await work_off(measured)
        return {"empty": empty, "full": steps.cost()}

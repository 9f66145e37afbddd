"""Steps with instances, run by workers."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import pytest

from tasker import (
    AsyncContext,
    PermanentError,
    Result,
    StepStatus,
    SyncContext,
    Task,
    TaskStatus,
    Worker,
    Workflow,
    open_store,
)
from tasker.errors import TaskFailed
from tasker.handlers.instances import Cursor, Instances, Item
from tasker.model import AttemptOutcome, JsonText, NewInstances, Step, TaskFilter
from tasker.store.protocol import Store
from tasker.template.load import parse_template
from tasker.testing.store_suite.factories import ManualWorker, create_task

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=60)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite::memory:"
    return str(request.getfixturevalue("postgres_store_url"))


async def run(
    url: str,
    text: str,
    handlers: Mapping[str, Callable[..., Any]],
    context: Mapping[str, Any] | None = None,
    inspect: Callable[[Worker, Store, Task], Any] | None = None,
) -> tuple[Task, Mapping[str, Step]]:
    """Run a task of a template, and return it with its steps by name."""
    template = parse_template(text)
    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [dict(handlers)], templates=[template]) as worker,
    ):
        task = await worker.client.create_task(template.full_name, context or {})
        task = await ended(worker, task)
        steps = {step.name: step for step in await worker.client.steps(task.id)}
        if inspect is not None:
            await inspect(worker, store, task)
            task = await ended(worker, task)
            steps = {step.name: step for step in await worker.client.steps(task.id)}
    return task, steps


async def ended(worker: Worker, task: Task) -> Task:
    """Return a task once it has ended in any way."""
    with suppress(TaskFailed):
        await worker.client.wait(task.id, timeout=SOON)
    return await worker.client.get(task.id)


MAPPED = """
name: mapped
steps:
  - name: numbers
  - name: double
    dependencies: [numbers]
    map: {over: results.numbers, as: number}
  - name: total
    dependencies: [double]
"""


async def test_a_map_runs_its_handler_for_each_element(url: str) -> None:
    """And the next step gets the list of their results, in the order of the elements."""
    keys: list[str] = []

    def double(number: int, context: SyncContext) -> int:
        keys.append(context.idempotency_key)
        return 2 * number

    task, steps = await run(
        url,
        MAPPED,
        {
            "numbers": lambda: [5, 6, 7],
            "double": double,
            "total": lambda double: [double, sum(double)],
        },
    )

    assert (TaskStatus.COMPLETE, [[10, 12, 14], 36]) == (task.status, task.result)
    assert {"instances": 3} == steps["double.map"].result
    names = [f"double[{n}]" for n in range(3)]
    assert names == [name for name in steps if "[" in name]
    assert {f"{task.id}:{name}" for name in names} == set(keys)
    assert "double" == steps["double[1]"].handler


async def test_an_empty_list_converges_immediately(url: str) -> None:
    task, steps = await run(
        url,
        MAPPED,
        {"numbers": lambda: [], "double": lambda number: number, "total": lambda double: double},
    )

    assert (TaskStatus.COMPLETE, []) == (task.status, task.result)
    assert 4 == len(steps)


async def test_a_map_over_another_type_than_a_list_fails(url: str) -> None:
    """The error names the expression and what it found."""
    task, steps = await run(
        url,
        MAPPED,
        {"numbers": lambda: {"a": 1}, "double": lambda number: number, "total": lambda double: 0},
    )

    assert TaskStatus.ERROR == task.status
    error = steps["double.map"].error
    assert error is not None
    assert "NOT_A_LIST" == error["code"]
    assert "cannot map over results.numbers: it is an object" in str(error["message"])


BATCHES = """
name: batches
steps:
- {name: split, type: batchable}
- {name: work, type: batch_worker, dependencies: [split]}
"""


@pytest.mark.parametrize(
    ("cursors", "problem"),
    [
        (
            [(0, 5), (4, 9)],
            "[1] is not a valid cursor: its start, 4, is before the end of the previous range, 5",
        ),
        ([(0, 5), (9, 5)], "[1] is not a valid cursor: its end, 5, is before its start, 9"),
        ([(0, 5), None], "[1] is not a valid cursor: it is null, not an object"),
        ([(0, 5), (5, 5), (7, 9)], None),
        ([("b", "c"), ("a", "b")], None),
    ],
)
async def test_batches_of_an_analyzer_do_not_overlap_or_run_backwards(
    cursors: list[tuple[Any, Any] | None], problem: str | None
) -> None:
    """Nothing is inserted; cursors that are no numbers are not compared."""
    given = [each and {"start_cursor": each[0], "end_cursor": each[1]} for each in cursors]

    task, steps = await run(
        "sqlite::memory:",
        BATCHES,
        {
            "split": lambda: {"batch_processing_outcome": {"cursor_configs": given}},
            "work": lambda: 1,
        },
    )

    error = steps["work.map"].error
    if problem is None:
        assert (TaskStatus.COMPLETE, None) == (task.status, error)
    else:
        assert error is not None
        assert ("INVALID_CURSOR", 3) == (error["code"], len(steps))
        assert str(error["message"]).endswith(f"cursor_configs{problem}")


async def test_bodies_of_several_steps_may_be_nested(url: str) -> None:
    """Each step gets the elements around it, and the results of its own instance."""
    text = """
name: nested
steps:
  - name: customers
  - name: per_customer
    dependencies: [customers]
    map:
      over: results.customers
      as: customer
    steps:
      - name: fetch
      - name: bill
        dependencies: [fetch]
        map: {over: results.fetch.lines, as: line}
      - name: close
        dependencies: [bill]
  - name: end
    dependencies: [per_customer]
"""

    async def bill(
        customer: str, line: int, fetch: Mapping[str, Any], customers: list[str], ctx: AsyncContext
    ) -> str:
        assert ctx.step.startswith("per_customer[")
        return f"{customer}{line}/{len(fetch['lines'])}/{len(customers)}"

    task, steps = await run(
        url,
        text,
        {
            "customers": lambda: ["a", "b"],
            "fetch": lambda customer: {"lines": [1, 2] if customer == "a" else []},
            "bill": bill,
            "close": lambda customer, bill: {customer: bill},
            "end": lambda per_customer: per_customer,
        },
    )

    assert [{"a": ["a1/2/2", "a2/2/2"]}, {"b": []}] == task.result
    assert "per_customer[0].bill[1]" in steps
    assert StepStatus.COMPLETE == steps["per_customer[1].bill"].status


CHILD = """
name: parcel
namespace_name: shop
steps:
  - name: pack
"""


async def test_a_map_runs_a_task_for_each_element(url: str) -> None:
    """The results of the tasks are those of the instances; a failed task fails its instance."""
    template = parse_template(
        """
name: ship
namespace_name: shop
steps:
  - name: parcels
    map: {over: input.lines, as: line, task: {template: shop.parcel, context: {sku: "{line.sku}"}}}
    on_failure: continue
  - name: end
    dependencies: [parcels]
"""
    )
    child = parse_template(CHILD)

    def pack(sku: str) -> str:
        if sku == "broken":
            raise PermanentError("no stock")
        return f"parcel {sku}"

    handlers = {"pack": pack, "end": lambda parcels: parcels}
    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [handlers], templates=[template, child]) as worker,
    ):
        task = await worker.client.create_task(
            "shop.ship", {"lines": [{"sku": "a"}, {"sku": "broken"}, {"sku": "c"}]}
        )
        task = await ended(worker, task)
        children = await worker.client.tasks(TaskFilter(parent_id=task.id))

    assert ["parcel a", None, "parcel c"] == task.result
    assert {"a", "broken", "c"} == {each.context["sku"] for each in children}


async def test_steps_of_an_instance_can_use_its_element(url: str) -> None:
    """Waits and conditions of bodies read the element, and a wait with a map is one per element."""
    text = """
name: reminders
steps:
  - name: remind
    map: {over: input.people, as: person}
    wait: {until: person.at}
  - name: ask
    dependencies: [remind]
    map: {over: input.people, as: person}
    steps:
      - {name: reply, wait: {signal: replied, key: person.name, timeout: 1h}}
      - {name: note, dependencies: [reply], when: 'person.name == "b"'}
"""
    people = [{"name": name, "at": "2020-01-01T00:00:00Z"} for name in "ab"]
    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"note": lambda reply: reply}], templates=[parse_template(text)]) as worker,
    ):
        task = await worker.client.create_task("default.reminders", {"people": people})
        for name in "ab":
            await worker.client.broadcast("replied", name, f"{name}!", namespace="default")
        task = await ended(worker, task)

    assert [None, "b!"] == task.result


async def test_batches_receive_cursors_that_cover_the_whole_range(url: str) -> None:
    """`max_instances` is a total: the ranges grow to keep to it."""
    text = """
name: batched
steps:
  - name: import_rows
    batch: {total: input.rows, size: 2, max_instances: 3}
"""

    def import_rows(cursor: Cursor, context: SyncContext) -> list[int]:
        assert cursor == context.cursor
        return [*range(cursor.start, cursor.end)]

    for rows, sizes in ((0, []), (5, [2, 2, 1]), (6, [2, 2, 2]), (10, [4, 4, 2])):
        task, _ = await run(
            "sqlite::memory:" if rows else url, text, {"import_rows": import_rows}, {"rows": rows}
        )

        assert sizes == [len(part) for part in task.result]
        assert [*range(rows)] == [n for part in task.result for n in part]


async def test_a_batch_that_yields_continues_from_its_checkpoint(url: str) -> None:
    """Its attempts do not count."""
    text = """
name: batched
steps:
  - name: import_rows
    batch: {total: 10, size: 5}
    retry: {max_attempts: 1}
"""

    async def import_rows(context: AsyncContext) -> list[int]:
        start, end = context.cursor
        done = context.last_checkpoint or start
        if done < end:
            await context.hand_back(done + 1)
        return [start, done, context.attempt, context.counted_attempts]

    task, _ = await run(url, text, {"import_rows": import_rows})

    assert [[0, 5, 6, 1], [5, 10, 6, 1]] == task.result


async def test_a_loop_runs_until_its_condition_holds(url: str) -> None:
    """Its result is that of its last iteration."""
    text = """
name: looped
steps:
  - name: start
  - name: poll
    dependencies: [start]
    repeat: {until: results.status.done, every: 0.05, max: 10}
    steps:
      - name: request
      - name: status
        dependencies: [request]
  - name: end
    dependencies: [poll]
"""
    task, steps = await run(
        url,
        text,
        {
            "start": lambda: 1,
            "request": lambda iteration: iteration,
            "status": lambda request: {"done": request == 3, "at": request},
            "end": lambda poll: poll,
        },
    )

    assert {"done": True, "at": 3} == task.result
    assert [f"poll[{n}].status" for n in range(4)] == [name for name in steps if "status" in name]


async def test_a_loop_fails_after_its_last_iteration(url: str) -> None:
    text = """
name: looped
steps:
  - name: poll
    repeat: {until: results.poll == 3, max: 3}
"""
    task, steps = await run(url, text, {"poll": lambda iteration: iteration})

    assert TaskStatus.ERROR == task.status
    error = steps["poll[2].until"].error
    assert error is not None
    assert "REPEAT_EXHAUSTED" == error["code"]


async def test_an_instance_adds_instances_to_its_own_join(url: str) -> None:
    """A later attempt of it adds them once."""
    text = """
name: crawl
steps:
  - name: visit
    map: {over: input.pages, as: page}
    retry: {initial_delay: 0}
  - name: end
    dependencies: [visit]
"""

    async def visit(page: Item[str], ctx: AsyncContext) -> str:
        if len(page) < 3:
            await ctx.spawn("visit", [f"{page}a", f"{page}b"])
            if ctx.attempt == 1:
                raise OSError
        return page

    def sort(visit: list[str]) -> list[str]:
        return sorted(visit)

    task, _ = await run(url, text, {"visit": visit, "end": sort}, {"pages": ["x"]})

    assert ["x", "xa", "xaa", "xab", "xb", "xba", "xbb"] == task.result


async def test_a_step_outside_a_map_cannot_add_instances(url: str) -> None:
    text = "name: t\nsteps: [{name: a}]\n"

    async def a(ctx: AsyncContext) -> None:
        await ctx.spawn("visit", [1])

    task, steps = await run(url, text, {"a": a})

    assert TaskStatus.ERROR == task.status
    assert "cannot add instances to 'visit'" in str(steps["a"].error)


async def test_failures_are_tolerated_up_to_a_number(url: str) -> None:
    """The result of a failed instance is null."""
    text = """
name: tolerant
steps:
  - name: work
    map: {over: input.items}
    on_failure: {policy: continue, max_failures: %s}
"""

    def work(item: int) -> int:
        if item < 2:
            raise PermanentError("bad", code="BAD")
        return item

    context = {"items": [0, 1, 2, 3]}
    task, steps = await run(url, text % 2, {"work": work}, context)

    assert (TaskStatus.COMPLETE, [None, None, 2, 3]) == (task.status, task.result)
    assert StepStatus.ERROR == steps["work[0]"].status

    task, steps = await run("sqlite::memory:", text % '"25%"', {"work": work}, context)

    assert TaskStatus.ERROR == task.status
    error = steps["work"].error
    assert error is not None
    assert "2 of 4 instances of 'work' failed; the maximum is 1" == error["message"]


async def test_retrying_a_failed_instance_runs_its_join(url: str) -> None:
    """The instance is retried by name, and the task continues."""
    fails = True

    def double(number: int) -> int:
        if fails and number == 6:
            raise PermanentError("bad")
        return 2 * number

    async def mend(worker: Worker, store: Store, task: Task) -> None:
        nonlocal fails
        fails = False
        assert TaskStatus.ERROR == task.status
        await worker.client.retry(task.id, steps=["double[1]"])

    task, _ = await run(
        url,
        MAPPED,
        {"numbers": lambda: [5, 6, 7], "double": double, "total": lambda double: double},
        inspect=mend,
    )

    assert (TaskStatus.COMPLETE, [10, 12, 14]) == (task.status, task.result)


async def test_many_results_are_read_in_pages(url: str) -> None:
    """Beyond 1,000 the result of the step has only their counts."""

    async def total(double: Instances[int], all_of: Annotated[Any, Result("double")]) -> list[Any]:
        values = [value async for value in double]
        return [len(double), sum(values), values[:2], all_of]

    task, steps = await run(
        url,
        MAPPED,
        {
            "numbers": lambda: list(range(1200)),
            "double": lambda number: 2 * number,
            "total": total,
        },
    )

    counts = {"count": 1200, "succeeded": 1200, "failed": 0}
    assert [1200, 1200 * 1199, [0, 2], counts] == task.result
    assert Counter({StepStatus.COMPLETE: 1204}) == Counter(step.status for step in steps.values())


async def test_a_sync_handler_can_read_instances(url: str) -> None:
    """A handler may also reduce them to the result of their step."""
    text = MAPPED.replace("as: number}", "as: number}\n    collect: {reduce: add}")

    def add(double: Instances[int]) -> int:
        return sum(double)

    task, steps = await run(
        url,
        text,
        {
            "numbers": lambda: [1, 2, 3],
            "double": lambda number: 2 * number,
            "add": add,
            "total": lambda double: double,
        },
    )

    assert 12 == task.result
    assert {"count": 3, "succeeded": 3, "failed": 0} == steps["double.join"].result


async def test_a_python_workflow_has_maps_batches_and_loops(url: str) -> None:
    """With the same results as in YAML, and typed items."""
    flow = Workflow("n.flow")

    @flow.step
    def numbers() -> list[int]:
        return [1, 2, 3]

    @flow.map(over=numbers, on_failure="continue", max_failures="50%")
    async def double(number: Item[int]) -> int:
        if number == 2:
            raise PermanentError("bad")
        return 2 * number

    @flow.batch(total="input.rows", size=4, after=double)
    def rows(cursor: Cursor) -> int:
        return len(cursor)

    @flow.repeat(until="results.poll.done", max=5, after=rows)
    def poll(iteration: int) -> dict[str, Any]:
        return {"done": iteration == 2, "at": iteration}

    @flow.step
    async def end(double: Instances[int | None], rows: list[int], poll: dict[str, Any]) -> Any:
        return [[value async for value in double], rows, poll["at"]]

    async with open_store(url, upgrade=True) as store, Worker(store, [flow]) as worker:
        task = await worker.client.run(flow, {"rows": 10}, timeout=SOON)

    assert [[2, None, 6], [4, 4, 2], 2] == task


async def test_a_failure_can_cancel_instances_that_have_not_started(url: str) -> None:
    """A retry of the failed instance runs them too."""
    text = """
name: fast
steps:
  - name: work
    map: {over: input.items}
    on_failure: fail_fast
"""
    fails, done = True, 0

    def work(item: int) -> int:
        nonlocal done
        if fails and item == 0:
            raise PermanentError("bad")
        done += 1
        return item

    async def mend(worker: Worker, store: Store, task: Task) -> None:
        nonlocal fails
        fails = False
        assert TaskStatus.ERROR == task.status
        assert task.counts.cancelled > 500
        await worker.client.retry(task.id)

    task, _ = await run(url, text, {"work": work}, {"items": list(range(1000))}, inspect=mend)

    assert (TaskStatus.COMPLETE, list(range(1000))) == (task.status, task.result)
    assert 1000 == done


async def test_lost_attempts_of_instances_are_retried_by_the_policy_of_their_step(url: str) -> None:
    """The policy is that of the node in the template."""
    text = """
name: lost
steps:
  - name: first
  - name: work
    dependencies: [first]
    map: {over: input.items}
    retry: {retryable: false}
    on_failure: continue
"""
    template = parse_template(text)
    async with open_store(url, upgrade=True) as store:
        stored = await store.register_template(template, registered_by="test")
        task_id = await create_task(store, stored.stored.id, {"items": [1]})
        lost = await ManualWorker.register(store, "lost", lease=timedelta(seconds=0.5))
        await lost.complete(await lost.claim_one())
        spawner = await lost.claim_one()
        new = NewInstances("", 3, 2, 2, 1, 0, [JsonText("1")])
        await store.spawn_instances(spawner, new)
        await lost.complete(spawner)
        await lost.claim_one()
        async with Worker(
            store, [{"first": lambda: 0, "work": lambda item: item}], templates=[template]
        ) as worker:
            task = await ended(worker, await worker.client.get(task_id))
            history = await worker.client.attempts(task_id, step="work[0]")

    assert (TaskStatus.COMPLETE, [None]) == (task.status, task.result)
    assert [AttemptOutcome.ERROR] == [attempt.outcome for attempt in history]


async def test_a_map_respects_its_concurrency(url: str) -> None:
    """The limits of its steps apply to every instance."""
    text = """
name: bounded
steps:
  - name: work
    map: {over: input.items, max_concurrency: 2}
    limits: [{key: "customer:{input.customer}", concurrency: 50}]
  - name: loop
    dependencies: [work]
    repeat: {until: iteration == 2, max: 5}
    limits: [{key: "customer:{input.customer}", concurrency: 50}]
"""
    running = most = 0

    async def work(item: int, ctx: AsyncContext) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        if item == 0:
            await ctx.spawn("work", [7])
        return item

    task, _ = await run(
        url,
        text,
        {"work": work, "loop": lambda iteration: iteration},
        {"items": list(range(6)), "customer": "c"},
    )

    assert task.failure is None
    assert (TaskStatus.COMPLETE, 2) == (task.status, task.result)
    assert 2 == most

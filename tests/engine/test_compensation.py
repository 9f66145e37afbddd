"""Undoing what a task has done: the order, what handlers get, and the ends of tasks."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Annotated, Any

import pytest
from tests.engine.factories import SOON
from tests.waiting import eventually

from tasker import (
    Compensation,
    CompensationStatus,
    Context,
    Item,
    LocalClient,
    PermanentError,
    Result,
    Retry,
    RetryableError,
    Task,
    TaskFilter,
    TaskStatus,
    Worker,
    Workflow,
)
from tasker.engine.compensating import plan_compensating_steps
from tasker.errors import Misuse, TaskFailed
from tasker.graph import Graph
from tasker.model import CompensationCandidate, Template
from tasker.store.protocol import Store
from tasker.template.document import template_to_document
from tasker.template.load import parse_template
from tasker.template.stored import template_from_stored_document
from tasker.testing import run_workflow

pytestmark = pytest.mark.anyio


def order(undone: list[Any], compensation: Compensation | None = None) -> Workflow[Any, Any]:
    """reserve > charge > pack (for each line) > ship, which fails."""
    flow = Workflow("shop.order", compensation=compensation)

    @flow.step
    def reserve(order: str) -> str:
        return f"reserved {order}"

    @flow.step
    def charge(reserve: str) -> Mapping[str, int]:
        return {"cents": 100}

    @flow.map(over="input.lines")
    def pack(charge: Mapping[str, int], line: Item[int]) -> int:
        return line * 10

    @flow.step
    def ship(pack: Any) -> None:
        raise PermanentError("no carrier")

    @flow.compensate(reserve)
    def release(reserve: str, context: Context) -> None:
        undone.append((reserve, context.idempotency_key.partition(":")[2]))

    @flow.compensate(charge, retry=Retry(max_attempts=3))
    async def refund(charge: Mapping[str, int], reserve: str) -> None:
        undone.append((charge["cents"], reserve))

    @flow.compensate("pack")
    def unpack(pack: int, line: Item[int], context: Context) -> None:
        undone.append((pack, line, context.idempotency_key.partition(":")[2]))

    return flow


async def ended_task(client: LocalClient, task: Task) -> Task:
    with suppress(TaskFailed):
        await client.wait(task.id, timeout=SOON)
    return await client.get(task.id)


async def test_steps_are_undone_with_their_results() -> None:
    """By functions that are called like those of steps, each with an idempotency key of its own."""
    undone: list[Any] = []

    run = await run_workflow(order(undone), {"order": "o-1", "lines": [1, 2]})

    assert (TaskStatus.ERROR, CompensationStatus.COMPLETE) == (
        run.task.status,
        run.task.compensation,
    )
    assert "step 'ship' failed: no carrier" == (run.task.error or {})["message"]
    assert [
        (10, 1, "pack[0].compensation"),
        (20, 2, "pack[1].compensation"),
        (100, "reserved o-1"),
        ("reserved o-1", "reserve.compensation"),
    ] == [*sorted(undone[:2]), *undone[2:]]


async def test_a_compensating_step_is_retried() -> None:
    """Its own policy applies; the task ends when it has succeeded."""
    flow = Workflow("shop.flaky")
    attempts = count(1)

    @flow.step
    def charge() -> int:
        return 1

    @flow.step
    def ship(charge: int) -> None:
        raise PermanentError("no carrier")

    @flow.compensate(charge, retry=Retry(max_attempts=3))
    def refund() -> None:
        if next(attempts) < 3:
            raise RetryableError("bank closed")

    run = await run_workflow(flow)

    assert 3 == run.steps["charge.compensation"].attempts
    assert CompensationStatus.COMPLETE == run.task.compensation


@pytest.mark.parametrize("keep_going", [True, False])
async def test_a_failed_compensating_step_leaves_the_compensation_incomplete(
    *, keep_going: bool
) -> None:
    undone: list[Any] = []
    flow = order(undone, Compensation(keep_going=keep_going))

    @flow.step
    def insure(charge: Any) -> None: ...

    @flow.compensate(insure)
    def terminate(charge: Any) -> None:
        raise PermanentError("contract is binding")

    run = await run_workflow(flow, {"order": "o-1", "lines": []})

    assert CompensationStatus.INCOMPLETE == run.task.compensation
    assert 2 * keep_going == len(undone)
    expected = "complete" if keep_going else "pending"
    assert expected == run.steps["reserve.compensation"].status.value


async def test_a_cancelled_parent_and_its_child_both_undo_their_steps(store: Store) -> None:
    undone: list[str] = []
    child, parent = Workflow("shop.child"), Workflow("shop.parent")

    @child.step
    def book() -> str:
        return "seat"

    child.wait("confirmed", signal="confirmed", after=book)

    @child.compensate(book)
    def unbook(book: str) -> None:
        undone.append(book)

    @parent.step
    def open_case() -> str:
        return "case"

    parent.task("travel", child, after=open_case)

    @parent.compensate(open_case)
    def close_case(open_case: str) -> None:
        undone.append(open_case)

    worker = Worker(store, [parent, child])
    async with worker:
        client = worker.client
        task = await client.create_task(parent, {})

        async def waits() -> bool:
            children = await client.tasks(TaskFilter(parent_id=task.id))
            return bool(children) and children[0].counts.waiting == 1

        await eventually(waits)
        await client.cancel(task.id)
        ended = await ended_task(client, task)
        (attached,) = await client.tasks(TaskFilter(parent_id=task.id))
        attached = await ended_task(client, attached)

    assert ["case", "seat"] == sorted(undone)
    for each in (ended, attached):
        assert (TaskStatus.CANCELLED, CompensationStatus.COMPLETE) == (
            each.status,
            each.compensation,
        )


async def test_a_compensating_step_is_found_by_its_name(store: Store) -> None:
    """This includes instances; an operator retries or resolves it."""
    flow = order([])

    @flow.step
    def bill(pack: Any) -> None: ...

    @flow.compensate(bill)
    def unbill() -> None:
        raise PermanentError("booked")

    async with Worker(store, [flow]) as worker:
        client = worker.client
        task = await client.create_task(flow, {"order": "o-1", "lines": [1]})
        task = await ended_task(client, task)
        assert CompensationStatus.INCOMPLETE == task.compensation
        (attempt,) = await client.attempts(task.id, step="pack[0].compensation")
        assert "complete" == attempt.outcome.value

        await client.resolve(task.id, "bill.compensation", reason="done by hand")

        assert CompensationStatus.COMPLETE == (await client.get(task.id)).compensation
        (reason,) = [each for each in await client.why(task.id) if each.code == "failed"]
        assert "ship" == reason.step


# -------------------------------------------------------------------------- the plan

NESTED = """
name: nested
compensation: {on: [cancelled], keep_going: false, hold: 15m}
steps:
  - {name: first, compensate: undo}
  - {name: plain, dependencies: [first]}
  - name: each
    dependencies: [plain]
    map:
      over: input.list
    steps:
      - {name: fetch, compensate: {callable: undo, method: back, retry: {max_attempts: 7}}}
      - {name: inner, dependencies: [fetch], map: {over: results.fetch, as: line}, compensate: undo}
  - name: poll
    dependencies: [each]
    repeat: {until: iteration > 1, max: 5}
    compensate: {callable: undo, timeout_seconds: 5}
  - {name: last, dependencies: [poll, first], compensate: undo}
"""


def test_a_template_is_read_back_from_its_document() -> None:
    template = parse_template(NESTED)

    assert template == template_from_stored_document(template_to_document(template))


def planned(template: Template, *steps: CompensationCandidate) -> dict[int, set[int]]:
    """Plan the compensation of completed steps; return which of them each waits for, all told."""
    made = plan_compensating_steps(Graph(template), steps)
    waits: dict[int, set[int]] = {step.place: set() for step in made}
    for step in reversed(made):  # those that others wait for come later
        assert all(child < step.place for child in step.children)
        for child in step.children:
            waits[child] |= waits[step.place] | {step.place}
    for step in made:
        parents = sum(step.place in other.children for other in made)
        assert step.pending_parents == parents
    by_place = {step.place: step.undoes for step in made}
    return {by_place[place]: {by_place[one] for one in others} for place, others in waits.items()}


def test_each_compensating_step_waits_for_those_of_later_steps() -> None:
    """This includes later iterations, but not other instances."""
    graph = Graph(parse_template(NESTED))
    numbers, bodies = graph.numbers, graph.layout.bodies
    each, poll = numbers["each.map"], numbers["poll.repeat"]
    fetch, inner = numbers["fetch"], numbers["inner.map"]
    line = bodies[inner].first
    done = (
        CompensationCandidate(numbers["first"], numbers["first"], None, None),
        CompensationCandidate(101, fetch, each, 0),  # with the inner spawner 102
        CompensationCandidate(111, fetch, each, 1),
        CompensationCandidate(121, line, 102, 0),
        CompensationCandidate(122, line, 102, 1),
        CompensationCandidate(131, bodies[poll].first, poll, 0),
        CompensationCandidate(132, bodies[poll].first, poll, 1),
        CompensationCandidate(numbers["last"], numbers["last"], None, None),
        CompensationCandidate(102, inner, each, 0),
    )

    waits = planned(parse_template(NESTED), *done)

    first, last = numbers["first"], numbers["last"]
    undone = {step.no for step in done} - {102}
    of_undone = {no: others & undone for no, others in waits.items() if no in undone}
    polls, lines = {131, 132, last}, {121, 122}
    assert {
        last: set(),
        132: {last},
        131: {132, last},
        121: polls,
        122: polls,
        101: polls | lines,
        111: polls,
        first: polls | lines | {101, 111},
    } == of_undone


def test_compensation_of_many_instances_is_gathered() -> None:
    """Between two maps, there are as many edges as instances, not as many as pairs."""
    template = parse_template(
        """
name: wide
steps:
  - {name: a, map: {over: input.list}, compensate: undo}
  - {name: b, dependencies: [a], map: {over: input.list}, compensate: undo}
"""
    )
    graph = Graph(template)
    steps = [
        CompensationCandidate(1000 * spawner + instance, body.first, spawner, instance)
        for spawner, body in graph.layout.bodies.items()
        for instance in range(200)
    ]

    made = plan_compensating_steps(graph, steps)

    assert 400 < len(made) < 405
    assert sum(len(step.children) for step in made) < 405


def test_a_python_workflow_declares_compensating_functions() -> None:
    flow = order([])

    with pytest.raises(Misuse, match="has no step 'chrge' yet; did you mean 'charge'"):
        flow.compensate("chrge")


async def test_a_compensating_function_is_checked_like_a_step_function(store: Store) -> None:
    """It gets the results of that step and of those before it, not of later ones."""
    flow = order([])

    @flow.step
    def bill() -> None: ...

    @flow.compensate(bill)
    def unbill(ship: Annotated[Any, Result("ship")]) -> None: ...

    with pytest.raises(Misuse, match=r"bill\.compensation"):
        await asyncio.wait_for(Worker(store, [flow]).run(), 60)

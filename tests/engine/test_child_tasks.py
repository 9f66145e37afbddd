"""Steps that wait for the tasks that they create."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    LocalClient,
    PermanentError,
    Retry,
    RetryableError,
    SyncContext,
    TaskStatus,
    Template,
    Worker,
    open_store,
)
from tasker.client import Client
from tasker.errors import TaskFailed
from tasker.model import AttemptOutcome, StepSpec, Task, TaskFilter
from tasker.notices import Notice, StepWaiting
from tasker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=60)


def template(name: str) -> Template:
    return Template(namespace="n", name=name, version="1.0.0", steps=(StepSpec(name=name),))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite::memory:"
    return str(request.getfixturevalue("postgres_store_url"))


async def test_a_waiting_step_holds_no_slot(url: str) -> None:
    """
    With one slot, a parent can wait for a child that needs that slot.
    """

    async def parent(context: AsyncContext) -> object:
        child = await context.client.run("n.child", {"amount": 5})
        return {
            "of_child": child.id,
            "priority": child.priority,
            "attempt": context.attempt,
            "counted_attempts": context.counted_attempts,
        }

    def child(amount: int) -> int:
        return amount

    events: list[Notice] = []
    templates = [template("parent"), template("child")]
    async with (
        open_store(url, upgrade=True) as store,
        Worker(
            store,
            [{"parent": parent, "child": child}],
            templates=templates,
            settings=WorkerSettings(slots=1),
            observers=[events.append],
        ) as worker,
    ):
        task = await worker.client.run("n.parent", priority=3, timeout=SOON)
        children = await worker.client.tasks(TaskFilter(parent_id=task.id))
        steps = await worker.client.steps(task.id)
        history = await worker.client.attempts(task.id)

    assert TaskStatus.COMPLETE == task.status
    assert 1 == len(children)
    assert task.correlation_id == children[0].correlation_id
    expected = {"of_child": children[0].id, "priority": 3, "attempt": 2, "counted_attempts": 1}
    assert expected == steps[0].result
    assert [AttemptOutcome.PARKED, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert [children[0].id] == [event.awaits for event in events if isinstance(event, StepWaiting)]


async def test_a_sync_handler_can_wait_too(url: str) -> None:
    """
    In a thread the same call parks the step.
    """

    def child(amount: int) -> int:
        return amount

    def parent(context: SyncContext) -> object:
        return context.client.run("n.child", {"amount": 7}).id

    templates = [template("parent"), template("child")]
    async with (
        open_store(url, upgrade=True) as store,
        Worker(
            store,
            [{"parent": parent, "child": child}],
            templates=templates,
            settings=WorkerSettings(slots=1),
        ) as worker,
    ):
        task = await worker.client.run("n.parent", timeout=SOON)
        children = await worker.client.tasks(TaskFilter(parent_id=task.id))
        steps = await worker.client.steps(task.id)

    assert [child.id for child in children] == [step.result for step in steps]


async def test_a_step_cannot_wait_for_its_own_task(url: str) -> None:
    """The step fails instead of waiting for ever."""

    async def own(context: AsyncContext) -> None:
        await context.client.wait(context.task_id)

    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"own": own}], templates=[template("own")]) as worker,
    ):
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.own", timeout=SOON)
        [step] = await worker.client.steps(failed.value.task.id)

    assert 1 == step.attempts
    assert "cannot wait for its own task" in str(step.error)


async def test_a_parent_and_its_child_cannot_wait_for_each_other(url: str) -> None:
    """
    The wait that would close the circle fails its step, and so the other wait ends.
    """

    async def parent(context: AsyncContext) -> None:
        await context.client.run("n.child", {})

    async def child(context: AsyncContext) -> None:
        assert context.parent_id
        await context.client.wait(context.parent_id)

    templates = [template("parent"), template("child")]
    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"parent": parent, "child": child}], templates=templates) as worker,
    ):
        task = await worker.client.create_task("n.parent")
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        tasks = await worker.client.tasks()
        errors = [(await worker.client.steps(each.id))[0].error for each in tasks]

    assert "wait_cycle" in [error and error["code"] for error in errors]


async def test_a_cancelled_child_fails_its_parent(url: str) -> None:
    """
    The wait ends with TaskFailed, like anywhere else.
    """
    seen: list[str] = []

    async def parent(context: AsyncContext) -> None:
        child = await context.client.create_task("n.child", {})
        try:
            await context.client.wait(child.id)
        except TaskFailed as error:
            seen.append(error.task.status)

    async with open_store(url, upgrade=True) as store:
        await LocalClient(store).register(template("child"))  # nobody runs it
        async with Worker(store, [{"parent": parent}], templates=[template("parent")]) as worker:
            task = await worker.client.create_task("n.parent")
            while not (waiting := await worker.client.tasks(TaskFilter(parent_id=task.id))):
                pass
            await worker.client.cancel(waiting[0].id, reason="test")
            task = await worker.client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status
    assert ["cancelled"] == seen


async def test_the_step_of_a_parent_has_the_cause_of_its_childs_failure(url: str) -> None:
    """
    Step, type, message and code, in its text and as details.
    """

    async def parent(context: AsyncContext) -> None:
        await context.client.run("n.child", {})

    def child() -> None:
        raise PermanentError("the card was declined", code="DECLINED")

    own = Template(
        namespace="n",
        name="parent",
        version="1.0.0",
        steps=(StepSpec(name="parent", retry=Retry(retryable=False)),),
    )
    async with (
        open_store(url, upgrade=True) as store,
        Worker(
            store,
            [{"parent": parent, "child": child}],
            templates=[own, template("child")],
        ) as worker,
    ):
        with pytest.raises(TaskFailed, match="step 'child' failed"):
            await worker.client.run("n.parent", timeout=SOON)
        tasks = {task.template.name: task for task in await worker.client.tasks()}
        [step] = await worker.client.steps(tasks["parent"].id)

    assert step.error is not None
    assert ("TaskFailed", "task_failed") == (step.error["type"], step.error["code"])
    assert {
        "task_id": tasks["child"].id,
        "template": "n.child@1.0.0",
        "step": "child",
        "type": "PermanentError",
        "message": "the card was declined",
        "code": "DECLINED",
    } == step.error["details"]
    assert "PermanentError: the card was declined (DECLINED)" in str(step.error["message"])


# ------------------------------------------------------------------ ctx.run_task


async def run_parent(url: str, parent: object, child: object, **options: Any) -> Task:
    """Run a task whose step runs `n.child`."""
    retry = Retry(max_attempts=3, initial_delay=timedelta(0), backoff="none")
    steps = (StepSpec(name="parent", retry=retry),)
    flow = Template(namespace="n", name="parent", version="1.0.0", steps=steps)
    broken = replace(
        template("child"), steps=(StepSpec(name="child", retry=Retry(max_attempts=1)),)
    )
    async with (
        open_store(url, upgrade=True) as store,
        Worker(
            store,
            [{"parent": parent, "child": child}],
            templates=[flow, broken],
            settings=WorkerSettings(slots=1),
        ) as worker,
    ):
        return await worker.client.run("n.parent", timeout=SOON, **options)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_handler_receives_the_results_of_tasks_by_name(url: str, blocking: bool) -> None:
    """Each task is created once, and later attempts do not read it again."""
    ran: list[int] = []

    async def parent(ctx: AsyncContext) -> object:
        results = [await ctx.run_task("n.child@^1", {"amount": n}) for n in range(2)]
        if ctx.counted_attempts == 1:
            raise RetryableError("after both")
        return results

    def sync_parent(ctx: SyncContext) -> object:
        return [ctx.run_task("n.child", {"amount": n}, call_name=f"run-{n}") for n in range(2)]

    def child(amount: int) -> int:
        ran.append(amount)
        return amount * 10

    task = await run_parent(url, sync_parent if blocking else parent, child)

    assert [0, 10] == task.result
    assert [0, 1] == ran


async def test_a_failed_child_fails_the_step_permanently(url: str) -> None:
    """Its cause reaches the parent."""
    attempts: list[int] = []

    async def parent(ctx: AsyncContext) -> None:
        attempts.append(ctx.attempt)
        await ctx.run_task("n.child")

    def child() -> None:
        raise PermanentError("no such account", code="NO_ACCOUNT")

    with pytest.raises(TaskFailed) as failure:
        await run_parent(url, parent, child)

    assert failure.value.task.failure is not None
    assert "task_failed" == failure.value.task.failure.code
    assert "no such account (NO_ACCOUNT)" in failure.value.task.failure.message
    assert [1, 2] == attempts


async def test_a_failed_child_is_retried_if_the_step_says_so(url: str) -> None:
    """It is retried up to the attempts of the step."""
    failures = [True, True, False]

    async def parent(ctx: AsyncContext) -> object:
        return await ctx.run_task("n.child", retry="child")

    def child() -> str:
        if failures.pop(0):
            raise PermanentError("not yet")
        return "done"

    assert "done" == (await run_parent(url, parent, child)).result

    failures[:] = [True, True, True, False]
    with pytest.raises(TaskFailed, match="not yet"):
        await run_parent(url, parent, child)


@pytest.mark.parametrize("detached", [False, True])
async def test_a_child_is_cancelled_with_its_parent_unless_it_is_detached(
    url: str, detached: bool
) -> None:
    async def parent(ctx: AsyncContext) -> None:
        await ctx.run_task("n.child", detached=detached)

    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"parent": parent}], templates=[template("parent")]) as worker,
    ):
        await LocalClient(store).register(template("child"))
        task = await worker.client.create_task("n.parent")
        await eventually(lambda: _waits(worker.client, task.id))
        await worker.client.cancel(task.id)
        [child] = await worker.client.tasks(TaskFilter(parent_id=task.id))

    assert (TaskStatus.PENDING if detached else TaskStatus.CANCELLED) is child.status


async def _waits(client: Client, task_id: str) -> bool:
    return (await client.get(task_id)).counts.waiting == 1

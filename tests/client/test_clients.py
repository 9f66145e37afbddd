"""What a client promises, proven of each: over a store, over an application, over a server."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from tests.client.conftest import Scene
from tests.waiting import eventually

from tasker import Client, Task, TaskRequest, Template
from tasker.client import LocalClient
from tasker.errors import (
    IdempotencyConflict,
    InvalidInput,
    InvalidTemplate,
    NotFound,
    TaskChanged,
    TaskerError,
    TaskExists,
    TaskFailed,
    TaskRegistrationError,
    TemplateNotApproved,
    TooLarge,
    WaitTimeout,
    WrongStatus,
)
from tasker.model import (
    AttemptOutcome,
    CompensationStatus,
    Retry,
    StepCounts,
    StepOverride,
    StepSpec,
    StepStatus,
    TaskFailure,
    TaskFilter,
    TaskStatus,
    TemplateStatus,
)
from tasker.step_logs import NewLogRecord
from tasker.teams.model import NamespacePolicy

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=60)  #: only a test that fails takes so long
UNKNOWN_TASK = "00000000-0000-7000-8000-000000000000"

GREETING = Template(
    namespace="hello",
    name="greeting",
    version="1.2.0",
    description="Greets",
    steps=(StepSpec(name="greet"), StepSpec(name="shout", dependencies=("greet",))),
    input_schema={
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "polite": {"default": True}},
    },
)
PAYMENT = Template(
    namespace="hello",
    name="payment",
    version="1.0.0",
    steps=(StepSpec(name="refuse"), StepSpec(name="after", dependencies=("refuse",))),
)


@dataclass(frozen=True)
class Shout:
    """A result as its reader wants it."""

    text: str
    at: date


async def registered(scene: Scene) -> Client:
    for template in (GREETING, PAYMENT):
        await scene.client.register(template)
    return scene.client


async def refusal(client: Client, template: str, context: object, **options: object) -> TaskerError:
    with pytest.raises(TaskerError) as caught:
        await client.create_task(template, context, **options)  # type: ignore[call-overload]
    return caught.value


async def test_a_created_task_is_read_as_it_was_returned(scene: Scene) -> None:
    """This includes the caller's idempotency key."""
    client = await registered(scene)
    later = datetime.now(UTC).replace(microsecond=123000) + timedelta(hours=1)

    parent = await client.create_task("hello.greeting", {"name": "Bob"})
    created = await client.create_task(
        "hello.greeting@^1",
        {"name": "Ann"},
        idempotency_key="ann-1",
        correlation_id="visit-7",
        parent_id=parent.id,
        created_by="reception",
        reason="she came in",
        tags=("vip", "front desk"),
        run_at=later,
        deadline=timedelta(hours=2),
    )
    read = await client.get(created.id)

    assert GREETING.key == read.template
    assert {"name": "Ann", "polite": True} == read.context
    assert ("ann-1", "visit-7", parent.id) == (
        read.idempotency_key,
        read.correlation_id,
        read.parent_id,
    )
    assert ("reception", "she came in", ("vip", "front desk")) == (
        read.created_by,
        read.reason,
        read.tags,
    )
    assert TaskStatus.PENDING is read.status
    assert StepCounts(enqueued=1, pending=1) == read.counts
    assert (None, None, True) == (read.ended_at, read.error, created.created)
    assert timedelta(hours=2) == (read.deadline or read.created_at) - read.created_at
    assert read.created_at == created.created_at
    assert [later, None] == [step.run_at for step in await client.steps(created.id)]


@pytest.mark.parametrize("delay", [5400, timedelta(minutes=90), "1h30m"])
async def test_a_task_starts_after_its_delay(scene: Scene, delay: float | timedelta | str) -> None:
    client = await registered(scene)

    created = await client.create_task("hello.greeting", {"name": "A"}, delay=delay, deadline="2h")

    [first, _] = await client.steps(created.id)
    assert first.run_at is not None
    early = created.created_at + timedelta(minutes=90) - first.run_at
    assert timedelta(0) <= early < SOON
    assert created.created_at + timedelta(hours=2) == created.deadline


async def test_a_delay_of_zero_starts_immediately(scene: Scene) -> None:
    client = await registered(scene)

    created = await client.create_task("hello.greeting", {"name": "A"}, delay=0)

    [first, _] = await client.steps(created.id)
    assert first.run_at == created.created_at


async def test_a_task_without_a_correlation_id_gets_a_new_one(scene: Scene) -> None:
    client = await registered(scene)

    created = await client.create_task("hello.greeting", {"name": "Ann"})

    assert created.id == created.correlation_id
    assert "anonymous" == created.created_by


async def test_one_key_creates_one_task(scene: Scene) -> None:
    """The second creation returns the first task; other content under the key is refused."""
    client = await registered(scene)

    first = await client.create_task("hello.greeting", {"name": "Ann"}, idempotency_key="k")
    again = await client.create_task("hello.greeting", {"name": "Ann"}, idempotency_key="k")
    other = await refusal(client, "hello.greeting", {"name": "Bob"}, idempotency_key="k")

    assert (first.id, True, False) == (again.id, first.created, again.created)
    assert IdempotencyConflict is type(other)
    assert 1 == len(await client.tasks())


async def test_a_taken_key_is_rejected_or_its_task_replaced(scene: Scene) -> None:
    """The rejection names the task; the replaced task is cancelled."""
    client = await registered(scene)
    first = await client.create_task("hello.greeting", {"name": "Ann"}, idempotency_key="k")

    rejected = await refusal(
        client, "hello.greeting", {"name": "Ann"}, idempotency_key="k", if_exists="reject"
    )
    second = await client.create_task(
        "hello.greeting", {"name": "Bob"}, idempotency_key="k", if_exists="replace"
    )

    assert (TaskExists, "k", first.id) == (
        type(rejected),
        getattr(rejected, "key", None),
        getattr(rejected, "task_id", None),
    )
    assert f"the idempotency key 'k' already belongs to task {first.id}" == str(rejected)
    assert (True, {"name": "Bob", "polite": True}) == (second.created, second.context)
    assert TaskStatus.CANCELLED is (await client.get(first.id)).status


async def test_a_key_may_be_held_only_while_the_task_is_open(scene: Scene) -> None:
    client = await registered(scene)

    def create() -> Awaitable[Task]:
        return client.create_task(
            "hello.greeting", {"name": "Ann"}, idempotency_key="k", unique_while="open"
        )

    first, again = await create(), await create()
    await client.cancel(first.id)
    second = await create()

    assert (first.id, True) == (again.id, second.created)
    assert first.id != second.id


async def test_an_action_on_a_changed_task_is_refused(scene: Scene) -> None:
    """
    Each action takes the ETag of the task as it was read.
    """
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})
    etag = (await client.get(task.id)).etag
    changed = await client.complete_step(task.id, "greet", "Hi", if_match=etag)

    for action in (
        client.cancel(task.id, if_match=etag),
        client.retry(task.id, if_match=etag),
        client.resolve(task.id, if_match=etag),
        client.resolve(task.id, "shout", if_match=etag),
        client.complete_step(task.id, "shout", "HI", if_match=etag),
        client.skip_step(task.id, "shout", if_match=etag),
    ):
        with pytest.raises(TaskChanged) as caught:
            await action
        assert (task.id, changed.etag) == (caught.value.task_id, caught.value.etag)
    cancelled = await client.cancel(task.id, if_match=changed.etag)

    assert (None, TaskStatus.CANCELLED) == (task.etag, cancelled.status)


async def test_many_tasks_are_changed_by_one_operation(scene: Scene) -> None:
    """Those of a filter, or of a list of ids; a preview only counts."""
    client = await registered(scene)
    ids = [(await client.create_task("hello.payment", tags=("red",))).id for _ in range(3)]
    other = await client.create_task("hello.payment")
    red = TaskFilter(tag="red", created_after=other.created_at - timedelta(minutes=1))

    preview = await client.bulk.preview("cancel", red)
    first = await client.bulk.start("cancel", ids=ids[:1], reason="wrong")
    await carry_on(scene)
    rest = await client.bulk.start("cancel", red, token=preview.token, per_second=1_000)
    repeated = await client.bulk.start("cancel", red, token=preview.token)
    await carry_on(scene)
    again = await client.bulk.start("cancel", ids=ids[:1])
    await carry_on(scene)

    assert (3, True, {"pending": 3}, {"hello.payment": 3}, {}, ids[::-1]) == (
        *(preview.matches, preview.exact, preview.by_status, preview.by_template),
        *(preview.rejected, preview.sample),
    )
    assert (first.id, 2) == ((await client.bulk.get(first.id)).id, rest.matches)
    assert (rest.id, 1_000) == (repeated.id, repeated.per_second)
    ended = [await client.bulk.wait(one.id, 10) for one in (first, rest, again)]
    assert [(1, {}), (2, {}), (0, {"wrong_status": 1})] == [
        (one.changed, one.rejected) for one in ended
    ]
    assert [again.id, first.id, rest.id] == [one.id for one in await client.bulk.list()]
    assert TaskStatus.PENDING is (await client.get(other.id)).status
    (entry,) = await client.task_audit(ids[0])
    assert ("wrong", first.id) == (entry.reason, entry.bulk_id)
    with pytest.raises(WrongStatus):
        await client.bulk.stop(rest.id)


async def carry_on(scene: Scene) -> None:
    """Carry all operations on to their ends."""
    while await LocalClient(scene.store).bulk.execute_batch_if_due() is not None:
        pass


@pytest.mark.parametrize(
    "tasks", [{}, {"filter": TaskFilter()}, {"filter": TaskFilter(tag="x"), "ids": [UNKNOWN_TASK]}]
)
async def test_an_operation_selects_tasks_either_by_ids_or_by_filter(
    scene: Scene, tasks: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await scene.client.bulk.start("cancel", **tasks)


async def test_an_operation_with_a_missing_task_is_not_started(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.payment")

    with pytest.raises(NotFound):
        await client.bulk.start("cancel", ids=[task.id, UNKNOWN_TASK])

    assert [] == await client.bulk.list()


async def test_a_token_starts_only_what_its_preview_counted(scene: Scene) -> None:
    client = await registered(scene)
    preview = await client.bulk.preview("cancel", TaskFilter(name="payment"))

    with pytest.raises(InvalidInput, match="belongs to another request"):
        await client.bulk.start("cancel", TaskFilter(name="other"), token=preview.token)
    reserved, digest = preview.token.split(".")
    for wrong in (f"{reserved[:-1]}x.{digest}", f"{UNKNOWN_TASK}.{digest}", digest):
        with pytest.raises(InvalidInput, match="dry run"):
            await client.bulk.start("cancel", TaskFilter(name="payment"), token=wrong)


async def test_options_for_idempotency_keys_need_a_key(scene: Scene) -> None:
    client = await registered(scene)

    error = await refusal(client, "hello.greeting", {"name": "Ann"}, if_exists="reject")

    assert (InvalidInput, "if_exists needs an idempotency_key") == (type(error), str(error))


async def test_a_task_has_the_title_and_the_attributes_of_its_template(scene: Scene) -> None:
    """With inputs and defaults filled in; absent and null inputs are left out."""
    client = scene.client
    await client.register(
        replace(
            PAYMENT,
            title="Pay {input.order.id} to {input.name}",
            attributes={
                "order": "input.order.id",
                "amount": "input.amount",
                "urgent": "input.urgent",
                "customer": "input.customer",
            },
        )
    )
    context = {"order": {"id": 7}, "name": "Ann", "amount": 12.0, "urgent": True, "customer": None}

    created = await client.create_task("hello.payment", context)
    (listed,) = await client.tasks()

    for task in (created, await client.get(created.id), listed):
        assert "Pay 7 to Ann" == task.title
        assert {"order": "7", "amount": "12", "urgent": "true"} == task.attributes


async def test_tasks_are_found_by_their_attributes(scene: Scene) -> None:
    client = scene.client
    await client.register(replace(PAYMENT, attributes={"order": "input.order", "to": "input.to"}))
    ids = [
        (await client.create_task("hello.payment", {"order": f"a={n}", "to": "Ann"})).id
        for n in range(2)
    ]

    assert ids[:1] == [task.id for task in await client.tasks(attributes={"order": "a=0"})]
    assert ids[1:] == [
        task.id for task in await client.tasks(attributes={"to": "Ann", "order": "a=1"})
    ]
    named = TaskFilter(name="payment", attributes={"to": "Ann"})
    assert ids[::-1] == [task.id for task in await client.tasks(named)]
    assert [] == await client.tasks(attributes={"to": "Bob"})


async def test_an_attribute_is_a_single_short_value(scene: Scene) -> None:
    client = scene.client
    await client.register(replace(PAYMENT, attributes={"order": "input.order"}))

    not_one = await refusal(client, "hello.payment", {"order": [1]})
    too_long = await refusal(client, "hello.payment", {"order": "x" * 1001})

    assert (InvalidInput, "$.order") == (type(not_one), getattr(not_one, "path", None))
    assert TooLarge is type(too_long)


async def test_creation_refuses_invalid_arguments(scene: Scene) -> None:
    """
    Errors have the same types, paths and messages, wherever the store is.
    """
    client = await registered(scene)

    no_name = await refusal(client, "hello.greeting", {})
    no_object = await refusal(client, "hello.greeting", ["Ann"])
    not_json = await refusal(client, "hello.payment", {"at": float("nan")})
    too_large = await refusal(client, "hello.payment", {"text": "x" * (1 << 20)})
    unknown = await refusal(client, "hello.greetin", {})
    version = await refusal(client, "hello.greeting", {"name": "Ann"}, version="9.0.0")
    nonsense = await refusal(client, "hello.greeting", {"name": "Ann"}, version="about 2")

    assert (InvalidInput, "$.name") == (type(no_name), getattr(no_name, "path", None))
    assert "$.name: is required" in str(no_name)
    assert InvalidInput is type(no_object)
    assert (InvalidInput, "$.at") == (type(not_json), getattr(not_json, "path", None))
    assert TooLarge is type(too_large)
    assert NotFound is type(unknown)
    assert "template hello.greetin not found; did you mean 'hello.greeting'?" == str(unknown)
    assert (NotFound, "no version of hello.greeting matches 9.0.0; available: 1.2.0") == (
        type(version),
        str(version),
    )
    assert InvalidInput is type(nonsense)


async def test_creating_tasks_is_atomic(scene: Scene) -> None:
    """
    One that does not fit keeps the others from being made, and the error tells which.
    """
    client = await registered(scene)
    good = TaskRequest(template="hello.greeting", context={"name": "Ann"}, tags=("bulk",))

    tasks = await client.create_tasks([good, good, good])
    with pytest.raises(InvalidInput) as caught:
        await client.create_tasks([good, TaskRequest(template="hello.greeting")])

    assert 3 == len({task.id for task in tasks})
    assert "$[1].name" == caught.value.path
    assert {task.id for task in tasks} == {task.id for task in await client.tasks()}
    assert [] == await client.create_tasks([])


async def test_a_task_runs_to_its_end(scene: Scene) -> None:
    """
    `run` returns the ended task with its result; steps and history can be read.
    """
    client = await registered(scene)

    async with scene.worker():
        task = await client.run("hello.greeting", {"name": "Ann"}, timeout=SOON)

    steps, history = await client.steps(task.id), await client.attempts(task.id)
    assert (TaskStatus.COMPLETE, 2, "HELLO ANN") == (
        task.status,
        task.counts.complete,
        task.result,
    )
    assert task == await client.get(task.id)
    assert [StepStatus.COMPLETE, StepStatus.COMPLETE] == [step.status for step in steps]
    assert [{"greeting": "Hello Ann"}, "HELLO ANN"] == [step.result for step in steps]
    assert [("greet", 1, AttemptOutcome.COMPLETE), ("shout", 1, AttemptOutcome.COMPLETE)] == [
        (attempt.step, attempt.attempt, attempt.outcome) for attempt in history
    ]
    assert history[1:] == await client.attempts(task.id, step="shout")
    timeline = await client.task_times(task.id)
    assert {attempt.step: attempt.ran for attempt in history} == {
        name: times.ran for name, times in timeline.steps.items()
    }
    assert task.ended_at is not None
    assert timeline.task.started_after is not None
    assert 0 < timeline.task.ran <= (task.ended_at - task.created_at).total_seconds()


async def test_steps_have_the_fields_of_their_template(scene: Scene) -> None:
    """Claimable and pending steps are shown before anything has run."""
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    first, second = await client.steps(task.id)
    timeline = await client.task_times(task.id)

    assert ("greet", (), 3, True) == (
        first.handler,
        first.dependencies,
        first.max_attempts,
        first.ready,
    )
    assert ("shout", ("greet",), 1, False) == (
        second.handler,
        second.dependencies,
        second.pending_parents,
        second.ready,
    )
    assert second.times == timeline.steps["shout"]


async def test_a_step_whose_attempt_failed_is_shown_as_waiting_for_its_retry(scene: Scene) -> None:
    client, retry = scene.client, Retry(initial_delay="1h", max_delay="1h")
    late = replace(PAYMENT, name="late", steps=(StepSpec(name="stumble", retry=retry),))
    await client.register(late)
    task = await client.create_task("hello.late")

    async def failed_once() -> bool:
        return bool((await client.get(task.id)).counts.waiting_for_retry)

    async with scene.worker():
        await eventually(failed_once)
    (step,) = await client.steps(task.id)

    assert (StepStatus.WAITING_FOR_RETRY, False, 1) == (step.status, step.ready, step.attempts)
    assert step.times is not None and step.times.backoff > 0


async def test_a_client_explains_why_a_task_does_not_run(scene: Scene) -> None:
    """It explains a task that was not claimed, and a single step."""
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    first, *rest = await client.why(task.id)
    (waits,) = await client.why(task.id, step="shout")

    assert ("no_worker", "greet", True) == (first.code, first.step, first.blocking)
    assert [] == rest
    assert "shout waits for greet." == waits.text
    with pytest.raises(NotFound):
        await client.why(task.id, step="none")


async def test_a_wait_raises_failures_and_has_a_timeout(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.payment")

    with pytest.raises(WaitTimeout, match=f"task {task.id} is still pending"):
        await client.wait(task.id, timeout=timedelta(seconds=0.05))
    async with scene.worker():
        with pytest.raises(TaskFailed, match="the card was declined") as caught:
            await client.wait(task.id, timeout=SOON)

    failed = caught.value.task
    assert TaskStatus.ERROR is failed.status
    assert (
        TaskFailure(
            step="refuse", type="PermanentError", message="the card was declined", code="DECLINED"
        )
        == failed.failure
    )
    assert failed == await client.get(task.id)
    assert (
        f"task {task.id} of hello.payment@1.0.0 ended as error:"
        " step 'refuse' failed: PermanentError: the card was declined (DECLINED)"
    ) == str(caught.value)


async def test_a_result_can_be_read_as_a_type(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    await client.complete_step(task.id, "greet", {"greeting": "Hi"})
    completed = await client.complete_step(task.id, "shout", {"text": "HI", "at": "2026-01-01"})

    assert Shout(text="HI", at=date(2026, 1, 1)) == completed.result_as(Shout)
    with pytest.raises(ValidationError):
        task.result_as(Shout)


async def test_a_skipped_step_passes_none_to_its_children(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.payment")
    async with scene.worker():
        with pytest.raises(TaskFailed):
            await client.wait(task.id, timeout=SOON)

    skipped = await client.skip_step(task.id, "refuse", reason="paid already")
    async with scene.worker():
        ended = await client.wait(task.id, timeout=SOON)

    assert TaskStatus.IN_PROGRESS is skipped.status
    assert TaskStatus.COMPLETE is ended.status
    refuse = (await client.steps(task.id))[0]
    assert (StepStatus.RESOLVED_MANUALLY, None) == (refuse.status, refuse.result)
    assert [("skip", "paid already")] == [
        (entry.action, entry.reason) for entry in await client.task_audit(task.id)
    ]


async def test_many_may_wait_for_one_task(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    waiting = [asyncio.create_task(client.wait(task.id, timeout=SOON)) for _ in range(20)]
    async with scene.worker():
        ended = await asyncio.gather(*waiting)

    assert [TaskStatus.COMPLETE] * 20 == [one.status for one in ended]


async def test_an_operator_completes_a_failed_task(scene: Scene) -> None:
    """
    Retry, resolve and complete act; the audit keeps who did what, and why.
    """
    client = await registered(scene)
    task = await client.create_task("hello.payment")
    async with scene.worker():
        with pytest.raises(TaskFailed):
            await client.wait(task.id, timeout=SOON)
    retried = await client.retry(task.id, steps=["refuse"], reason="the bank is back")
    async with scene.worker():
        with pytest.raises(TaskFailed):
            await client.wait(task.id, timeout=SOON)

    resolved = await client.resolve(task.id, "refuse", {"paid": True}, reason="paid in cash")
    completed = await client.complete_step(task.id, "after", [1, 2], reason="done by hand")

    assert TaskStatus.IN_PROGRESS is retried.status
    assert TaskStatus.IN_PROGRESS is resolved.status
    assert TaskStatus.COMPLETE is completed.status
    assert [{"paid": True}, [1, 2]] == [step.result for step in await client.steps(task.id)]
    assert [
        ("anonymous", "the bank is back"),
        ("anonymous", "paid in cash"),
        ("anonymous", "done by hand"),
    ] == [(entry.actor, entry.reason) for entry in await client.task_audit(task.id)]


async def test_a_failed_task_can_be_resolved(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.payment")
    async with scene.worker():
        with pytest.raises(TaskFailed):
            await client.wait(task.id, timeout=SOON)

    resolved = await client.resolve(task.id, reason="not worth it")

    assert TaskStatus.RESOLVED_MANUALLY is resolved.status


async def test_a_cancelled_task_is_cancelled_once(scene: Scene) -> None:
    """
    The refusal carries the current status and the statuses that would allow the action.
    """
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    cancelled = await client.cancel(task.id, reason="she left")
    with pytest.raises(WrongStatus) as caught:
        await client.cancel(task.id)

    assert TaskStatus.CANCELLED is cancelled.status
    assert ("cancelled", "cancel") == (caught.value.status, caught.value.action)
    assert ("in_progress", "pending") == caught.value.allowed
    assert f"cannot cancel task {task.id}: it is cancelled, not in_progress or pending" == str(
        caught.value
    )


async def test_missing_objects_are_not_found(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    for asked in (
        client.get(UNKNOWN_TASK),
        client.steps(UNKNOWN_TASK),
        client.attempts(UNKNOWN_TASK),
        client.task_times(UNKNOWN_TASK),
        client.task_audit(UNKNOWN_TASK),
        client.cancel(UNKNOWN_TASK),
        client.retry(UNKNOWN_TASK),
        client.wait(UNKNOWN_TASK, timeout=SOON),
        client.attempts(task.id, step="nope"),
        client.resolve(task.id, "nope"),
        client.template("hello.nothing"),
    ):
        with pytest.raises(NotFound):
            await asked


async def test_lists_show_matching_tasks_with_the_newest_first(scene: Scene) -> None:
    """For any page size and any starting point."""
    client = await registered(scene)
    request = TaskRequest(template="hello.greeting", context={"name": "Ann"})
    tasks = await client.create_tasks([request] * 120)
    tagged = await client.create_task(
        "hello.payment", tags=("a",), correlation_id="c", idempotency_key="k"
    )
    await client.cancel(tagged.id)

    newest = [tagged.id, *sorted((task.id for task in tasks), reverse=True)]
    assert newest == [task.id for task in await client.tasks(limit=1000)]
    assert newest[:110] == [task.id for task in await client.tasks(limit=110)]
    assert newest[31:41] == [task.id for task in await client.tasks(after=newest[30], limit=10)]
    for filter in (
        TaskFilter(name="payment"),
        TaskFilter(tag="a"),
        TaskFilter(idempotency_key="k"),
        TaskFilter(correlation_id="c"),
        TaskFilter(status=TaskStatus.CANCELLED),
        TaskFilter(namespace="hello", name="payment", version="1.0.0"),
    ):
        assert [tagged.id] == [task.id for task in await client.tasks(filter)]
    assert [] == await client.tasks(TaskFilter(namespace="elsewhere"))
    assert [] == await client.tasks(TaskFilter(failed_step="charge"))
    assert [] == await client.tasks(TaskFilter(error_code="LOCKED"))
    assert [] == await client.tasks(TaskFilter(compensation=CompensationStatus.INCOMPLETE))
    assert [] == await client.tasks(
        TaskFilter(created_before=tagged.created_at - timedelta(days=1))
    )


async def test_templates_are_registered_once_and_read_back(scene: Scene) -> None:
    """Repeating a registration has no effect; other content under the version is refused."""
    client = scene.client

    first = await client.register(GREETING)
    again = await client.register(GREETING)
    changed = Template(namespace="hello", name="greeting", version="1.2.0", steps=PAYMENT.steps)
    with pytest.raises(TaskRegistrationError, match="with version 1"):
        await client.register(changed)
    replaced = await client.register(changed, replace=True)

    assert (GREETING, True, False) == (first.stored.template, first.created, again.created)
    assert first.stored == again.stored
    assert changed == replaced.stored.template
    assert [replaced.stored] == await client.templates("hello")
    assert replaced.stored == await client.template("hello.greeting")
    assert replaced.stored == await client.template("hello.greeting", "^1.2")


async def test_registering_templates_is_atomic(scene: Scene) -> None:
    """They are returned in the order given, each marked as new or not."""
    client = scene.client
    await client.register(GREETING)
    other = replace(GREETING, name="other")
    changed = replace(GREETING, description="changed")

    with pytest.raises(TaskRegistrationError, match="greeting"):
        await client.register_all([replace(other, version="2.0.0"), changed])
    registered = await client.register_all([other, GREETING])

    assert [(other, True), (GREETING, False)] == [
        (one.stored.template, one.created) for one in registered
    ]
    assert 2 == len(await client.templates("hello"))
    assert [] == await client.register_all([])


def _after(name: str, dependency: str) -> StepSpec:
    return StepSpec(name=name, dependencies=(dependency,))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {
                "steps": (
                    StepSpec(name="a", dependencies=("b",)),
                    StepSpec(name="b", dependencies=("a",)),
                )
            },
            "a -> b -> a",
        ),
        ({"steps": (_after("a", "b"),)}, "'b', which is not a step"),
        ({"steps": (_after("a", "a"),)}, "depends on itself"),
        ({"environments": {"test": {"nowhere": StepOverride(config={})}}}, "'nowhere' is not"),
        ({"version": "two"}, "two"),
    ],
)
async def test_an_invalid_template_is_refused_and_not_stored(
    scene: Scene, wrong: dict[str, Any], problem: str
) -> None:
    """Templates made in Python are checked like texts."""
    with pytest.raises(InvalidTemplate, match=problem):
        await scene.client.register(replace(GREETING, **wrong))

    assert [] == await scene.client.templates("hello")


async def test_a_pending_version_accepts_no_tasks(scene: Scene) -> None:
    """
    The policy and the error name the approvers.
    """
    client = scene.client
    policy = NamespacePolicy(
        namespace="hello", requires_approval=True, approvers=("sarah@example.com",)
    )

    declared = await client.put_policy(policy, reason="it is shared")
    registered = await client.register(GREETING)
    with pytest.raises(TemplateNotApproved, match="sarah") as caught:
        await client.create_task("hello.greeting", {"name": "Ann"})

    assert TemplateStatus.PENDING_REVIEW is registered.stored.status
    assert ("hello.greeting@1.2.0", "pending_review", ("sarah@example.com",)) == (
        caught.value.template,
        caught.value.status,
        caught.value.approvers,
    )
    assert declared == await client.policy("hello")
    assert None is await client.policy("elsewhere")
    assert ["default", "hello"] == [info.name for info in await client.namespaces()]
    assert [TemplateStatus.PENDING_REVIEW] == [
        version.status for version in await client.template_versions("hello")
    ]
    with pytest.raises(TemplateNotApproved):
        await client.template("hello.greeting@1.2.0")
    assert ["register_template", "put_policy"] == [
        event.action for event in await client.namespace_audit("hello")
    ]


async def test_a_retired_version_gets_no_new_tasks_until_it_is_restored(scene: Scene) -> None:
    client = await registered(scene)

    retired = await client.retire("hello.greeting@1.2.0", reason="too loud")
    with pytest.raises(TaskerError):
        await client.create_task("hello.greeting", {"name": "Ann"})
    restored = await client.restore("hello.greeting@1.2.0")

    assert (TemplateStatus.RETIRED, "too loud") == (retired.status, retired.reason)
    assert TemplateStatus.APPROVED is restored.status
    assert (await client.create_task("hello.greeting", {"name": "Ann"})).created
    with pytest.raises(WrongStatus):
        await client.restore("hello.greeting@1.2.0")


async def test_the_steps_of_a_task_are_read_page_by_page(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client asks for pages of the size that the server allows."""
    monkeypatch.setattr("tasker.client.http.STEPS_PAGE", 1)
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})

    first = await client.steps(task.id, limit=1)
    later = await client.steps(task.id, after=first[0].no, limit=10)

    assert ["greet"] == [step.name for step in first]
    assert ["shout"] == [step.name for step in later]
    assert ["greet", "shout"] == [step.name for step in await client.steps(task.id)]
    assert [] == await client.steps(task.id, after=2)


async def test_logs_are_read_in_pages_and_by_step_level_and_text(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.greeting", {"name": "Ann"})
    made = [
        NewLogRecord(task.id, no, 1, number, 1_700_000_000.5 + number, level, "shop", message)
        for number, (no, level, message) in enumerate(
            [(1, logging.INFO, "first"), (2, logging.ERROR, "second"), (1, logging.INFO, "third")]
        )
    ]
    await scene.store.append_logs(made)

    async def get_messages(**filters: Any) -> list[str]:
        page = await client.logs(task.id, **filters)
        return [record.message for record in page.records]

    page = await client.logs(task.id, limit=2)
    rest = await client.logs(task.id, limit=2, cursor=page.next_cursor)
    assert (["first", "second"], ["third"], None) == (
        [record.message for record in page.records],
        [record.message for record in rest.records],
        rest.next_cursor,
    )
    first = page.records[0]
    assert ("greet", "info", "shop") == (first.step, first.level, first.source)
    assert ["second"] == await get_messages(step="shout")
    assert ["second"] == await get_messages(level="warning")
    assert ["third"] == await get_messages(text="THI", step="greet", attempt=1)
    assert ["third", "second", "first"] == await get_messages(newest_first=True)
    assert ["third"] == await get_messages(since=rest.records[0].at)
    for wrong in ({"level": "loud"}, {"cursor": "x"}):
        with pytest.raises(InvalidInput):
            await client.logs(task.id, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await client.logs(task.id, step="nope")
    with pytest.raises(NotFound):
        await client.logs(UNKNOWN_TASK)

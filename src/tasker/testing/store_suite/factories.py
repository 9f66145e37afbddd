"""Templates, tasks and manually controlled workers for the tests of the suite."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

import pytest

from tasker import codec
from tasker.model import (
    Claim,
    JsonText,
    NewTask,
    Outcome,
    QueueId,
    SettleResult,
    Step,
    StepSpec,
    StepStatus,
    Task,
    TaskId,
    Template,
    TemplateId,
    WorkerId,
    completed_outcome,
    failed_outcome,
    retry_outcome,
)
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.subject import StoreUnderTest

ACT = AuditNote(actor="alice", reason="because")
LEASE = timedelta(seconds=30)
ERROR = JsonText('{"message":"it broke"}')
UNKNOWN_TASK = TaskId("01890a5d-ac96-774b-bcce-b302099a8057")  #: the id of no task
SECOND = timedelta(seconds=1)


@pytest.mark.anyio
class StoreTests:
    """Tests of one topic. Needs a fixture `subject` that makes a `StoreUnderTest`."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def store(self, subject: StoreUnderTest) -> AsyncIterator[Store]:
        """An empty store, whose tables must not contradict each other after the test."""
        async with subject.connect() as store:
            if not (await store.schema_status()).is_ready:
                await store.upgrade_schema()
            yield store
        assert [] == list(await subject.find_contradictions())

    @pytest.fixture
    async def stores(self, subject: StoreUnderTest, store: Store) -> AsyncIterator[Sequence[Store]]:
        """Three store objects on one database, or one object three times if it cannot be shared."""
        if not subject.shared:
            yield [store] * 3
            return
        async with subject.connect() as second, subject.connect() as third:
            opened = [store, second, third]
            for each in opened:
                await subject.wait_until_listening(each)
            yield opened


# ------------------------------------------------------------------ templates


def make_template(name: str = "graph", version: str = "1.0.0", /, **steps: str) -> Template:
    """Make a template; each keyword names a step and its dependencies, as in `c="a b"`."""
    return Template(
        namespace="suite",
        name=name,
        version=version,
        steps=tuple(
            StepSpec(name=step, dependencies=tuple(waits.split())) for step, waits in steps.items()
        ),
    )


def one_step_template(name: str = "one") -> Template:
    """Make a template with a single step."""
    return make_template(name, only="")


def chain_template() -> Template:
    """Make the template a > b > c."""
    return make_template("chain", a="", b="a", c="b")


def diamond_template() -> Template:
    """Make the template a > b and c > d."""
    return make_template("diamond", a="", b="a", c="a", d="b c")


def fan_template(width: int) -> Template:
    """Make the template start > `width` parallel steps > end."""
    between = [f"between_{number}" for number in range(width)]
    steps = {"start": "", **dict.fromkeys(between, "start"), "end": " ".join(between)}
    template = make_template("fan", **steps)
    handlers = dict.fromkeys(between, "between")  # a queue for all of them, not one for each
    return replace(
        template,
        steps=tuple(replace(spec, callable=handlers.get(spec.name)) for spec in template.steps),
    )


async def register_template(store: Store, template: Template) -> TemplateId:
    """Register a template."""
    return (await store.register_template(template, registered_by="suite")).stored.id


# ---------------------------------------------------------------------- tasks


def make_new_task(template: TemplateId, context: object = None, **fields: Any) -> NewTask:
    """Make a task to create; `fields` are further fields of `NewTask`."""
    task_id = codec.new_task_id()
    text = codec.dumps({} if context is None else context)
    fields = {"id": task_id, "correlation_id": task_id, "context": text, **fields}
    return NewTask(template_id=template, **fields)


async def create_task(
    store: Store, template: TemplateId, context: object = None, **fields: Any
) -> TaskId:
    """Create a task."""
    created = await store.create_tasks([make_new_task(template, context, **fields)])
    return created.tasks[0][0]


async def register_and_create_task(store: Store, template: Template, **fields: Any) -> TaskId:
    """Register a template and create a task of it."""
    return await create_task(store, await register_template(store, template), **fields)


async def steps_by_name(store: Store, task_id: TaskId) -> Mapping[str, Step]:
    """Read the steps of a task, by name."""
    return {step.name: step for step in await store.list_steps(task_id)}


async def statuses_by_name(store: Store, task_id: TaskId) -> Mapping[str, str]:
    """Read the statuses of a task's steps, by name."""
    return {step.name: step.status.value for step in await store.list_steps(task_id)}


# -------------------------------------------------------------------- workers


class ManualWorker:
    """A worker that claims and settles on demand."""

    def __init__(self, store: Store, worker: WorkerId, queues: Sequence[QueueId]) -> None:
        self.store = store
        self.id = worker
        self.queues = queues

    @classmethod
    async def register(
        cls,
        store: Store,
        name: str = "worker",
        *,
        lease: timedelta = LEASE,
        handlers: Collection[str] | None = None,
        serves: bool = True,
    ) -> Self:
        """Register a worker for the existing queues of `handlers`, or for all queues if None.

        Without `serves`, the store does not know yet which queues the worker serves.
        """
        queues = [
            queue.base
            for queue in await store.list_queues()
            if handlers is None or queue.handler in handlers
        ]
        worker = await store.register_worker(
            name, lease=lease, slots=100, handlers=sorted(handlers or ())
        )
        if serves:
            await store.add_served_queues(worker, queues)
        return cls(store, worker, queues)

    async def claim(self, limit: int = 1000) -> list[Claim]:
        """Claim due steps."""
        return list((await self.store.claim(self.id, limit)).claims)

    async def claim_limited(self, limit: int = 1000) -> list[Claim]:
        """Claim the steps that their limits allow to start."""
        return list((await self.store.claim_limited_steps(self.id, limit)).claims)

    async def claim_one(self) -> Claim:
        """Claim all that is due, which must be one step."""
        (claim,) = await self.claim()
        return claim

    async def settle(self, *outcomes: Outcome, claim_up_to: int = 0) -> SettleResult:
        """Settle outcomes."""
        return await self.store.settle(self.id, outcomes, claim_up_to=claim_up_to)

    async def complete(self, *claims: Claim, result: object = None) -> SettleResult:
        """Complete steps, all with the same result."""
        return await self.settle(
            *(completed_outcome(claim, codec.dumps(result)) for claim in claims)
        )

    async def fail(self, *claims: Claim) -> SettleResult:
        """Let steps fail permanently."""
        return await self.settle(*(failed_outcome(claim, ERROR) for claim in claims))

    async def fail_with_retry(self, claim: Claim, delay: timedelta = timedelta(0)) -> SettleResult:
        """Let an attempt fail with the outcome `retry`, so that another follows after `delay`."""
        return await self.settle(retry_outcome(claim, ERROR, delay))

    async def complete_all_due(self) -> int:
        """Complete all due steps and the steps that they free, and return their number."""
        done = 0
        while claims := await self.claim():
            await self.complete(*claims)
            done += len(claims)
        return done


async def create_and_run_task(
    store: Store, template: Template, *, failing: Iterable[str] = ()
) -> Task:
    """Create a task, and settle all of its steps; those in `failing` fail."""
    task_id = await register_and_create_task(store, template)
    worker = await ManualWorker.register(store)
    names = {step.no: step.name for step in await store.list_steps(task_id)}
    while claims := await worker.claim():
        for claim in claims:
            await (worker.fail(claim) if names[claim.no] in failing else worker.complete(claim))
    return await store.get_task(task_id)


async def only_step_status(store: Store, task_id: TaskId) -> StepStatus:
    """Read the status of a task's single step."""
    (step,) = await store.list_steps(task_id)
    return step.status

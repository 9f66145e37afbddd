"""Runs a whole workflow on the production engine, in milliseconds."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeAlias, Unpack, overload

from tasker.client import TaskOptions
from tasker.client.waiting import require_success
from tasker.clock import ManualClock
from tasker.durations import Duration, parse_duration
from tasker.engine import Worker
from tasker.errors import Misuse, WaitTimeout
from tasker.events import Event, EventFilter
from tasker.handlers import Handlers
from tasker.model import (
    STEP_DONE,
    STEP_ENDED,
    Attempt,
    AttemptOutcome,
    Json,
    Step,
    StepStatus,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
    Template,
)
from tasker.notices import Notice, StepSettled
from tasker.settings import WorkerSettings
from tasker.store.protocol import AuditNote, Store
from tasker.teams.model import NamespacePolicy
from tasker.template.load import load_template
from tasker.testing.stubs import StubbedHandlers
from tasker.testing.virtual_time import FOR_EVER, VirtualTimeStore
from tasker.typed_template import In, Out
from tasker.workflow import Workflow

Source: TypeAlias = Template | Workflow[Any, Any] | str | Path
"""A template, a workflow, or the path to a template file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun(Generic[Out]):
    """The result of running a task."""

    task: Task
    """The task in its final state."""

    steps: Mapping[str, Step]
    """The steps by name, each with its `status`, `result`, `error` and `attempts` (the number of
    attempts)."""

    attempts: tuple[Attempt, ...]
    """All attempts, in the order in which they ended."""

    notices: tuple[Notice, ...]
    """The worker's notices about all tasks."""

    events: tuple[Event, ...]
    """The task's newest 1,000 events, oldest first."""

    children: tuple[Task, ...]
    """The tasks that the task's steps created, oldest first."""

    slept: timedelta
    """The total time that the clock skipped, for example delays before retries and waits for
    `run_at`."""

    read_result: Callable[[Task], Out] = field(repr=False)
    """A function that returns the result of a complete task."""

    @property
    def ok(self) -> bool:
        """Whether the task is complete."""
        return self.task.status is TaskStatus.COMPLETE

    @property
    def result(self) -> Out:
        """The task's result, in the type that a `Workflow` declares as `result`.

        Raises:
            TaskFailed: The task is not complete.
        """
        return self.read_result(require_success(self.task))

    @property
    def results(self) -> dict[str, Json]:
        """The results of the steps that were completed, skipped or resolved, by name."""
        return {name: step.result for name, step in self.steps.items() if step.status in STEP_DONE}

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the completed steps, in the order of completion."""
        return tuple(
            notice.step
            for notice in self.notices
            if isinstance(notice, StepSettled)
            and notice.task_id == self.task.id
            and notice.outcome is AttemptOutcome.COMPLETE
        )


class RunOptions(TaskOptions, total=False):
    """The options of `run_workflow` as keyword arguments."""

    handlers: object
    stubs: Mapping[str, Any] | None
    failures: Mapping[str, Sequence[BaseException]] | None
    templates: Iterable[Source]
    signals: Iterable[tuple[str, Json]]
    decisions: Iterable[Json]
    completions: Iterable[Json]
    settings: WorkerSettings | None
    clock: ManualClock | None
    timeout: Duration


@overload
async def run_workflow(
    workflow: Workflow[In, Out], context: In, **options: Unpack[RunOptions]
) -> WorkflowRun[Out]: ...


@overload
async def run_workflow(
    workflow: Workflow[Mapping[str, Any], Out],
    context: None = None,
    **options: Unpack[RunOptions],
) -> WorkflowRun[Out]: ...


@overload
async def run_workflow(
    workflow: Template | str | Path,
    context: Mapping[str, Any] | None = None,
    **options: Unpack[RunOptions],
) -> WorkflowRun: ...


async def run_workflow(
    workflow: Source,
    context: Any = None,
    *,
    handlers: object = (),
    stubs: Mapping[str, Any] | None = None,
    failures: Mapping[str, Sequence[BaseException]] | None = None,
    templates: Iterable[Source] = (),
    signals: Iterable[tuple[str, Json]] = (),
    decisions: Iterable[Json] = (),
    completions: Iterable[Json] = (),
    settings: WorkerSettings | None = None,
    clock: ManualClock | None = None,
    timeout: Duration = 10.0,
    **options: Unpack[TaskOptions],
) -> WorkflowRun[Any]:
    """Run a task, and those that it creates, to the end on the production engine.

    The store is SQLite in memory. Its clock stops while handlers run, and otherwise skips to the
    next time at which something is due, so that hours of backoff and days of waiting take no time.
    Timeouts of attempts are real time.

    Args:
        workflow: See `Source`.
        context: The task's inputs, as `Client.create_task` takes them.
        handlers: A source for `Handlers.collect`, or a list of sources; a workflow has its own.
        stubs: Replacements by step: a handler, with parameters like any other; a result; or an
            exception to raise.
        failures: By step, exceptions that its first attempts raise, one each.
        templates: Further templates, of which steps create tasks.
        signals: Names and payloads of signals. Each is sent once, in this order, when no step is
            due and a step waits for a signal with its name, also together with a key.
        decisions: Filled-in forms of approvals. Each decides the oldest open approval, in this
            order, when no step is due.
        completions: What other systems send to complete external steps, `{"result": ...}` or
            `{"error": ...}`. Each completes one waiting step, in this order, when no step is due.
        settings: Settings of the worker; its lease never expires.
        clock: The clock; by default it starts in 2030.
        timeout: Time limit in real time, as seconds, a timedelta or `"5m"`.
        options: See `TaskRequest`.

    Raises:
        WaitTimeout: The time limit was exceeded, or nothing is left to do and the task has not
            ended. The message lists the statuses of the steps.
        HandlerNotFound: A step has neither a handler nor a stub.
        Misuse: `stubs` or `failures` names an unknown step, or no step waited for one of the
            `signals`, `decisions` or `completions`.
    """
    given = (workflow, *templates)
    template, *others = [_to_template(source) for source in given]
    sources = [
        *(source for source in given if isinstance(source, Workflow)),
        *_to_handler_list(handlers),
    ]
    stubbed = StubbedHandlers(
        Handlers.collect(*sources), template, stubs=dict(stubs or {}), failures=dict(failures or {})
    )
    notices: list[Notice] = []
    async with VirtualTimeStore(
        clock, signals=signals, decisions=decisions, completions=completions
    ) as store:
        await store.upgrade_schema()
        for namespace in {made.namespace for made in (template, *others)}:
            anywhere = NamespacePolicy(namespace=namespace, http_hosts=("*",))
            await store.put_policy(anywhere, AuditNote(actor="test"))
        worker = Worker(
            store,
            [stubbed],
            templates=[template, *others],
            settings=(settings or WorkerSettings()).model_copy(
                update={"lease": FOR_EVER, "grace": timedelta(0)}
            ),
            name="test",
            observers=[notices.append],
        )
        async with worker:
            started = workflow if isinstance(workflow, Workflow) else str(template.key)
            task = await worker.client.create_task(started, context, **options)
            store.still.clear()
            await _wait_until_task_ended(store, task.id, timeout)
            await _require_all_inputs_used(store, task.id)
        return WorkflowRun(
            task=await worker.client.get(task.id),
            steps={step.name: step for step in await store.list_steps(task.id)},
            attempts=tuple(await store.list_attempts(task.id, limit=100_000)),
            notices=tuple(notices),
            events=tuple(
                reversed(await store.list_events(EventFilter(task_id=task.id), limit=1000))
            ),
            children=tuple(
                reversed(await store.list_tasks(TaskFilter(parent_id=task.id), limit=1000))
            ),
            slept=store.skipped,
            read_result=workflow.result_of_task
            if isinstance(workflow, Workflow)
            else _result_as_json,
        )


@overload
def run_workflow_sync(
    workflow: Workflow[In, Out], context: In, **options: Unpack[RunOptions]
) -> WorkflowRun[Out]: ...


@overload
def run_workflow_sync(
    workflow: Workflow[Mapping[str, Any], Out],
    context: None = None,
    **options: Unpack[RunOptions],
) -> WorkflowRun[Out]: ...


@overload
def run_workflow_sync(
    workflow: Template | str | Path,
    context: Mapping[str, Any] | None = None,
    **options: Unpack[RunOptions],
) -> WorkflowRun: ...


def run_workflow_sync(
    workflow: Any, context: Any = None, **options: Unpack[RunOptions]
) -> WorkflowRun[Any]:
    """Run a task to its end from code without an event loop: see `run_workflow`."""
    return asyncio.run(run_workflow(workflow, context, **options))


def _to_template(source: Source) -> Template:
    if isinstance(source, Template):
        return source
    if isinstance(source, str | Path):
        return load_template(source)
    return source.template


def _to_handler_list(handlers: object) -> Sequence[object]:
    return handlers if isinstance(handlers, list | tuple) else [handlers]


async def _wait_until_task_ended(
    store: VirtualTimeStore, task_id: TaskId, timeout: Duration
) -> None:
    """Wait until nothing is left to do; raise WaitTimeout if the task has not ended."""
    seconds = parse_duration(timeout).total_seconds()
    try:
        async with asyncio.timeout(seconds):
            await store.still.wait()
    except TimeoutError:
        open_steps = await _describe_open_steps(store, task_id)
        raise WaitTimeout(f"the task did not end within {seconds:g} s: {open_steps}") from None
    if not (await store.get_task(task_id)).has_ended:
        facts = [await _describe_open_steps(store, task_id), *store.describe_unused_inputs()]
        raise WaitTimeout(
            f"the task has not ended, and no worker can continue it: {'; '.join(facts)}"
        )


async def _require_all_inputs_used(store: VirtualTimeStore, task_id: TaskId) -> None:
    """Raise Misuse if a signal, decision or completion was given for which no step waited."""
    if unused := store.describe_unused_inputs():
        task = await store.get_task(task_id)
        failed = [
            f"{step.name}: {step.error.get('message', step.error)}"
            for step in await store.list_steps(task_id)
            if step.status is StepStatus.ERROR and step.error is not None
        ]
        ended = f"the task ended as {task.status}"
        raise Misuse("; ".join([*unused, f"{ended}, {', '.join(failed)}" if failed else ended]))


async def _describe_open_steps(store: Store, task_id: TaskId) -> str:
    steps = await store.list_steps(task_id)
    open_steps = [
        f"{step.name} is {step.status}" for step in steps if step.status not in STEP_ENDED
    ]
    return ", ".join(open_steps) or "no step is open"


def _result_as_json(task: Task) -> Any:
    return task.result

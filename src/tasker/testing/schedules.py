"""Runs the schedules of a workflow through days of virtual time, in milliseconds."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tasker.clock import ManualClock
from tasker.durations import Duration, parse_duration
from tasker.engine import Worker
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.errors import WaitTimeout
from tasker.handlers import Handlers
from tasker.model import Task, TaskFilter, Template
from tasker.schedules.model import TicksWithoutTask
from tasker.settings import WorkerSettings
from tasker.testing.stubs import StubbedHandlers
from tasker.testing.virtual_time import FOR_EVER, VirtualTimeStore
from tasker.testing.workflows import Source, _to_handler_list, _to_template
from tasker.workflow import Workflow

_MOST = 100_000  #: tasks of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """The result of running schedules."""

    tasks: Sequence[Task]
    """The tasks that schedules created, sorted by tick, with their results."""

    records: Mapping[str, Sequence[TicksWithoutTask]]
    """The ticks without a task, latest first, by the full name of the schedule."""


async def run_schedules(
    workflow: Source,
    *,
    lasting: Duration,
    handlers: object = (),
    stubs: Mapping[str, Any] | None = None,
    templates: Iterable[Source] = (),
    settings: WorkerSettings | None = None,
    clock: ManualClock | None = None,
    timeout: Duration = 10.0,
) -> ScheduleRun:
    """Run all tasks that the schedules of a workflow create within some time.

    Args:
        workflow: A workflow or template with schedules.
        lasting: The time during which schedules create tasks: seconds, a timedelta or `"7d"`.
        handlers: See `run_workflow`.
        stubs: See `run_workflow`.
        templates: Further templates, whose schedules run as well.
        settings: Settings of the worker.
        clock: The clock; by default it starts in 2030.
        timeout: Time limit in real time.

    Raises:
        WaitTimeout: The time limit was exceeded.
        HandlerNotFound: A step has neither a handler nor a stub.
    """
    given = (workflow, *templates)
    made: list[Template] = [_to_template(source) for source in given]
    sources = [*(each for each in given if isinstance(each, Workflow)), *_to_handler_list(handlers)]
    stubbed = StubbedHandlers(
        Handlers.collect(*sources), made[0], stubs=dict(stubs or {}), failures={}
    )
    async with VirtualTimeStore(clock) as store:
        await store.upgrade_schema()
        worker = Worker(
            store,
            [stubbed],
            templates=made,
            settings=(settings or WorkerSettings()).model_copy(
                update={"lease": FOR_EVER, "grace": timedelta(0)}
            ),
            name="test",
        )
        reporter = Reporter("test", (), worker.client.task_end_waiter)
        store.start_scheduled = Scheduler(store, worker.client, reporter).create_due_tasks
        store.schedules_until = store.clock.now() + parse_duration(lasting)
        async with worker:
            try:
                async with asyncio.timeout(parse_duration(timeout).total_seconds()):
                    await store.still.wait()
            except TimeoutError:
                raise WaitTimeout(
                    f"the schedules did not finish within {timeout} of real time"
                ) from None
        tasks = await store.list_tasks(TaskFilter(), limit=_MOST)
        scheduled = sorted(
            (task.scheduled_for, task.id) for task in tasks if task.scheduled_for is not None
        )
        return ScheduleRun(
            tasks=[await worker.client.get(task_id) for _, task_id in scheduled],
            records={
                stored.full_name: await store.list_ticks_without_task(stored.namespace, stored.name)
                for stored in await store.list_schedules()
            },
        )


def run_schedules_sync(workflow: Source, **options: Any) -> ScheduleRun:
    """Run schedules from code without an event loop: see `run_schedules`."""
    return asyncio.run(run_schedules(workflow, **options))

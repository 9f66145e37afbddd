"""Creates the tasks of schedules that are due; a duty of every worker."""

import logging
from collections.abc import Sequence
from datetime import datetime

from tasker.client import LocalClient
from tasker.client.schedules import build_task_of_due_tick
from tasker.engine.reporting import Reporter
from tasker.errors import StoreUnavailable, TaskerError
from tasker.notices import TickHandled
from tasker.schedules.model import (
    DueSchedule,
    NoTaskReason,
    ScheduleAdvance,
    ScheduledTask,
    TicksWithoutTask,
)
from tasker.schedules.planning import TickPlan, plan_ticks
from tasker.store.protocol import AuditNote, Store

log = logging.getLogger("tasker.worker")

AT_ONCE = 50  #: schedules that one query returns
_LONGEST_DETAIL = 500


class Scheduler:
    """Creates the tasks of due schedules; any number of processes may do so at the same time.

    Args:
        store: The store.
        client: Prepares tasks from the templates in the store; no handler is needed.
        reporter: Reports the ticks.
    """

    def __init__(self, store: Store, client: LocalClient, reporter: Reporter) -> None:
        self._store = store
        self._client = client
        self._reporter = reporter

    async def create_due_tasks(self) -> None:
        """Create the tasks of all due ticks, and advance their schedules."""
        while due := await self._store.list_due_schedules(AT_ONCE):
            handled = [await self.handle_due_ticks(each) for each in due]
            if not any(handled):  # other processes handle them
                return

    async def handle_due_ticks(self, due: DueSchedule) -> bool:
        """Create tasks for a schedule's due ticks, record the others, and advance the schedule.

        Returns:
            False if another process handled the ticks.
        """
        stored, planned = due.stored, plan_ticks(due)
        tasks, failures = await self._build_tasks_of_ticks(due, planned.starts)
        records = [*planned.records, *failures]
        advance = ScheduleAdvance(
            tasks=tasks,
            cancel=planned.cancel and bool(tasks),
            taken=planned.taken,
            records=records,
            next_at=planned.next_at,
            look_at=planned.look_at,
        )
        act = AuditNote(
            actor=f"schedule:{stored.full_name}", reason="the next tick of its schedule is due"
        )
        try:
            advanced = await self._store.advance_schedule(due, advance, act)
        except StoreUnavailable:
            raise
        except TaskerError as error:  # a template was retired in between: the next look records it
            facts = {"schedule": stored.full_name, "error": str(error)}
            log.warning("schedule_failed", extra=facts)
            return False
        if advanced is None:
            return False
        self._report_ticks(due, planned, tasks, records)
        return True

    async def _build_tasks_of_ticks(
        self, due: DueSchedule, ticks: Sequence[datetime]
    ) -> tuple[list[ScheduledTask], list[TicksWithoutTask]]:
        """Return the tasks of ticks, and records of those whose task cannot be created."""
        tasks, failures = [], []
        for tick in ticks:
            try:
                task = await build_task_of_due_tick(self._client, due.stored, tick, due.now)
                tasks.append(ScheduledTask(tick, task))
            except StoreUnavailable:
                raise
            except TaskerError as error:
                facts = {"schedule": due.stored.full_name, "tick": tick, "error": str(error)}
                log.warning("tick_failed", extra=facts)
                failures.append(
                    TicksWithoutTask(
                        first=tick,
                        last=tick,
                        outcome=NoTaskReason.FAILED,
                        detail=str(error)[:_LONGEST_DETAIL],
                    )
                )
        return tasks, failures

    def _report_ticks(
        self,
        due: DueSchedule,
        planned: TickPlan,
        tasks: Sequence[ScheduledTask],
        records: Sequence[TicksWithoutTask],
    ) -> None:
        namespace, name = due.stored.namespace, due.stored.name
        for tick, _ in tasks:
            self._reporter.notify_observers(
                TickHandled(namespace, name, tick, "created", due.now - tick)
            )
        for record in records:
            late = due.now - record.first
            self._reporter.notify_observers(
                TickHandled(namespace, name, record.first, record.outcome.value, late)
            )
            if record.outcome is NoTaskReason.MISSED:
                facts = {"schedule": due.stored.full_name, "first": record.first}
                log.warning("ticks_missed", extra={**facts, "last": record.last})

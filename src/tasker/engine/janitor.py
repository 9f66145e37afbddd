"""The periodic duties of every worker; several workers may perform them at the same time.

Attempts of lost workers are settled as lost, steps that no worker claimed in time fail, and tasks
end if they are past their deadline, or have failed and have no step left that can run. Ended tasks
are deleted after their retention period. Schedules create the tasks of their ticks. Operations on
many tasks are continued.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from tasker import retry
from tasker.client.bulk import LocalBulk
from tasker.engine import process
from tasker.engine.failure import build_lost_attempt_error
from tasker.engine.figures import OutcomeCounter
from tasker.engine.heap import HeapTrimmer
from tasker.engine.lease import WorkerLease
from tasker.engine.publishing import compute_failure_events
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.engine.spawning import cancel_siblings_if_fail_fast
from tasker.engine.task_cache import CachedTask, CompiledTemplate, TaskCache
from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import (
    Claim,
    ExpiredAttempt,
    NewEvent,
    Outcome,
    OutcomeCode,
    Retry,
    TaskEnd,
    TaskId,
    failed_outcome,
    lost_outcome,
)
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

PERIOD = 2.0  #: seconds between runs; at most the lease time
MOST = 200  #: expired attempts, or unclaimed steps, settled per transaction
MOST_LOST = 10  #: attempts of a step that may be lost with their worker before it fails
WARNING_PERIOD = 300.0  #: seconds between warnings of steps that no live worker can run
WAITS_LONG = timedelta(minutes=1)  #: time for which such a step must have been due
MOST_QUEUES = 1000  #: such queues that one query returns, for all namespaces
MOST_WARNINGS = 20  #: those that are logged
ESCALATING = 10.0  #: seconds between searches for approvals to escalate
ORPHANS = 30.0  #: seconds between searches for open tasks whose parent has ended
BROADCASTING = 10.0  #: seconds between searches for broadcasts to deliver, or to delete
PRUNING = 60.0  #: seconds between searches for tasks to delete
FIGURING = 5.0  #: seconds between two writings of what this worker has counted
TENDING = 15.0  #: seconds between countings of created tasks
TRIMMING = 15.0  #: seconds between checks of the free heap
DEAD_KEPT = timedelta(days=30)  #: retention of dead deliveries
BULK_PERIOD = 1.0  #: most seconds between looks at a running operation on many tasks
BULKS_KEPT = timedelta(days=30)  #: retention of operations on many tasks
LOGS_PRUNED = 1_000  #: log records deleted per transaction
PRUNED = 100  #: tasks deleted per transaction
SWEPT = 100  #: a sweep that ended this many tasks may have left others
_UNKNOWN = Retry(max_attempts=1_000_000)  #: of a step whose template is unreadable here


class PeriodicDuty(NamedTuple):
    """A task of the maintenance that is repeated at an interval."""

    name: str
    period: float  #: seconds between two executions, varied by up to a fifth
    perform: Callable[[], Awaitable[None]]


class Janitor:
    """Performs the periodic maintenance of a worker.

    Args:
        store: The store.
        cache: The cache from which templates and their retry policies are read.
        lease: The lease of this worker.
        reporter: Reports ended tasks.
        scheduler: Creates the tasks of schedules.
        figures: What this worker has counted.
        bulk: Continues operations on many tasks.
        lease_time: The duration of this worker's lease.
        retention: Retention of tasks whose template has none; None means unlimited.
        event_retention: Retention of events and their deliveries.
        step_log_retention: Retention of what handlers log and print.
    """

    def __init__(
        self,
        store: Store,
        cache: TaskCache,
        lease: WorkerLease,
        reporter: Reporter,
        scheduler: Scheduler,
        figures: OutcomeCounter,
        bulk: LocalBulk,
        *,
        lease_time: timedelta,
        retention: timedelta | None = None,
        event_retention: timedelta = timedelta(days=7),
        step_log_retention: timedelta = timedelta(days=7),
    ) -> None:
        self._store = store
        self._cache = cache
        self._lease = lease
        self._reporter = reporter
        self._retention = retention
        self._event_retention = event_retention
        self._step_log_retention = step_log_retention
        self._rng = Random()
        self._heap = HeapTrimmer()
        self._bulk = bulk
        period = min(PERIOD, lease_time.total_seconds())
        self.duties = [
            PeriodicDuty("expire", period, self.settle_lost_attempts),
            PeriodicDuty("fail_unclaimed", period, self.fail_unclaimed_steps),
            PeriodicDuty("sweep", period, self.end_overdue_and_failed_tasks),
            PeriodicDuty("admit_waiting", period, self.admit_waiting_tasks),
            PeriodicDuty("start_scheduled", period, scheduler.create_due_tasks),
            PeriodicDuty("handle_bulk", period, self.run_bulk_operations),
            PeriodicDuty("end_late_waits", period, self.end_timed_out_waits),
            PeriodicDuty("escalate", ESCALATING, self.escalate_approvals),
            PeriodicDuty("cancel_orphaned_tasks", ORPHANS, self.cancel_orphaned_tasks),
            PeriodicDuty("broadcasts", BROADCASTING, self.complete_and_prune_broadcasts),
            PeriodicDuty("prune", PRUNING, self.prune_tasks),
            PeriodicDuty("prune_events", PRUNING, self.prune_events),
            PeriodicDuty("prune_step_logs", PRUNING, self.prune_step_logs),
            PeriodicDuty("prune_bulks", PRUNING, self.prune_bulk_operations),
            PeriodicDuty("write_figures", FIGURING, figures.write_counts),
            PeriodicDuty("tend_figures", TENDING, store.maintain_minute_figures),
            PeriodicDuty("warn_of_unserved", WARNING_PERIOD, self.warn_of_unserved_steps),
            PeriodicDuty("trim_heap", TRIMMING, self.trim_heap),
        ]

    async def repeat_duty(self, duty: PeriodicDuty) -> None:
        """Perform a duty at its interval until cancelled."""
        while True:
            await self._perform_duty(duty)
            await asyncio.sleep(duty.period * (0.8 + 0.4 * self._rng.random()))

    async def _perform_duty(self, duty: PeriodicDuty) -> None:
        try:
            await duty.perform()
        except StoreUnavailable as error:
            log.warning("duty_failed", extra={"duty": duty.name, "error": str(error)})

    async def end_overdue_and_failed_tasks(self) -> None:
        """End tasks past their deadline, and failed ones whose remaining steps cannot run."""
        many = SWEPT
        while many >= SWEPT:
            ended = await self._store.end_overdue_and_failed_tasks()
            await self._report_ended_tasks(ended)
            many = len(ended)

    async def fail_unclaimed_steps(self) -> None:
        """Fail steps that no worker claimed within their `queue_timeout`."""
        many = MOST
        while many >= MOST:
            failed = await self._store.fail_unclaimed_steps(MOST)
            many = len(failed.steps)
            for task_id, step in failed.steps:
                log.warning("queue_timeout", extra={"task_id": task_id, "step": step})
            await self._report_ended_tasks(failed.ended)

    async def admit_waiting_tasks(self) -> None:
        """Start tasks that wait for a place of their template's `concurrency`."""
        await self._store.admit_waiting_tasks(MOST)

    async def admit_waiting_tasks_as_others_end(self) -> None:
        """Until cancelled, start waiting tasks when tasks that end in this process free places.

        `admit_waiting_tasks` starts those whose places are freed by other processes.
        """
        freed = self._reporter.freed = asyncio.Queue()
        while True:
            ended = [await freed.get()]
            while not freed.empty():
                ended.append(freed.get_nowait())
            try:
                await self._store.admit_tasks_to_freed_places(ended)
            except StoreUnavailable as error:
                log.warning("duty_failed", extra={"duty": "admit_after_ends", "error": str(error)})

    async def run_bulk_operations(self) -> None:
        """Execute bulk operations batch by batch, while any runs."""
        while (delay := await self._bulk.execute_batch_if_due()) is not None:  # noqa: ASYNC110, see BULK_PERIOD
            await asyncio.sleep(min(delay, BULK_PERIOD))

    async def escalate_approvals(self) -> None:
        """Escalate approvals that were not decided in time."""
        while await self._store.escalate_approvals(MOST) >= MOST:
            pass

    async def end_timed_out_waits(self) -> None:
        """End waits that have timed out."""
        while await self._store.end_timed_out_waits(MOST) == MOST:
            pass

    async def cancel_orphaned_tasks(self) -> None:
        """Cancel attached tasks whose parent has ended."""
        while await self._store.cancel_orphaned_tasks(MOST) == MOST:
            pass

    async def complete_and_prune_broadcasts(self) -> None:
        """Complete broadcasts whose sender died, and delete old ones."""
        while await self._store.complete_interrupted_broadcasts(PRUNED) == PRUNED:
            pass
        while await self._store.prune_broadcasts(MOST) == MOST:
            pass

    async def settle_lost_attempts(self) -> None:
        """Settle attempts whose worker's lease expired, or whose process on this machine ended."""
        await self._retire_dead_local_workers()
        many = MOST
        while many >= MOST:
            expired = await self._store.list_expired_attempts(MOST)
            many = len(expired)
            if expired:
                workers = sorted({attempt.worker for attempt in expired})
                log.warning("leases_expired", extra={"workers": workers, "attempts": many})
                templates = [await self._load_template_if_readable(attempt) for attempt in expired]
                outcomes = [*map(self._lost_attempt_outcome, expired, templates)]
                await self._cancel_siblings_of_failures(outcomes, templates)
                await self._settle_lost_external_attempts(expired, outcomes, templates)
                events = await self._lost_attempt_events(expired, outcomes, templates)
                settled = await self._store.settle(self._lease.id, outcomes, events=events)
                for index, (outcome, compiled) in enumerate(zip(outcomes, templates, strict=True)):
                    if compiled is not None and index not in settled.rejected:
                        name = compiled.step_spec(expired[index].node).name
                        self._reporter.report_lost_attempt(outcome, compiled.template, name)
                await self._report_ended_tasks(settled.ended)

    async def _retire_dead_local_workers(self) -> None:
        """End the leases of workers on this machine whose process has ended."""
        if not (machine := process.machine_id()):
            return
        for worker in await self._store.list_workers_on_machine(machine):
            if process.has_process_ended(worker.pid, worker.pid_started):
                log.warning("worker_gone", extra={"worker": worker.name, "pid": worker.pid})
                await self._store.retire_worker(worker.id)

    async def trim_heap(self) -> None:
        """Return unused memory of large tasks to the system."""
        if self._heap.should_trim:
            await asyncio.to_thread(self._heap.trim)

    async def warn_of_unserved_steps(self) -> None:
        """Log a warning about steps in this worker's namespaces that no live worker can run."""
        queues = await self._store.unserved_queues(WAITS_LONG, MOST_QUEUES)
        ours = [
            unserved
            for unserved in queues
            if self._lease.serves_namespace(unserved.queue.namespace)
        ]
        for queue, seconds, reason in ours[:MOST_WARNINGS]:
            facts = {"namespace": queue.namespace, "handler": queue.handler}
            extra = {**facts, "due_s": round(seconds), "reason": reason}
            log.warning("steps_without_worker", extra=extra)

    async def prune_tasks(self) -> None:
        """Delete tasks after their retention period, pausing as long as each deletion takes."""
        kept = self._retention
        before = None if kept is None else datetime.now(UTC) - kept
        many = PRUNED
        while many >= PRUNED:
            began = time.monotonic()
            many = await self._store.prune_tasks(ended_before=before, limit=PRUNED)
            await asyncio.sleep(time.monotonic() - began)

    async def prune_events(self) -> None:
        """Delete events and deliveries after their retention period."""
        now = datetime.now(UTC)
        kept = now - self._event_retention
        many = 1
        while many:
            began = time.monotonic()
            many = await self._store.prune_events_and_deliveries(
                kept, dead_before=min(kept, now - DEAD_KEPT)
            )
            await asyncio.sleep(time.monotonic() - began)

    async def prune_step_logs(self) -> None:
        """Delete what handlers logged and printed after its retention period."""
        before = datetime.now(UTC) - self._step_log_retention
        many = LOGS_PRUNED
        while many >= LOGS_PRUNED:
            began = time.monotonic()
            many = await self._store.prune_logs(before, limit=LOGS_PRUNED)
            await asyncio.sleep(time.monotonic() - began)

    async def prune_bulk_operations(self) -> None:
        """Delete bulk operations after their retention period."""
        await self._store.prune_bulk_operations(datetime.now(UTC) - BULKS_KEPT)

    async def _report_ended_tasks(self, ended: Sequence[TaskEnd]) -> None:
        if ended:
            tasks: Mapping[TaskId, CachedTask] = {}
            try:
                tasks = await self._cache.load_tasks(task_id for task_id, _ in ended)
            except TaskerError as error:  # the tasks have ended, and are reported without templates
                log.error("template_unreadable", extra={"error": str(error)})
            for task_id, _ in ended:
                self._cache.remove_task(task_id)
            self._reporter.report_ended_tasks(ended, tasks)

    async def _cancel_siblings_of_failures(
        self, outcomes: Sequence[Outcome], templates: Sequence[CompiledTemplate | None]
    ) -> None:
        """Cancel the other instances of permanently failed ones, if their step declares it."""
        for outcome, compiled in zip(outcomes, templates, strict=True):
            if (
                outcome.outcome is OutcomeCode.ERROR
                and compiled is not None
                and compiled.is_runtime_step(outcome.no)
                and compiled.fails_fast
            ):
                claim = Claim(outcome.task_id, outcome.no, outcome.attempt, 0)
                tasks = await self._cache.fetch_claimed_tasks([claim])
                views = await self._cache.fetch_instance_tasks([claim], tasks)
                for view in views.values():
                    if view.instance is not None:
                        await cancel_siblings_if_fail_fast(
                            self._store, view.compiled, claim, view.instance
                        )

    async def _settle_lost_external_attempts(
        self,
        expired: Sequence[ExpiredAttempt],
        outcomes: list[Outcome],
        templates: Sequence[CompiledTemplate | None],
    ) -> None:
        """Settle the failures of external steps; completed ones get another attempt instead.

        This does not apply if an attempt with the completion was lost as well.
        """
        for index, (attempt, compiled) in enumerate(zip(expired, templates, strict=True)):
            outcome = outcomes[index]
            if outcome.outcome is not OutcomeCode.ERROR or compiled is None:
                continue
            spec = compiled.step_spec(attempt.node)
            if spec.external is None or attempt.lost_attempts >= MOST_LOST:
                continue
            events = await self._lost_attempt_events([attempt], [outcome], [compiled])
            settled = await self._store.fail_external_step_unless_completed(outcome, events)
            if settled is None:
                text = build_lost_attempt_error(attempt.worker)
                outcomes[index] = lost_outcome(attempt.claim, text, timedelta(0))
            elif not settled.rejected:  # the settlement of the others will reject it
                self._reporter.report_lost_attempt(outcome, compiled.template, spec.name)
                await self._report_ended_tasks(settled.ended)

    def _lost_attempt_outcome(
        self, expired: ExpiredAttempt, compiled: CompiledTemplate | None
    ) -> Outcome:
        policy = _UNKNOWN if compiled is None else compiled.step_spec(expired.node).retry
        text = build_lost_attempt_error(expired.worker)
        losses = expired.lost_attempts + 1
        if not policy.retryable or losses >= MOST_LOST:
            return failed_outcome(expired.claim, text)
        return lost_outcome(
            expired.claim, text, retry.next_attempt_delay(losses, policy, self._rng)
        )

    async def _lost_attempt_events(
        self,
        expired: Sequence[ExpiredAttempt],
        outcomes: Sequence[Outcome],
        templates: Sequence[CompiledTemplate | None],
    ) -> list[NewEvent]:
        """Return the events that steps publish with lost attempts."""
        publishing = [
            (index, outcome, compiled.step_spec(expired[index].node))
            for index, (outcome, compiled) in enumerate(zip(outcomes, templates, strict=True))
            if compiled is not None and compiled.step_spec(expired[index].node).events
        ]
        if not publishing:
            return []
        tasks = await self._cache.load_tasks(outcome.task_id for _, outcome, _ in publishing)
        return [
            NewEvent(
                index, expired[index].template_id, spec.name, task.correlation_id, *event, None
            )
            for index, outcome, spec in publishing
            for task in (tasks[outcome.task_id].input,)
            for event in compute_failure_events(spec, outcome, task.context)
        ]

    async def _load_template_if_readable(self, expired: ExpiredAttempt) -> CompiledTemplate | None:
        """Return an attempt's compiled template, or None if it cannot be read."""
        try:
            return await self._cache.load_template(expired.template_id)
        except StoreUnavailable:
            raise
        except TaskerError as error:  # only a later release can read the template
            facts = {"task_id": expired.claim.task_id, "error": str(error)}
            log.error("template_unreadable", extra=facts)
            return None

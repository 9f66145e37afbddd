"""The periodic duties of every worker; many may perform them at once.

What a lost worker held is settled as a failed attempt, steps that no worker claimed in
time fail, tasks past their deadline end, and so do failed tasks whose remaining steps
cannot run. Tasks are deleted when their time of retention is over.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from tasker import retry
from tasker.engine import process
from tasker.engine.failure import lost_text
from tasker.engine.lease import WorkerLease
from tasker.engine.reporting import Reporter
from tasker.engine.task_cache import CachedTask, TaskCache
from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import ExpiredAttempt, Outcome, Retry, TaskEnd, TaskId, Template, failed, lost
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

PERIOD = 2.0  #: seconds between runs; at most the lease time
MOST = 200  #: expired attempts, or unclaimed steps, settled at once
MOST_LOST = 10  #: attempts of a step lost with their worker; the last one is its failure
WARNING_PERIOD = 300.0  #: seconds between warnings of steps that no live worker can run
WAITS_LONG = timedelta(minutes=1)  #: for which such a step has been due
MOST_QUEUES = 1000  #: that such a look finds, of all namespaces
MOST_WARNINGS = 20  #: that it logs
PRUNING = 60.0  #: seconds between looks for tasks to delete
PRUNED = 100  #: tasks deleted at once
SWEPT = 100  #: a sweep that ended so many tasks may have left some
_UNKNOWN = Retry(max_attempts=1_000_000)  #: of a step whose template cannot be read here


class Duty(NamedTuple):
    """Something that is done again and again."""

    name: str
    period: float  #: seconds between two times, give or take a fifth
    perform: Callable[[], Awaitable[None]]


class Janitor:
    """Performs the duties.

    Args:
        store: The store.
        cache: Where templates, and with them retry policies, are read.
        lease: The lease to settle under.
        reporter: Reports the tasks that end.
        lease_time: How long leases are here.
        retention: How long tasks are kept whose template does not say so; None: for ever.
    """

    def __init__(
        self,
        store: Store,
        cache: TaskCache,
        lease: WorkerLease,
        reporter: Reporter,
        *,
        lease_time: timedelta,
        retention: timedelta | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._lease = lease
        self._reporter = reporter
        self._retention = retention
        self._rng = Random()
        period = min(PERIOD, lease_time.total_seconds())
        self.duties = [
            Duty("expire", period, self.expire),
            Duty("fail_unclaimed", period, self.fail_unclaimed),
            Duty("sweep", period, self.sweep),
            Duty("prune", PRUNING, self.prune),
            Duty("warn_of_unserved", WARNING_PERIOD, self.warn_of_unserved),
        ]

    async def repeat(self, duty: Duty) -> None:
        """Perform a duty whenever its period is over, until cancelled."""
        while True:
            await self._perform(duty)
            await asyncio.sleep(duty.period * (0.8 + 0.4 * self._rng.random()))

    async def _perform(self, duty: Duty) -> None:
        try:
            await duty.perform()
        except StoreUnavailable as error:
            log.warning("duty_failed", extra={"duty": duty.name, "error": str(error)})

    async def sweep(self) -> None:
        """End tasks past their deadline, and failed ones whose remaining steps cannot run."""
        many = SWEPT
        while many >= SWEPT:
            ended = await self._store.sweep()
            await self._report_ended(ended)
            many = len(ended)

    async def fail_unclaimed(self) -> None:
        """Fail steps that no worker claimed within their `queue_timeout`."""
        many = MOST
        while many >= MOST:
            failed = await self._store.fail_unclaimed(MOST)
            many = len(failed.steps)
            for task_id, step in failed.steps:
                log.warning("queue_timeout", extra={"task_id": task_id, "step": step})
            await self._report_ended(failed.ended)

    async def expire(self) -> None:
        """Settle attempts whose worker's lease expired, or whose process here is gone."""
        await self._retire_dead()
        many = MOST
        while many >= MOST:
            expired = await self._store.expired(MOST)
            many = len(expired)
            if expired:
                workers = sorted({attempt.worker for attempt in expired})
                log.warning("leases_expired", extra={"workers": workers, "attempts": many})
                templates = [await self._template_of(attempt) for attempt in expired]
                outcomes = [*map(self._outcome_of_lost, expired, templates)]
                settled = await self._store.settle(self._lease.id, outcomes)
                for index, (outcome, template) in enumerate(zip(outcomes, templates, strict=True)):
                    if template is not None and index not in settled.refused:
                        self._reporter.lost(outcome, template)
                await self._report_ended(settled.ended)

    async def _retire_dead(self) -> None:
        """End the leases of workers of this machine whose process is gone."""
        if not (machine := process.machine()):
            return
        for worker in await self._store.neighbour_workers(machine):
            if process.is_gone(worker.pid, worker.pid_started):
                log.warning("worker_gone", extra={"worker": worker.name, "pid": worker.pid})
                await self._store.retire_worker(worker.id)

    async def warn_of_unserved(self) -> None:
        """Warn of steps in the namespaces of this worker that no live worker can run."""
        queues = await self._store.unserved_queues(WAITS_LONG, MOST_QUEUES)
        ours = [
            unserved for unserved in queues if unserved.queue.namespace in self._lease.namespaces
        ]
        for queue, seconds, reason in ours[:MOST_WARNINGS]:
            facts = {"namespace": queue.namespace, "handler": queue.handler}
            extra = {**facts, "due_s": round(seconds), "reason": reason}
            log.warning("steps_without_worker", extra=extra)

    async def prune(self) -> None:
        """Delete tasks whose time of retention is over, at half the possible speed."""
        kept = self._retention
        before = None if kept is None else datetime.now(UTC) - kept
        many = PRUNED
        while many >= PRUNED:
            began = time.monotonic()
            many = await self._store.prune(ended_before=before, limit=PRUNED)
            await asyncio.sleep(time.monotonic() - began)

    async def _report_ended(self, ended: Sequence[TaskEnd]) -> None:
        if ended:
            tasks: Mapping[TaskId, CachedTask] = {}
            try:
                tasks = await self._cache.tasks(task_id for task_id, _ in ended)
            except TaskerError as error:  # the tasks did end, and are reported without templates
                log.error("template_unreadable", extra={"error": str(error)})
            for task_id, _ in ended:
                self._cache.forget(task_id)
            self._reporter.ended(ended, tasks)

    def _outcome_of_lost(self, expired: ExpiredAttempt, template: Template | None) -> Outcome:
        policy = _UNKNOWN if template is None else template.steps[expired.claim.no - 1].retry
        text = lost_text(expired.worker)
        losses = expired.lost_attempts + 1
        if not policy.retryable or losses >= MOST_LOST:
            return failed(expired.claim, text)
        return lost(expired.claim, text, retry.delay_after(losses, policy, self._rng))

    async def _template_of(self, expired: ExpiredAttempt) -> Template | None:
        """Return an attempt's template as it runs here; None if it cannot be read."""
        try:
            return (await self._cache.template(expired.template_id)).template
        except StoreUnavailable:
            raise
        except TaskerError as error:  # a template that only a later release can read
            facts = {"task_id": expired.claim.task_id, "error": str(error)}
            log.error("template_unreadable", extra=facts)
            return None

"""Claims steps for free slots and tracks each claim until it starts.

Claims come in four ways: requested when slots are free; returned by a settlement that freed the
steps; returned with a task that this process created; and listed by the store after a reply was
lost. Every call that may return claims reserves slots for its duration.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from tasker.engine.background import BackgroundTasks
from tasker.engine.executor import Executor
from tasker.engine.failure import serialize_exception
from tasker.engine.lease import WorkerLease
from tasker.engine.settler import Settler
from tasker.engine.slots import PATIENCE, Slots
from tasker.engine.task_cache import CachedTask, TaskCache
from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import (
    AttemptKey,
    Claim,
    ClaimResult,
    CreateTasksResult,
    NewTask,
    Outcome,
    PauseTarget,
    TaskId,
    TaskInput,
    WorkerId,
    released_outcome,
    retry_outcome,
)
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

_NEW_QUEUES = 0.5  #: seconds between checks for new queues, when idle
_NEW_QUEUES_BUSY = 5.0  #: the same when there is enough to do
_FEW = 0.02  #: seconds that a few free slots wait for more, when more work is known to wait
_POSTPONED = timedelta(seconds=30)  #: until a task that cannot be read here is tried again


class FetchedInputs(NamedTuple):
    """The inputs of an attempt at its start."""

    task: CachedTask
    queue_paused: bool  #: see `Executor.start_or_queue_attempt`


class Claimer:
    """Claims steps and hands them to the executor.

    Args:
        store: The store.
        settings: The worker's.
        lease: The lease to claim under, and the queues to claim from.
        slots: Which of them are free.
        cache: Contexts and results of tasks.
        executor: Runs attempts.
        settler: Knows attempts that ended and are not settled yet.
        background: Runs creations that the worker must complete.
    """

    def __init__(
        self,
        store: Store,
        settings: WorkerSettings,
        lease: WorkerLease,
        slots: Slots,
        cache: TaskCache,
        executor: Executor,
        settler: Settler,
        background: BackgroundTasks,
    ) -> None:
        self._store = store
        self._settings = settings
        self._lease = lease
        self._slots = slots
        self._cache = cache
        self._executor = executor
        self._settler = settler
        self._background = background
        self._loop = asyncio.get_running_loop()
        self._overdue: asyncio.TimerHandle | None = None  #: set while claims wait for a slot
        self._closed = False
        self._fetching: set[AttemptKey] = set()
        self._creating: set[TaskId] = set()
        self._uncertain = False  #: a reply was lost: the store may hold claims for us
        self._verified = 0  #: relaxed settlements that the last comparison with the store covers
        self._gated_first = False  #: whether the next claim begins with steps under limits
        self._woken = asyncio.Event()  #: set to end the current wait early
        self._retry_due = float("inf")  #: when a step that failed here is due again
        self._wake_at = float("inf")  #: when the present wait ends

    def wake(self) -> None:
        """End the current wait: there may be something to claim."""
        self._slots.changed.set()
        self._woken.set()

    def schedule_claim(self, seconds: float) -> None:
        """Claim again in `seconds` or earlier: a step that failed here will be due."""
        self._retry_due = min(self._retry_due, time.monotonic() + seconds)
        if self._retry_due < self._wake_at:
            self._woken.set()

    @property
    def settlement_count_without_fsync(self) -> int:
        """Number of settlements so far that a crash of the database server may have undone."""
        return self._settler.relaxed

    def verify_claims_after_unsynced_settlements(self, relaxed_settlements: int) -> None:
        """Compare the claims with the store's soon, once after so many such settlements."""
        if relaxed_settlements > self._verified:
            self._verified = relaxed_settlements
            self.request_claim_verification()

    def request_claim_verification(self) -> None:
        """Compare the claims with the store's before the next claim, which begins at once."""
        self._uncertain = True
        self.wake()

    def clear_task_cache(self) -> None:
        """Forget results that other workers may replace."""
        self._cache.clear()

    def close(self) -> None:
        """Stop claiming; release the claims that wait for a slot or still arrive."""
        self._closed = True
        self._slots.close()
        if self._overdue is not None:
            self._overdue.cancel()
        if withdrawn := self._executor.withdraw_waiting_claims():
            self._background.start_operation(self._release_claims(withdrawn))
        self.wake()

    def _slots_to_fill(self) -> int:
        """Return how many steps to claim: each settlement keeps a slot for a freed step."""
        return self._slots.free_count - self._settler.waiting_count

    # ----------------------------------------------------------------- claiming

    async def run(self) -> None:
        """Claim until closed."""
        while await self._wait_for_slots():
            self._woken.clear()
            try:
                if self._uncertain:
                    await self._reconcile_claims_with_store()
                pause = await self._claim_steps(self._slots_to_fill())
            except StoreUnavailable:
                await self.wait_for_store_then_verify_claims()
            else:
                if pause > 0:
                    await self._wait_for_work(pause)

    async def _wait_for_slots(self) -> bool:
        """Wait until there are slots to claim for, and a lease; return False when closed.

        With a backlog, wait briefly for more free slots to batch claims, but not longer, because
        attempts in other slots may run for hours.
        """
        enough = max(1, self._slots.capacity // 4)
        patience = time.monotonic() + _FEW
        while not self._closed:
            free = self._slots_to_fill() if self._lease.holds else 0
            left = patience - time.monotonic() if self._slots.backlog and free < enough else 0
            if free > 0 and left <= 0:
                return True
            self._slots.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left if free > 0 else None):
                    await self._slots.changed.wait()
        return False

    async def _claim_steps(self, limit: int) -> float:
        """Claim; return how many seconds to wait before the next claim."""
        if limit <= 0:
            return 0
        worker = self._lease.id
        self._slots.reserve_until_released(limit)
        try:
            if self._lease.serves_gated:
                claims, next_due = await self._claim_limited_and_unlimited_steps(worker, limit)
            else:
                claims, next_due = await self._store.claim(worker, limit)
        finally:
            self._slots.release_reserved(limit)
        self._slots.backlog = len(claims) == limit
        if worker == self._lease.id and self._lease.holds:
            self.accept_claims(claims)
        else:  # claims of a lease that was lost during the call
            await self._release_claims(claims)
        since = time.monotonic() - self._lease.looked_at
        stale = since > (_NEW_QUEUES_BUSY if claims else _NEW_QUEUES)
        if (stale and await self._lease.serve_new_queues()) or self._slots.backlog:
            return 0
        return self._seconds_until_next_claim(next_due)

    async def _claim_limited_and_unlimited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        """Claim steps without limits and steps under limits, alternating which come first."""
        calls = [self._store.claim, self._store.claim_limited_steps]
        if self._gated_first:
            calls.reverse()
        self._gated_first = not self._gated_first
        claims, next_due = await calls[0](worker, limit)
        if len(claims) == limit:
            return ClaimResult(claims, next_due)
        others, also_due = await calls[1](worker, limit - len(claims))
        times = [each for each in (next_due, also_due) if each is not None]
        return ClaimResult([*claims, *others], min(times, default=None))

    def _seconds_until_next_claim(self, next_due: float | None) -> float:
        pause = self._settings.poll.total_seconds()
        if next_due is not None:
            pause = min(pause, next_due)
        now = time.monotonic()
        if self._retry_due <= now:
            self._retry_due = float("inf")
        return max(min(pause, self._retry_due - now), 0.001)

    async def _wait_for_work(self, pause: float) -> None:
        """Wait for work, or until woken."""
        self._wake_at = time.monotonic() + pause
        waits = [
            asyncio.ensure_future(self._store.wait_for_work(pause)),
            asyncio.ensure_future(self._woken.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                await waits[0]
        finally:
            self._wake_at = float("inf")
            for wait in waits:
                wait.cancel()

    async def create_task_and_claim(self, new: NewTask, roots: int) -> CreateTasksResult:
        """Create a task, and claim as many of its `roots` as slots are free.

        A caller may stop waiting; returned claims still run.
        """
        return await asyncio.shield(
            asyncio.ensure_future(self._create_and_accept_claims(new, roots))
        )

    async def _create_and_accept_claims(self, new: NewTask, roots: int) -> CreateTasksResult:
        self._creating.add(new.id)
        try:
            with self._slots.reserve_up_to(roots if self._lease.holds else 0) as reserved:
                created = await self._store.create_tasks(
                    [new],
                    worker=self._lease.id,
                    claim_up_to=reserved,
                )
            if created.claims:
                await self._cache.add_created_task(_build_task_input(new))
                self.accept_claims(created.claims)
        except BaseException:
            self.request_claim_verification()
            raise
        finally:
            self._creating.discard(new.id)
        return created

    async def wait_for_store_then_verify_claims(self) -> None:
        """After a lost reply, wait for the store; then the claims are compared with its own."""
        self._uncertain = True
        await self._lease.wait_for_store()
        self.wake()

    async def _reconcile_claims_with_store(self) -> None:
        """Run claims that only the store has for this worker, and revoke those that it lacks.

        Claims that the store does not list are void: after a crash of the database server, settled
        steps may be in progress again, and the steps that they freed are not claimed.
        """
        async with self._settler.pause_settlements():
            known, creating = self._held_attempt_keys(), set(self._creating)
            mine, fetching = self._executor.held_claims(), set(self._fetching)
            self._uncertain = False  # before the look: replies may be lost during it
            held = await self._store.list_held_claims(self._lease.id)
            listed = {claim.attempt_key for claim in held}
            self._executor.revoke_claims(
                [claim for claim in mine if claim.attempt_key not in listed]
            )
            self._fetching -= fetching - listed
            known |= self._held_attempt_keys()
            creating |= self._creating
            recovered = [
                claim
                for claim in held
                if claim.attempt_key not in known and claim.task_id not in creating
            ]
            for claim in recovered:  # its result, and those of later steps, may become others
                self._cache.remove_task(claim.task_id)
            self.accept_claims(recovered)

    def _held_attempt_keys(self) -> set[AttemptKey]:
        return {
            *self._executor.attempt_keys(),
            *self._settler.unsettled_attempt_keys(),
            *self._fetching,
        }

    # ---------------------------------------------------------------- accepting

    def accept_claims(self, claims: Sequence[Claim]) -> None:
        """Run claims, immediately if all their inputs are cached, otherwise after fetching them."""
        if self._closed:
            if claims:
                self._background.start_operation(self._release_claims(claims))
            return
        unknown: list[Claim] = []
        for claim in claims:
            task = self._cache.find_task_with_needed_results(claim)
            if task is None or (
                (queues := task.compiled.handler_queues) is not None and claim.no in queues
            ):
                unknown.append(claim)
            else:
                self._executor.start_or_queue_attempt(claim, task)
        if unknown:
            self._slots.reserve_until_released(len(unknown))
            self._fetching.update(claim.attempt_key for claim in unknown)
            self._background.start_operation(self._fetch_inputs_and_start(unknown))
        self._schedule_overdue_release()

    def _schedule_overdue_release(self) -> None:
        if self._executor.waiting_count and self._overdue is None:
            self._overdue = self._loop.call_later(
                PATIENCE, self._release_overdue_claims, self._slots.begun
            )

    def _release_overdue_claims(self, begun: int) -> None:
        """Release claims that would wait long for a slot because attempts have become slower."""
        self._overdue = None
        pace = self._slots.begun - begun  # as many began within PATIENCE
        if withdrawn := self._executor.withdraw_waiting_claims(pace):
            self._background.start_operation(self._release_claims(withdrawn))
        self._schedule_overdue_release()

    async def _fetch_inputs_and_start(self, claims: Sequence[Claim]) -> None:
        try:
            tasks = await self._fetch_readable_inputs(claims)
        finally:
            self._slots.release_reserved(len(claims))
            valid = {claim.attempt_key for claim in claims} & self._fetching  # others became void
            self._fetching -= valid
            self._slots.changed.set()
        if self._closed:
            await self._release_claims(claims)
            return
        for claim in claims:
            fetched = tasks.get(claim.attempt_key)
            if fetched is not None and claim.attempt_key in valid:  # None: pruned meanwhile
                self._executor.start_or_queue_attempt(
                    claim, fetched.task, queue_paused=fetched.queue_paused
                )
        self._schedule_overdue_release()

    async def _fetch_readable_inputs(
        self, claims: Sequence[Claim]
    ) -> Mapping[AttemptKey, FetchedInputs]:
        while True:
            try:
                tasks = await self._cache.fetch_claimed_tasks(claims)
                instances = await self._cache.fetch_instance_tasks(claims, tasks)
                known = {
                    claim.attempt_key: instances.get(claim.attempt_key, tasks[claim.task_id])
                    for claim in claims
                    if claim.task_id in tasks
                }
                return await self._add_queue_paused_flags(known)
            except StoreUnavailable:
                await self.wait_for_store_then_verify_claims()
            except TaskerError as error:
                if len(claims) == 1:
                    await self._postpone_unreadable_task(claims[0], error)
                    return {}
                half = len(claims) // 2
                first = await self._fetch_readable_inputs(claims[:half])
                return {**first, **await self._fetch_readable_inputs(claims[half:])}

    async def _add_queue_paused_flags(
        self, tasks: Mapping[AttemptKey, CachedTask]
    ) -> dict[AttemptKey, FetchedInputs]:
        """Find out which steps that the engine decides about have a handler with a paused queue."""
        queues = {key: _queue_to_check_for_pause(key, task) for key, task in tasks.items()}
        known = {queue for queue in queues.values() if queue is not None}
        paused = await self._store.find_paused_queues(known) if known else frozenset()
        return {key: FetchedInputs(task, queues[key] in paused) for key, task in tasks.items()}

    async def _postpone_unreadable_task(self, claim: Claim, error: TaskerError) -> None:
        """Settle a claim for another attempt later, because this worker cannot read its task."""
        facts = {"task_id": claim.task_id, "no": claim.no, "attempt": claim.attempt}
        log.error("task_unreadable", extra={**facts, "error": str(error)})
        outcome = retry_outcome(claim, serialize_exception(error, retryable=True), _POSTPONED)
        await self._settle_unstarted([outcome])

    async def _release_claims(self, claims: Sequence[Claim]) -> None:
        """Release claims that arrived too late to be run here."""
        if claims:
            await self._settle_unstarted([released_outcome(claim) for claim in claims])

    async def _settle_unstarted(self, outcomes: Sequence[Outcome]) -> None:
        """Settle claims that did not start. If that fails, run those that the store still lists."""
        try:
            await self._store.settle(self._lease.id, outcomes)
        except StoreUnavailable as error:
            facts = {"attempts": len(outcomes), "error": str(error)}
            log.warning("claims_not_released", extra=facts)
            self.request_claim_verification()


def _queue_to_check_for_pause(key: AttemptKey, task: CachedTask) -> PauseTarget | None:
    """Return the queue of a step's handler; None unless the engine decides about the step first."""
    if (queues := task.compiled.handler_queues) is None:
        return None
    return queues.get(key[1] if task.instance is None else task.instance.node)


def _build_task_input(new: NewTask) -> TaskInput:
    return TaskInput(
        new.id,
        new.template_id,
        new.context,
        new.correlation_id,
        new.parent_id,
        new.trace,
        new.priority,
    )

"""Settles finished attempts in batches: attempts that finish during a settlement form the next
batch."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from itertools import chain
from typing import Protocol

from tasker.engine.background import BackgroundTasks
from tasker.engine.failure import serialize_exception
from tasker.engine.lease import WorkerLease
from tasker.engine.publishing import build_finished_attempt
from tasker.engine.reporting import Reporter
from tasker.engine.running import FinishedAttempt, RunningAttempt
from tasker.engine.slots import Slots
from tasker.engine.spawning import cancel_siblings_if_fail_fast
from tasker.engine.task_cache import TaskCache
from tasker.errors import (
    Misuse,
    ParkedForTask,
    StepParked,
    StoreError,
    StoreUnavailable,
    WaitCycle,
)
from tasker.handlers.instances import InstanceInput
from tasker.model import (
    AttemptKey,
    Claim,
    NewEvent,
    OutcomeCode,
    SettleResult,
    failed_outcome,
    released_outcome,
)
from tasker.store.protocol import WorkerStore
from tasker.waits import ParkedForArrival

SETTLEMENTS = 2  #: that a remote worker sends at the same time, if both are large
LARGE = 100  #: claimed steps that are enough for several large settlements
MOST = 500  #: outcomes in one settlement
BYTES = 8 << 20  #: of results in one settlement, where it has more than one outcome


class FreedStepConsumer(Protocol):
    """Takes the steps that settlements free: the claimer."""

    def accept_claims(self, claims: Sequence[Claim]) -> None:
        """Run claims."""
        ...

    def schedule_claim(self, seconds: float) -> None:
        """Claim again in `seconds` or earlier: a step that failed or sleeps will be due."""
        ...

    def wake(self) -> None:
        """Claim again: limits may let more steps through."""
        ...

    def request_claim_verification(self) -> None:
        """Compare the claims with the store's before the next claim, which begins at once."""
        ...

    async def wait_for_store_then_verify_claims(self) -> None:
        """Wait until the store can be reached, after which the claims are compared with its own."""
        ...


class Settler:
    """Sends outcomes to the store.

    When no settlement is in progress, an outcome is sent immediately. Outcomes that arrive during a
    settlement form the next one, which begins when the first has ended or, if several settlements
    may be in progress, as soon as it is large. No timer is involved.

    Args:
        store: The store.
        lease: The lease under which outcomes are settled.
        slots: Reserved for the steps that a settlement frees.
        cache: Keeps results for later steps.
        reporter: Reports settlements.
        background: Runs the parking of steps.
        settlements: How many may be in progress at the same time.
    """

    def __init__(
        self,
        store: WorkerStore,
        lease: WorkerLease,
        slots: Slots,
        cache: TaskCache,
        reporter: Reporter,
        background: BackgroundTasks,
        *,
        settlements: int = SETTLEMENTS,
    ) -> None:
        self.published = asyncio.Event()
        """Set when a settlement has stored events."""

        self.relaxed = 0
        """Number of settlements with relaxed durability, which a crash of the database server can
        undo."""

        self._store = store
        self._lease = lease
        self._slots = slots
        self._cache = cache
        self._reporter = reporter
        self._background = background
        self._claimer: FreedStepConsumer
        self._settlements = settlements
        self._turns = asyncio.Semaphore(settlements)
        self._batches: dict[int, list[FinishedAttempt]] = {}  #: those being settled
        self._large = sys.maxsize  #: outcomes in a settlement that begins during another
        self._pending: list[FinishedAttempt] = []
        self._parking: set[AttemptKey] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def set_freed_step_consumer(self, claimer: FreedStepConsumer) -> None:
        """Set the receiver of freed steps, the only path back in the engine."""
        self._claimer = claimer

    def add_outcome(self, finished: FinishedAttempt) -> None:
        """Accept an outcome, to be settled soon."""
        if not self._pending:
            self._idle.clear()
        self._pending.append(finished)
        if not self._batches or len(self._pending) >= self._large:
            self._wake.set()

    async def run(self) -> None:
        """Settle until cancelled."""
        numbers = range(self._settlements)
        loops = [asyncio.ensure_future(self._run_settlement_loop(n)) for n in numbers]
        try:
            await asyncio.gather(*loops)
        finally:
            for loop in loops:
                loop.cancel()

    async def _run_settlement_loop(self, number: int) -> None:
        """Settle batches until cancelled, beside the other loops."""
        while True:
            while not self._pending or (self._batches and len(self._pending) < self._large):
                await self._wake.wait()
                self._wake.clear()
            self._batches[number] = batch = self._next_batch()
            await self._settle_batch(batch)
            del self._batches[number]
            if not self._pending and not self._batches:
                self._idle.set()

    def _next_batch(self) -> list[FinishedAttempt]:
        """Take outcomes for a settlement: while the store settles them, the other steps run."""
        capacity = self._slots.capacity
        if capacity < LARGE:
            most, self._large = max(1, capacity // 2), sys.maxsize
        else:
            most = self._large = min(capacity // (self._settlements + 1), MOST)
        count = _batch_size(self._pending, most)
        batch, self._pending = self._pending[:count], self._pending[count:]
        return batch

    async def drain(self) -> None:
        """Wait until all outcomes so far are settled."""
        await self._idle.wait()

    @property
    def waiting_count(self) -> int:
        """Number of outcomes that wait for a settlement."""
        return len(self._pending)

    def unsettled_attempt_keys(self) -> set[AttemptKey]:
        """Return the attempts that ended here but are perhaps not settled yet."""
        lists = (*self._batches.values(), self._pending)
        unsettled = (finished.outcome.attempt_key for finished in chain(*lists))
        return {*unsettled, *self._parking}

    @asynccontextmanager
    async def pause_settlements(self) -> AsyncIterator[None]:
        """Wait until no settlement is under way; none begins before the exit."""
        async with AsyncExitStack() as turns:
            for _ in range(self._settlements):
                await turns.enter_async_context(self._turns)
            yield

    # ------------------------------------------------------------------- settling

    async def _settle_batch(self, batch: list[FinishedAttempt]) -> None:
        while batch:
            try:
                async with self._turns:
                    most = _count_freeable_steps(batch) if self._lease.holds else 0
                    gated = any(finished.running.claim.gated for finished in batch)
                    relaxed = not gated and all(
                        finished.running.task.compiled.relaxed for finished in batch
                    )
                    events = _collect_events(batch)
                    with self._slots.reserve_up_to(most) as reserved:
                        settled = await self._store.settle(
                            self._lease.id,
                            [finished.outcome for finished in batch],
                            claim_up_to=reserved,
                            relaxed=relaxed,
                            events=events,
                            gated=gated,
                        )
                    if events:
                        self.published.set()
                    self.relaxed += relaxed
                    self._cache_and_report_settled_batch(batch, settled)
                    if gated:
                        self._claimer.wake()
                    return
            except StoreUnavailable:
                await self._claimer.wait_for_store_then_verify_claims()
                batch = await self._find_unstored_outcomes(batch)
            except StoreError as error:
                await self._isolate_invalid_outcome(batch, error)
                return

    def _cache_and_report_settled_batch(
        self, batch: Sequence[FinishedAttempt], settled: SettleResult
    ) -> None:
        rejected = set(settled.rejected)
        for index, (_, outcome, *_) in enumerate(batch):
            if outcome.outcome == OutcomeCode.COMPLETE and index not in rejected:
                self._cache.add_result(outcome.task_id, outcome.no, outcome.result)
            elif outcome.outcome in (OutcomeCode.RETRY, OutcomeCode.PARKED):
                self._claimer.schedule_claim(outcome.delay)
        self._reporter.report_settlements(batch, rejected)
        if settled.ended:
            tasks = {finished.outcome.task_id: finished.running.task for finished in batch}
            for task_id, _ in settled.ended:
                self._cache.remove_task(task_id)
            self._reporter.report_ended_tasks(settled.ended, tasks)
        self._claimer.accept_claims(settled.claims)

    async def _find_unstored_outcomes(self, batch: list[FinishedAttempt]) -> list[FinishedAttempt]:
        """After a lost reply, return the outcomes that the store does not have.

        A step that is no longer in progress was settled by the call whose reply was lost, or
        is held by another worker; either way there is nothing left to settle.
        """
        while True:
            try:
                held = {
                    claim.attempt_key
                    for worker in self._lease.ids
                    for claim in await self._store.list_held_claims(worker)
                }
            except StoreUnavailable:
                await self._claimer.wait_for_store_then_verify_claims()
            else:
                self._claimer.request_claim_verification()  # listing ends a remote poll
                for finished in batch:
                    if finished.outcome.attempt_key not in held:
                        self._reporter.report_unconfirmed_attempt(finished)
                return [finished for finished in batch if finished.outcome.attempt_key in held]

    async def _isolate_invalid_outcome(
        self, batch: list[FinishedAttempt], error: StoreError
    ) -> None:
        """Find the outcome that cannot be stored, and settle the others."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._settle_batch(batch[:half])
            await self._settle_batch(batch[half:])
            return
        only = batch[0]
        if only.outcome.outcome == OutcomeCode.ERROR:
            raise error  # even an error's text cannot be stored: the store is broken
        text = serialize_exception(
            Misuse(f"the outcome could not be stored: {error}"), retryable=False
        )
        rejected = failed_outcome(only.running.claim, text)
        await self._settle_batch([build_finished_attempt(only.running, rejected, only.ran_for)])

    # -------------------------------------------------------------------- parking

    def add_failure_after_cancelling_siblings(
        self, finished: FinishedAttempt, instance: InstanceInput
    ) -> None:
        """Accept the failure of an instance, to be settled after other instances were cancelled.

        They are cancelled only if their step declares it.
        """
        self._parking.add(finished.running.key)
        self._background.start_operation(self._cancel_siblings_and_add_outcome(finished, instance))

    async def _cancel_siblings_and_add_outcome(
        self, finished: FinishedAttempt, instance: InstanceInput
    ) -> None:
        running, cancelled = finished.running, False
        try:
            while not cancelled:
                try:
                    compiled = running.task.compiled
                    await cancel_siblings_if_fail_fast(
                        self._store, compiled, running.claim, instance
                    )
                    cancelled = True
                except StoreUnavailable:
                    await self._claimer.wait_for_store_then_verify_claims()
            self.add_outcome(finished)
        finally:
            self._parking.discard(running.key)

    def settle_external_failure_unless_completed(self, finished: FinishedAttempt) -> None:
        """Settle the final failure of an external step, unless a completion came first."""
        self._parking.add(finished.running.key)
        self._background.start_operation(self._settle_unless_completed(finished))

    async def _settle_unless_completed(self, finished: FinishedAttempt) -> None:
        running = finished.running
        try:
            while True:
                try:
                    events = _collect_events([finished])
                    settled = await self._store.fail_external_step_unless_completed(
                        finished.outcome, events
                    )
                    break
                except StoreUnavailable:
                    await self._claimer.wait_for_store_then_verify_claims()
                    if not await self._find_unstored_outcomes([finished]):
                        return
            if settled is None:  # the next attempt uses the completion
                self.add_outcome(
                    FinishedAttempt(running, released_outcome(running.claim), finished.ran_for)
                )
                return
            if events:
                self.published.set()
            self._cache_and_report_settled_batch([finished], settled)
            if running.claim.gated:
                self._claimer.wake()
        finally:
            self._parking.discard(running.key)

    def park_step(self, running: RunningAttempt, parked: StepParked) -> None:
        """Let an attempt's step wait."""
        self._parking.add(running.key)
        self._background.start_operation(self._park_and_notify_observers(running, parked))

    async def _park_and_notify_observers(self, running: RunningAttempt, parked: StepParked) -> None:
        try:
            held = await self._park_with_retries(running.claim, parked)
        except WaitCycle as error:
            outcome = failed_outcome(running.claim, serialize_exception(error, retryable=False))
            self.add_outcome(
                build_finished_attempt(running, outcome, time.monotonic() - running.began)
            )
            return
        finally:
            self._parking.discard(running.key)
        if held:
            ran_for = timedelta(seconds=time.monotonic() - running.began)
            self._reporter.report_wait(running, parked, ran_for)
        else:
            self._reporter.report_rejected_settlement(running)

    async def _park_with_retries(self, claim: Claim, parked: StepParked) -> bool:
        uncertain = False
        while True:
            try:
                held = await park_step_in_store(self._store, claim, parked)
            except StoreUnavailable:
                await self._claimer.wait_for_store_then_verify_claims()
                uncertain = True
            else:
                return held or uncertain


async def park_step_in_store(store: WorkerStore, claim: Claim, parked: StepParked) -> bool:
    """Let a step wait for a task or an arrival; return False if the attempt is over.

    Raises: WaitCycle, StoreUnavailable.
    """
    if isinstance(parked, ParkedForTask):
        return await store.park_until_task_ends(claim, parked.task_id)
    if isinstance(parked, ParkedForArrival):
        return await store.park_for_arrival(claim, parked.wait)
    raise TypeError(f"unknown wait: {parked!r}")


def _batch_size(waiting: Sequence[FinishedAttempt], most: int) -> int:
    """Return how many of the waiting outcomes to settle at once, at most `most`."""
    size = 0
    for count, finished in enumerate(waiting[:most]):
        size += len(finished.outcome.result or "")
        if finished.events:
            size += sum(len(event.payload) for event in finished.events)
        if size > BYTES and count:
            return count
    return min(len(waiting), most)


def _collect_events(batch: Sequence[FinishedAttempt]) -> list[NewEvent]:
    """Return the events of the outcomes of a settlement."""
    return [
        NewEvent(
            index,
            finished.running.task.input.template_id,
            finished.running.spec.name,
            finished.running.task.input.correlation_id,
            *event,
            finished.ran_for,
        )
        for index, finished in enumerate(batch)
        for event in finished.events
    ]


def _count_freeable_steps(batch: Sequence[FinishedAttempt]) -> int:
    """Return how many steps a settlement may free."""
    return sum(
        finished.running.task.compiled.fan_out[finished.running.node]
        for finished in batch
        if finished.outcome.outcome == OutcomeCode.COMPLETE
    )

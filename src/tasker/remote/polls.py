"""The polls of remote workers. Polls that wait for steps of the same queues claim together."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from tasker.errors import StoreError
from tasker.model import Claim, ClaimResult, GroupClaimResult, WorkerId, released_outcome
from tasker.remote.registered import QueueList, RegisteredWorker
from tasker.remote.wakeups import Wakeups
from tasker.store.protocol import Store

_MOST_STEPS = 500  #: of one claim
_LONGEST_PAUSE = 1.0  #: seconds between claims for polls that wait


class LongPolls:
    """Claims steps for polls, one claim at a time for polls of the same queues.

    Args:
        store: The store.
        queues: Finds the queues that a worker may serve.
        closing: Set when the server shuts down, which ends waits.
    """

    def __init__(self, store: Store, queues: QueueList, closing: asyncio.Event) -> None:
        self.store = store
        self.queues = queues
        self.closing = closing
        self.work = Wakeups(store.wait_for_work)
        self._groups: WeakValueDictionary[str, _PollGroup] = WeakValueDictionary()
        self._background: set[asyncio.Task[None]] = set()

    def claim(
        self, worker: RegisteredWorker, room: int, wait: float
    ) -> Coroutine[Any, Any, Sequence[Claim]]:
        """Claim up to `room` steps for a worker; wait up to `wait` seconds until there is one.

        If the caller is cancelled, the steps claimed for it are released.

        Raises: StoreUnavailable.
        """
        group = self._groups.get(worker.kind)
        if group is None:
            group = self._groups[worker.kind] = _PollGroup(self)
        return group.claim(_LongPoll(worker, room, wait))

    def schedule_poll_wakeup(self, seconds: float) -> None:
        """Let waiting polls claim again in `seconds`: a step that failed or sleeps will be due."""
        if seconds < _LONGEST_PAUSE:
            asyncio.get_running_loop().call_later(seconds, self.work.wake_all)

    async def end_poll_and_await_claims(self, worker: RegisteredWorker) -> None:
        """End the poll of a worker whose connection was lost; return when it no longer claims.

        Its claims are then in the store or released.
        """
        if (group := self._groups.get(worker.kind)) is not None:
            group.end_polls_of_worker(worker)
        while worker.claims_in_progress:
            await next(iter(worker.claims_in_progress)).wait()

    def release_claims_in_background(
        self, worker: RegisteredWorker, claims: Sequence[Claim]
    ) -> None:
        """Start to release claims for which nobody waits any longer."""
        ended = _mark_claim_begun([worker])

        async def settle_released() -> None:
            try:
                await self.store.settle(worker.id, [released_outcome(claim) for claim in claims])
            except StoreError:  # the worker finds what it holds with `resume`
                return
            finally:
                _mark_claim_ended([worker], ended)

        self.run_in_background(settle_released())

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background."""
        task = asyncio.create_task(work, name="tasker-polls")
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _mark_claim_begun(workers: Iterable[RegisteredWorker]) -> asyncio.Event:
    """Record that a claim for workers is in progress, until `_mark_claim_ended`."""
    ended = asyncio.Event()
    for worker in workers:
        worker.claims_in_progress.add(ended)
    return ended


def _mark_claim_ended(workers: Iterable[RegisteredWorker], ended: asyncio.Event) -> None:
    for worker in workers:
        worker.claims_in_progress.discard(ended)
    ended.set()


class _LongPoll:
    """One poll of a worker."""

    __slots__ = ("claims", "end", "room", "timer", "waits", "worker")

    def __init__(self, worker: RegisteredWorker, room: int, wait: float) -> None:
        loop = asyncio.get_running_loop()
        self.worker = worker
        self.room = room
        self.end = loop.time() + wait
        self.waits = wait > 0  #: whether it waits if there are no steps for it
        self.claims: asyncio.Future[Sequence[Claim]] = loop.create_future()
        self.timer: asyncio.TimerHandle | None = None


class _PollGroup:
    """The polls of workers that serve the same queues.

    Polls that arrive during a claim join the next one. A claim that returns fewer steps than
    requested shows that there are no more steps for any of them.
    """

    def __init__(self, polls: LongPolls) -> None:
        self._polls = polls
        self._new: dict[_LongPoll, None] = {}  #: to claim for
        self._waiting: dict[_LongPoll, None] = {}  #: for which there was nothing
        self._resting: asyncio.Task[None] | None = None
        self._is_claiming = False

    async def claim(self, poll: _LongPoll) -> Sequence[Claim]:
        if self._resting is not None and poll.waits:  # there is nothing for the others either
            self._add_waiting_poll(poll)
        else:
            self._queue_poll_and_start_claiming(poll)
        try:
            return await poll.claims
        finally:
            self._new.pop(poll, None)
            self._waiting.pop(poll, None)
            if poll.timer is not None:
                poll.timer.cancel()

    def _queue_poll_and_start_claiming(self, poll: _LongPoll) -> None:
        self._new[poll] = None
        if not self._is_claiming:
            self._is_claiming = True
            self._polls.run_in_background(self._run_claim_loop())
        elif self._resting is not None:
            self._resting.cancel()

    def _add_waiting_poll(self, poll: _LongPoll) -> None:
        self._waiting[poll] = None
        if poll.timer is None:
            loop = asyncio.get_running_loop()
            poll.timer = loop.call_at(poll.end, self._expire_poll, poll)

    def end_polls_of_worker(self, worker: RegisteredWorker) -> None:
        """End the polls of a worker, except those that a claim is in progress for."""
        for poll in [*self._new, *self._waiting]:
            if poll.worker is worker and not poll.claims.done():
                poll.claims.set_result(())

    async def _run_claim_loop(self) -> None:
        """Claim until no poll is left."""
        try:
            while self._new or self._waiting:
                heard, next_due = self._polls.work.heard, await self._serve_new_polls()
                if self._waiting:
                    pause = _LONGEST_PAUSE if next_due is None else min(next_due, _LONGEST_PAUSE)
                    await self._wait_for_steps(heard, max(pause, 0.001))
        finally:
            self._is_claiming = False

    async def _wait_for_steps(self, heard: int, pause: float) -> None:
        """Wait until there may be steps for the waiting polls, or until another poll arrives."""
        if self._new:
            return
        work, closing = self._polls.work, self._polls.closing
        resting = self._resting = asyncio.create_task(work.wait(heard, pause, closing))
        await asyncio.wait({resting})
        self._resting = None
        if not resting.cancelled():
            self._requeue_waiting_polls()

    def _requeue_waiting_polls(self) -> None:
        self._new, self._waiting = {**self._waiting, **self._new}, {}

    async def _serve_new_polls(self) -> float | None:
        """Claim for new polls; return the seconds until the next step is due, None if unknown."""
        next_due = None
        while self._new:
            group, others = self._take_claimable_polls(), list(self._new)
            if not group:
                continue
            workers = [poll.worker for poll in group]
            ended = _mark_claim_begun(workers)
            try:
                claimed, next_due = await self._claim_in_store(group)
            except Exception as error:  # delivered to those who wait
                for poll in group:
                    if not poll.claims.done():
                        poll.claims.set_exception(error)
                continue
            else:
                for poll in group:
                    self._deliver_claims(poll, claimed.get(poll.worker.id, ()))
            finally:
                _mark_claim_ended(workers, ended)
            if sum(map(len, claimed.values())) == sum(poll.room for poll in group):
                self._requeue_waiting_polls()  # there may be more
                continue
            for poll in others:
                if poll in self._new:
                    del self._new[poll]
                    self._deliver_claims(poll, ())
        return next_due

    def _take_claimable_polls(self) -> list[_LongPoll]:
        """Remove and return new polls to claim for; end those that may no longer claim."""
        group: list[_LongPoll] = []
        room = 0
        while self._new:
            poll = next(iter(self._new))
            worker = poll.worker
            if group and room + poll.room > _MOST_STEPS:
                break
            del self._new[poll]
            if poll.claims.done():
                continue
            if worker.quiet or not worker.is_live or self._polls.closing.is_set():
                poll.claims.set_result(())
                continue
            group.append(poll)
            room += poll.room
        return group

    def _deliver_claims(self, poll: _LongPoll, claims: Sequence[Claim]) -> None:
        """Respond to a poll; without claims, it continues to wait if it may."""
        if poll.claims.done():  # its caller is gone
            if claims:
                self._polls.release_claims_in_background(poll.worker, claims)
        elif claims or not poll.waits:
            poll.claims.set_result(claims)
        else:
            self._add_waiting_poll(poll)

    def _expire_poll(self, poll: _LongPoll) -> None:
        """End the wait of a poll; if a claim for it is in progress, respond after the claim."""
        poll.waits = False
        if poll in self._waiting and not poll.claims.done():
            poll.claims.set_result(())

    async def _claim_in_store(self, group: Sequence[_LongPoll]) -> GroupClaimResult:
        """Claim for polls, alternating whether steps with or without limits come first."""
        store, find_new = self._polls.store, self._polls.queues.serve_new_queues
        for poll in group:
            await find_new(poll.worker)
        rooms = {poll.worker.id: poll.room for poll in group}
        claims: dict[WorkerId, Sequence[Claim]] = {}
        times: list[float] = []

        def add_claimed(worker: WorkerId, claimed: ClaimResult) -> None:
            if claimed.claims:
                claims[worker] = [*claims.get(worker, ()), *claimed.claims]
                rooms[worker] -= len(claimed.claims)
            if claimed.next_due is not None:
                times.append(claimed.next_due)

        limited = [poll.worker for poll in group if poll.worker.serves_gated]
        first = [worker.id for worker in limited if worker.gated_first]
        for worker in limited:
            worker.gated_first = not worker.gated_first
        for worker_id in first:
            add_claimed(worker_id, await store.claim_limited_steps(worker_id, rooms[worker_id]))
        free = {worker_id: room for worker_id, room in rooms.items() if room}
        if len(free) == 1:
            [(worker_id, room)] = free.items()
            add_claimed(worker_id, await store.claim(worker_id, room))
        elif free:
            together = await store.claim_for_workers(free)
            for worker_id in free:
                add_claimed(
                    worker_id, ClaimResult(together.claims.get(worker_id, ()), together.next_due)
                )
        for worker in limited:
            if worker.id not in first and rooms[worker.id]:
                add_claimed(worker.id, await store.claim_limited_steps(worker.id, rooms[worker.id]))
        return GroupClaimResult(claims, min(times, default=None))

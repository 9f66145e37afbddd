"""The periodic duties of every worker; many may perform them at once.

What a lost worker held is settled as a failed attempt, tasks past their deadline end,
and so do failed tasks of which nothing can run any more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random

from tasker import retry
from tasker.engine.failure import lost_text
from tasker.engine.lease import WorkerLease
from tasker.engine.task_cache import TaskCache
from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import ExpiredAttempt, Outcome, Retry, TaskEnd, failed, lost
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

PERIOD = 2.0  #: seconds between looks; where leases are shorter, as long as they are
MOST = 200  #: expired attempts settled at once
MOST_LOST = 10  #: attempts of a step lost with their worker; the last one is its failure
SWEPT = 100  #: a sweep that ended so many tasks may have left some
_UNKNOWN = Retry(max_attempts=1_000_000)  #: of a step whose template cannot be read here


class Janitor:
    """Performs the duties.

    Args:
        store: The store.
        knowledge: Where templates, and with them retry policies, are known.
        presence: As whom to settle.
        lease: How long leases are here.
        ended: Told of the tasks that ended by it.
    """

    def __init__(
        self,
        store: Store,
        knowledge: TaskCache,
        presence: WorkerLease,
        *,
        lease: timedelta,
        ended: Callable[[Sequence[TaskEnd]], None],
    ) -> None:
        self._store = store
        self._knowledge = knowledge
        self._presence = presence
        self._ended = ended
        self._period = min(PERIOD, lease.total_seconds())
        self._rng = Random()

    async def run(self) -> None:
        """Perform the duties for ever."""
        while True:
            try:
                while await self.expire() == MOST:
                    pass
                await self._sweep()
            except StoreUnavailable:
                pass  # whoever needs the store says so
            await asyncio.sleep(self._period * (0.8 + 0.4 * self._rng.random()))

    async def _sweep(self) -> None:
        many = SWEPT
        while many >= SWEPT:
            ended = await self._store.sweep()
            self._ended(ended)
            many = len(ended)

    async def expire(self) -> int:
        """Settle attempts whose worker's lease expired; tell how many were found."""
        expired = await self._store.expired(MOST)
        if expired:
            workers = sorted({found.worker for found in expired})
            log.warning("leases_lapsed", extra={"workers": workers, "attempts": len(expired)})
            outcomes = [await self._outcome(found) for found in expired]
            settled = await self._store.settle(self._presence.id, outcomes)
            self._ended(settled.ended)
        return len(expired)

    async def _outcome(self, expired: ExpiredAttempt) -> Outcome:
        policy = await self._policy(expired)
        text = lost_text(expired.worker)
        losses = expired.lost_attempts + 1
        if not policy.retryable or losses >= MOST_LOST:
            return failed(expired.claim, text)
        return lost(expired.claim, text, retry.delay_after(losses, policy, self._rng))

    async def _policy(self, expired: ExpiredAttempt) -> Retry:
        try:
            served = await self._knowledge.template(expired.template_id)
        except StoreUnavailable:
            raise
        except TaskerError as error:  # a template that only a later release can read
            facts = {"task_id": expired.claim.task_id, "error": str(error)}
            log.error("template_unreadable", extra=facts)
            return _UNKNOWN
        return served.spec(expired.claim.no).retry

"""The periodic duties of every worker; many may perform them at once.

What a lost worker held is settled as a failed attempt, tasks past their deadline end,
and so do failed tasks of which nothing can run any more.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from tasker import retry
from tasker.engine.failure import lost_text
from tasker.engine.knowledge import Knowledge
from tasker.errors import StoreUnavailable
from tasker.model import Lapsed, Outcome, TaskEnd, WorkerId, failed, lost
from tasker.store.protocol import Store

PERIOD = 2.0  #: seconds
MOST = 200  #: lapsed attempts settled at once


class Janitor:
    """Performs the duties.

    Args:
        store: The store.
        knowledge: Where templates, and with them retry policies, are known.
        ended: Told of the tasks that ended by it.
    """

    def __init__(
        self, store: Store, knowledge: Knowledge, *, ended: Callable[[Sequence[TaskEnd]], None]
    ) -> None:
        self._store = store
        self._knowledge = knowledge
        self._ended = ended
        self._rng = Random()

    async def run(self, worker: Callable[[], WorkerId]) -> None:
        """Perform the duties for ever, as the worker that `worker` tells."""
        while True:
            try:
                while await self.expire(worker()) == MOST:
                    pass
                self._ended(await self._store.sweep())
            except StoreUnavailable:
                pass  # whoever needs the store says so
            await asyncio.sleep(PERIOD * (0.8 + 0.4 * self._rng.random()))

    async def expire(self, worker: WorkerId) -> int:
        """Settle attempts whose worker's lease lapsed; tell how many were found."""
        lapsed = await self._store.lapsed(MOST)
        if lapsed:
            outcomes = [await self._outcome(found) for found in lapsed]
            settled = await self._store.settle(worker, outcomes)
            self._ended(settled.ended)
        return len(lapsed)

    async def _outcome(self, lapsed: Lapsed) -> Outcome:
        served = await self._knowledge.template(lapsed.template_id)
        spec = served.spec(lapsed.claim.no)
        text = lost_text(lapsed.worker)
        tries = max(lapsed.claim.tries, 1)
        if not retry.again(spec.retry, tries):
            return failed(lapsed.claim, text)
        return lost(lapsed.claim, text, retry.delay_after(tries, spec.retry, self._rng))

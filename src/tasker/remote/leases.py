"""Renews the leases of remote workers and reports which of their claims are over."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tasker.engine.slots import MOST_AHEAD
from tasker.errors import LeaseLost
from tasker.model import Claim
from tasker.remote import fields
from tasker.remote.claim_responses import ClaimResponseBuilder
from tasker.remote.grouping import BatchingLeaseRenewer
from tasker.remote.polls import LongPolls
from tasker.remote.registered import RegisteredWorker
from tasker.remote.registration import MOST_SLOTS
from tasker.remote.steps import StepFinder
from tasker.remote.tickets import Ticket
from tasker.remote.wakeups import Wakeups
from tasker.store.protocol import Store

RENEWALS = 3  #: renewals per lease
_ENDS = 20  #: times within the longest wait at which long waits end


class LeaseService:
    """Renews the leases of remote workers, and compares their claims with the store's.

    Args:
        store: The store.
        finder: Reads tickets.
        responses: Builds the responses.
        polls: The polls of workers.
        lease: Time after which the steps of a worker that does not renew are taken over.
        closing: Set when the server shuts down, which ends waits.
    """

    def __init__(
        self,
        store: Store,
        finder: StepFinder,
        responses: ClaimResponseBuilder,
        polls: LongPolls,
        lease: timedelta,
        closing: asyncio.Event,
    ) -> None:
        self._store = store
        self._finder = finder
        self._responses = responses
        self._polls = polls
        self.lease = lease
        self.pause = lease.total_seconds() / RENEWALS
        """Seconds between two renewals."""

        self._closing = closing
        self._revocation = Wakeups(store.wait_for_revocation)
        self._renewals = BatchingLeaseRenewer(store, lease)

    async def renew_after_revocation_or_timeout(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Wait until a claim may have been revoked or the wait ends, then renew the lease.

        Raises: InvalidRequest, LeaseLost.
        """
        named = await self._verify_held_tickets(worker, body)
        wait = fields.read_seconds(body, "wait_s", self.pause, 0.0)
        loop = asyncio.get_running_loop()
        end = _aligned_wait_end(loop.time(), wait, self.pause)
        heard = self._revocation.heard if worker.heard is None else worker.heard
        while True:
            if (left := end - loop.time()) > 0:
                await self._revocation.wait(heard, left, self._closing)
            is_over = self._closing.is_set() or end - loop.time() <= 0
            worker.heard = heard = self._revocation.heard  # more may be revoked during the look
            known = {**worker.given, **named}  # those passed on meanwhile too
            if not known and not is_over:
                continue
            held = {
                ticket.claim.attempt_key: (ticket.claim, text) for text, ticket in known.items()
            }
            revoked = await self._renew_in_store(worker, [claim for claim, _ in held.values()])
            if revoked or worker.quiet or is_over:
                cancelled = [held[claim.attempt_key][1] for claim in revoked]
                worker.forget_tickets(revoked)
                return {
                    "lease_s": self.lease.total_seconds(),
                    "cancelled": cancelled,
                    "quiet": worker.quiet,
                }

    async def _renew_in_store(self, worker: RegisteredWorker, held: Sequence[Claim]) -> list[Claim]:
        """Renew a lease; return the claims that the worker has lost. Raises LeaseLost."""
        renewed = await self._renewals.renew(worker.id, held)
        if renewed is None:
            worker.is_live = False
            raise LeaseLost(f"the lease of worker {worker.id} has expired")
        worker.quiet = renewed.quiet
        given = {claim.attempt_key for claim in held}
        return [claim for claim in renewed.revoked if claim.attempt_key in given]

    async def resync_claims(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Any]:
        """Return the claims that the store has for a worker and that the worker does not know.

        A waiting claim request of the worker ends, because nobody receives its response.
        """
        known = await self._verify_held_tickets(worker, body)
        await self._polls.end_poll_and_await_claims(worker)
        keys = {ticket.claim.attempt_key for ticket in known.values()}
        held = await self._store.list_held_claims(worker.id)
        listed = {claim.attempt_key for claim in held}
        new = [claim for claim in held if claim.attempt_key not in keys]
        worker.given = {
            text: ticket for text, ticket in known.items() if ticket.claim.attempt_key in listed
        }
        for claim in new:
            self._finder.get_or_add_task_cache(worker).remove_task(claim.task_id)
        answer = await self._responses.build_response(worker, new)
        answer["cancelled"] = [
            text for text, ticket in known.items() if ticket.claim.attempt_key not in listed
        ]
        return answer

    async def _verify_held_tickets(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> dict[str, Ticket]:
        texts = fields.read_texts(body, "held", most=MOST_SLOTS + MOST_AHEAD)
        return {text: await self._finder.verify_ticket(worker, text) for text in texts}


def _aligned_wait_end(now: float, wait: float, longest: float) -> float:
    """Return when a wait ends. Long waits end at the same times: their leases are renewed together.

    A wait is shortened by at most a twentieth of the longest one.
    """
    step = longest / _ENDS
    end = now + wait
    return end - end % step if wait > longest / 2 else end

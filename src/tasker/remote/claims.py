"""Claims steps for remote workers: long polls, and the payload of claimed steps."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tasker.errors import AttemptCancelled, LeaseLost
from tasker.model import Claim
from tasker.remote import fields
from tasker.remote.claim_responses import ClaimResponseBuilder
from tasker.remote.errors import ClaimRequestInProgress
from tasker.remote.polls import LongPolls
from tasker.remote.registered import RegisteredWorker
from tasker.remote.registration import MOST_SLOTS
from tasker.remote.serving import ServedStep, build_payload
from tasker.remote.steps import StepFinder
from tasker.store.protocol import Store

WAIT = 25.0  #: longest wait of a claim, in seconds: less than common proxies allow
_WITHOUT_ROOM = 1.0  #: longest wait of a worker that may have no more steps


class ClaimService:
    """Claims steps for remote workers, and reads the payloads of claimed steps.

    Args:
        store: The store.
        polls: Claims and waits.
        finder: Finds the tasks of claims.
        responses: Builds the responses.
    """

    def __init__(
        self,
        store: Store,
        polls: LongPolls,
        finder: StepFinder,
        responses: ClaimResponseBuilder,
    ) -> None:
        self._store = store
        self._polls = polls
        self._finder = finder
        self._responses = responses

    async def claim(self, worker: RegisteredWorker, body: fields.JsonBody) -> dict[str, Any]:
        """Claim steps for a worker, waiting if none is due.

        Raises: ClaimRequestInProgress, InvalidInput, LeaseLost.
        """
        most = fields.read_integer(body, "max", 1, MOST_SLOTS)
        wait = fields.read_seconds(body, "wait_s", WAIT, 0.0)
        if worker.is_claiming:
            raise ClaimRequestInProgress(
                "this worker already has a claim request in progress; wait for its response"
            )
        claims: Sequence[Claim] = ()
        worker.is_claiming = True
        try:
            if worker.is_live and not worker.quiet:
                if room := await self._refresh_tickets_and_limit_claim(worker, most):
                    claims = await self._polls.claim(worker, room, wait)
                else:
                    await asyncio.sleep(min(wait, _WITHOUT_ROOM))
        finally:
            worker.is_claiming = False
        if not worker.is_live:
            raise LeaseLost(f"the lease of worker {worker.id} has expired")
        return await self._responses.build_response(worker, claims)

    async def _refresh_tickets_and_limit_claim(self, worker: RegisteredWorker, most: int) -> int:
        """Return how many of `most` steps a worker may get.

        If it has too little free capacity, first forget tickets whose claims the store no longer
        lists, for example because the worker settled the steps at another server.
        """
        if most > worker.free_capacity:
            known = list(worker.given.values())
            held = {claim.attempt_key for claim in await self._store.list_held_claims(worker.id)}
            worker.forget_tickets(
                ticket.claim for ticket in known if ticket.claim.attempt_key not in held
            )
        return max(min(most, worker.free_capacity), 0)

    async def read_payload(self, worker: RegisteredWorker, body: fields.JsonBody) -> dict[str, Any]:
        """Return the values that a handler reads. Raises AttemptCancelled, InvalidTicket."""
        ticket = await self._finder.verify_ticket(worker, body.get("ticket"))
        for claim in await self._store.list_held_claims(worker.id):
            if claim.attempt_key == ticket.claim.attempt_key:
                [task] = await self._finder.find_tasks_by_claims(worker, [claim])
                if task is not None:
                    return build_payload(worker, ServedStep.for_claim(claim, task))
        raise AttemptCancelled("the attempt is over")

"""The server's side of the worker protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from tasker.client import LocalClient
from tasker.engine.reporting import Reporter
from tasker.engine.services import HandlerServices
from tasker.engine.settler import SETTLEMENTS
from tasker.engine.slots import MOST_AHEAD
from tasker.errors import AttemptCancelled
from tasker.model import AccessChannel, WorkerId, WorkerRegistration, released_outcome
from tasker.remote import fields
from tasker.remote.attempts import AttemptService
from tasker.remote.claim_responses import ClaimResponseBuilder
from tasker.remote.claims import WAIT, ClaimService
from tasker.remote.errors import InvalidTicket
from tasker.remote.leases import LeaseService
from tasker.remote.outcomes import OutcomeEvaluator
from tasker.remote.polls import LongPolls
from tasker.remote.registered import QueueList, RegisteredWorker, RegisteredWorkers
from tasker.remote.registration import PROTOCOL, RemoteRegistration
from tasker.remote.reporting import RemoteReporter
from tasker.remote.serving import ServedStep
from tasker.remote.settlements import MOST_OUTCOMES, SettlementService
from tasker.remote.settler import RemoteSettler
from tasker.remote.steps import StepFinder
from tasker.settings import JsonSchemaMismatchAction
from tasker.store.protocol import AuditNote, Store

FEATURES = (
    "signals",
    "approvals",
    "durable_calls",
    "spawn",
    "instances",
    "run_task",
    "progress",
    "logs",
)

Call = Callable[[RegisteredWorker, fields.JsonBody], Awaitable[Mapping[str, Any] | None]]
"""Function that handles one call of a worker; it returns None if the response has no content."""


class RemoteWorkerService:
    """Handles the calls of remote workers.

    Args:
        store: The store.
        client: The client that creates tasks on behalf of their attempts.
        reporter: Reports their attempts.
        results: What to do with a result that does not match its step's `result_schema`.
        public_url: The server's address for the completion of external steps.
        lease: Time after which the steps of a worker that does not renew are taken over.
        closing: Set when the server shuts down, which ends waits.
    """

    def __init__(
        self,
        store: Store,
        client: LocalClient,
        reporter: Reporter,
        *,
        results: JsonSchemaMismatchAction,
        public_url: str,
        lease: timedelta,
        closing: asyncio.Event,
    ) -> None:
        self._store = store
        self._workers = RegisteredWorkers(store)
        self._queues = QueueList(store)
        self._finder = finder = StepFinder(store)
        judge = OutcomeEvaluator(results)
        # created on first use: an application may be created before its event loop runs
        services = cache(lambda: HandlerServices(store, client, public_url.rstrip("/")))
        reports = RemoteReporter(reporter)
        polls = LongPolls(store, self._queues, closing)
        settler = RemoteSettler(store, finder, judge, reports, polls.schedule_poll_wakeup)
        responses = ClaimResponseBuilder(store, finder, settler, judge, public_url, reports)
        claims = ClaimService(store, polls, finder, responses)
        attempts = AttemptService(store, finder, services, client)
        settlements = SettlementService(
            store, finder, settler, responses, judge, attempts, services, reports
        )
        self._leases = LeaseService(store, finder, responses, polls, lease, closing)
        self.calls: Mapping[str, Call] = {
            "claim": claims.claim,
            "payload": claims.read_payload,
            "settle": settlements.settle,
            "renew": self._leases.renew_after_revocation_or_timeout,
            "resume": self._leases.resync_claims,
            "template": attempts.read_template,
            "checkpoint": attempts.save_checkpoint,
            "calls": attempts.list_durable_calls,
            "once": attempts.record_once,
            "record": attempts.record_durable_call,
            "spawn": attempts.spawn_instances,
            "instances": attempts.list_instance_results,
            "run_task": attempts.find_or_create_child_task,
            "progress": attempts.log_progress,
            "logs": attempts.append_logs,
        }
        """The calls, by the last segment of their routes."""

    async def register_worker(
        self,
        body: fields.JsonBody,
        principal: str,
        credential: str,
        allowed: frozenset[str] | None,
        permitted: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        """Register a worker.

        Args:
            body: The request.
            principal: The name of its credential's owner.
            credential: The credential, as `Principal` names it.
            allowed: The namespaces that the credential may serve; None: all.
            permitted: Names of the handlers that it may serve, such as `payments.*`; empty: all.

        Raises: InvalidRequest, UnsupportedProtocol.
        """
        given = RemoteRegistration.from_request(body)._replace(credential=credential)
        registration = given.restrict_to(allowed, permitted)
        worker_id = await self._store.register_worker(
            registration.name,
            lease=self._leases.lease,
            slots=registration.slots,
            handlers=list(registration.handlers),
            process=WorkerRegistration(
                labels=registration.labels,
                build=registration.build,
                sdk=registration.sdk,
                principal=principal,
            ),
            registration=registration.to_json(),
            act=AuditNote(actor=principal, via=AccessChannel.API),
        )
        worker = RegisteredWorker(worker_id, registration, principal)
        self._workers.add(worker)
        served = await self._queues.serve_new_queues(worker, at_once=True)
        unbound = registration.list_unbound_handlers()
        lacking = set(self._queues.list_uncalled_handlers(registration)) - {*unbound}
        return {
            "worker": str(worker_id),
            "protocol": PROTOCOL,
            "features": FEATURES,
            "lease_s": self._leases.lease.total_seconds(),
            "renew_s": self._leases.pause,
            "wait_s": WAIT,
            "claim_ahead": MOST_AHEAD,
            "settlements": SETTLEMENTS,
            "max_outcomes": MOST_OUTCOMES,
            "body_bytes": 32 << 20,
            "queues": served,
            "unserved": sorted(lacking),
            "refused": unbound,
        }

    async def get_worker(self, worker_id: WorkerId) -> RegisteredWorker:
        """Return a worker. Raises UnknownWorker."""
        return await self._workers.get_or_load(worker_id)

    async def retire_worker(self, worker: RegisteredWorker) -> None:
        """Release the claims of a worker and end its lease."""
        try:
            if held := await self._store.list_held_claims(worker.id):
                await self._store.settle(worker.id, [released_outcome(claim) for claim in held])
        finally:
            act = AuditNote(actor=worker.principal, via=AccessChannel.API)
            await self._store.retire_worker(worker.id, act)
        worker.is_live = False

    async def get_running_attempt_by_ticket(
        self, text: str, principal: str, credential: str
    ) -> ServedStep:
        """Return the running attempt of a ticket that belongs to the caller.

        Raises: AttemptCancelled, InvalidTicket.
        """
        ticket = (await self._finder.load_ticket_signer()).verify(text, None)
        worker = await self.get_worker(ticket.worker)
        if not worker.was_registered_by(principal, credential):
            raise InvalidTicket("the ticket belongs to a worker of another caller")
        [step] = await self._finder.find_steps_by_tickets(worker, [ticket])
        if step is None or not await self._finder.is_claim_held(worker, step):
            raise AttemptCancelled("the ticket's attempt is over")
        return step

"""Finds the steps of tickets and the tasks of claims."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tasker.engine.failure import serialize_exception
from tasker.engine.task_cache import CachedTask
from tasker.errors import AttemptCancelled, StoreError, TaskerError
from tasker.model import Claim, retry_outcome
from tasker.remote import fields
from tasker.remote.registered import RegisteredWorker
from tasker.remote.serving import ServedStep
from tasker.remote.tasks import TaskCacheForRemoteWorkers
from tasker.remote.tickets import Ticket, TicketSigner
from tasker.store.protocol import Store

_MOST_ENVIRONMENTS = 16  #: whose tasks are cached
_POSTPONED = timedelta(seconds=30)  #: until a task that cannot be read is tried again


class StepFinder:
    """Finds the steps of tickets and claims in the server's cache or, if they are absent, in the
    store.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._caches: dict[str | None, TaskCacheForRemoteWorkers] = {}
        self._tickets: TicketSigner | None = None

    def get_or_add_task_cache(self, worker: RegisteredWorker) -> TaskCacheForRemoteWorkers:
        """Return the cache of the tasks whose steps a worker runs."""
        environment = worker.registration.environment
        cache = self._caches.get(environment)
        if cache is None:
            while len(self._caches) >= _MOST_ENVIRONMENTS:
                del self._caches[next(iter(self._caches))]
            cache = self._caches[environment] = TaskCacheForRemoteWorkers(self._store, environment)
        return cache

    async def load_ticket_signer(self) -> TicketSigner:
        """Return the object that signs and reads tickets, with the keys that the store has."""
        if self._tickets is None:
            self._tickets = TicketSigner(await self._store.find_or_add_ticket_signing_keys())
        return self._tickets

    async def verify_ticket(self, worker: RegisteredWorker, text: object) -> Ticket:
        """Return the content of a worker's ticket. Raises InvalidTicket."""
        if isinstance(text, str) and (known := worker.given.get(text)) is not None:
            return known
        return (await self.load_ticket_signer()).verify(text, worker.id)

    async def get_step_by_ticket(
        self, worker: RegisteredWorker, body: fields.JsonBody
    ) -> ServedStep:
        """Return the step of a request's ticket. Raises AttemptCancelled, InvalidTicket."""
        ticket = await self.verify_ticket(worker, body.get("ticket"))
        [step] = await self.find_steps_by_tickets(worker, [ticket])
        if step is None:
            raise AttemptCancelled("the attempt is over: its task no longer exists")
        return step

    async def is_claim_held(self, worker: RegisteredWorker, step: ServedStep) -> bool:
        """Return whether the store still has the claim of a step for its worker."""
        held = await self._store.list_held_claims(worker.id)
        return any(claim.attempt_key == step.claim.attempt_key for claim in held)

    async def find_steps_by_tickets(
        self, worker: RegisteredWorker, tickets: Sequence[Ticket]
    ) -> Sequence[ServedStep | None]:
        """Return the steps of tickets, without results; None for those of pruned tasks."""
        cache = self.get_or_add_task_cache(worker)
        tasks = await cache.load_tasks({ticket.claim.task_id for ticket in tickets})
        made = [
            ticket.claim
            for ticket in tickets
            if ticket.node != ticket.claim.no and ticket.claim.task_id in tasks
        ]
        instances = await cache.fetch_instance_tasks(made, tasks) if made else {}
        steps: list[ServedStep | None] = []
        for claim, _, node, _, given_at in tickets:
            task = (instances and instances.get(claim.attempt_key)) or tasks.get(claim.task_id)
            steps.append(
                None
                if task is None
                else ServedStep(claim, task, node, task.compiled.step_spec(node), given_at)
            )
        return steps

    async def find_tasks_by_claims(
        self, worker: RegisteredWorker, claims: Sequence[Claim]
    ) -> Sequence[CachedTask | None]:
        """Return the tasks of claims, as the steps' handlers see them; None for pruned ones.

        A step whose task cannot be read is tried again later.
        """
        cache = self.get_or_add_task_cache(worker)
        known = [cache.find_task_with_needed_results(claim) for claim in claims]
        missing = [claim for claim, task in zip(claims, known, strict=True) if task is None]
        if not missing:
            return known
        fetched: dict[Any, CachedTask] = {}
        try:
            tasks = await cache.fetch_claimed_tasks(missing)
            instances = await cache.fetch_instance_tasks(missing, tasks)
        except StoreError:
            raise
        except TaskerError as error:
            if len(claims) == 1:
                text = serialize_exception(error, retryable=True)
                outcome = retry_outcome(claims[0], text, _POSTPONED)
                await self._store.settle(worker.id, [outcome])
                return [None]
            return [
                task for each in claims for task in await self.find_tasks_by_claims(worker, [each])
            ]
        for claim in missing:
            task = instances.get(claim.attempt_key) or tasks.get(claim.task_id)
            if task is not None and (
                claim.attempt_key in instances or not _is_instance_claim(task, claim)
            ):
                fetched[claim.attempt_key] = task
        return [
            fetched.get(claim.attempt_key) if task is None else task
            for claim, task in zip(claims, known, strict=True)
        ]


def _is_instance_claim(task: CachedTask, claim: Claim) -> bool:
    return task.compiled.is_runtime_step(claim.no)

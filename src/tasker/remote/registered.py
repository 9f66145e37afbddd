"""The remote workers that a server knows, and the queues that they serve."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import orjson

from tasker.engine.slots import MOST_AHEAD
from tasker.model import ENGINE, Claim, Queue, WorkerId
from tasker.remote.errors import UnknownWorker
from tasker.remote.registration import RemoteRegistration
from tasker.remote.tasks import RemoteTemplate
from tasker.remote.tickets import Ticket
from tasker.store.protocol import Store

_MOST = 10_000  #: workers in memory; the oldest are read again when they are needed


class HandlerAssignment(NamedTuple):
    """The handler that a worker runs for a step of a template."""

    fields: Mapping[str, Any]
    """The part of a response that all attempts of the step share. It includes the handler's index
    in the worker's registration, if that is known."""

    config: orjson.Fragment
    """The step's configuration."""

    readable: Sequence[tuple[str, int]]
    """Names and numbers of the steps whose results the handler gets."""


class RegisteredWorker:
    """The state of one remote worker in a server.

    Args:
        worker_id: The worker's id.
        registration: Its registration, limited to what its credential may serve.
        principal: The name of its credential's owner.
    """

    __slots__ = (
        *("__weakref__", "_assignments", "claims_in_progress", "gated_first", "given", "heard"),
        *("id", "is_claiming", "is_live", "kind", "namespaces", "principal", "quiet"),
        *("readable_namespaces", "registration", "seen", "serves_gated"),
    )

    def __init__(
        self, worker_id: WorkerId, registration: RemoteRegistration, principal: str
    ) -> None:
        self.id = worker_id
        self.registration = registration
        self.principal = principal
        self.namespaces = frozenset(
            namespace
            for group in registration.handlers.values()
            for handler in group
            for namespace in handler.namespaces
        )
        """All that it serves."""

        self.kind = registration._replace(
            name="", slots=1, sdk="", build="", credential=""
        ).to_json()
        """A key shared by all workers that serve the same queues."""

        self.readable_namespaces: Callable[[], Awaitable[frozenset[str] | None]] = (
            _no_namespace_restriction
        )
        """Function that returns the namespaces whose tasks the worker's credential may read, or
        None for all namespaces."""

        self.quiet = False  #: whether it must not claim more steps
        self.is_live = True  #: whether its lease is valid, as far as this server knows
        self.is_claiming = False
        self.claims_in_progress: set[asyncio.Event] = set()
        """An `asyncio.Event` for each call that claims steps for this worker or releases its
        claims; it is set when the call ends."""

        self.given: dict[str, Ticket] = {}
        """Tickets that this server issued for attempts that are not settled yet."""

        self.heard: int | None = None
        """Number of revocation notifications that the server had received at the last
        renewal."""

        self.seen = 0  #: how many of the server's list of queues were considered
        self.serves_gated = False
        self.gated_first = False
        self._assignments: dict[tuple[RemoteTemplate, int], HandlerAssignment] = {}

    def reuse_equal_fields_of(self, alike: "RegisteredWorker") -> None:
        """Refer to the equal fields of a worker that serves the same queues, so that they are kept
        in memory once."""
        given = alike.registration
        self.kind, self.namespaces = alike.kind, alike.namespaces
        self.registration = self.registration._replace(
            labels=given.labels, handlers=given.handlers, permitted=given.permitted
        )

    @property
    def free_capacity(self) -> int:
        """How many more steps it may have: as many as it has slots, and some claimed ahead."""
        return self.registration.slots + MOST_AHEAD - len(self.given)

    def forget_tickets(self, claims: Iterable[Claim]) -> None:
        """Forget the tickets of claims that the worker no longer has."""
        if keys := {claim.attempt_key for claim in claims}:
            self.given = {
                text: ticket
                for text, ticket in self.given.items()
                if ticket.claim.attempt_key not in keys
            }

    def was_registered_by(self, principal: str, credential: str) -> bool:
        """Return whether a caller's credential registered it."""
        return (principal, credential) == (self.principal, self.registration.credential)

    def handler_assignment_of_node(self, template: RemoteTemplate, node: int) -> HandlerAssignment:
        """Return the handler that the worker runs for a node of a template."""
        assignment = self._assignments.get((template, node))
        if assignment is None:
            handler = self.registration.find_step_handler(
                template.step_spec(node), template.template.namespace
            )
            shared = template.response_fields(node)
            place = None if handler is None else handler.place
            assignment = HandlerAssignment(
                shared.head if place is None else {**shared.head, "handler_index": place},
                shared.config,
                template.list_readable_steps(
                    node, "ancestors" if handler is None else handler.needs
                ),
            )
            if len(self._assignments) > _MOST:
                self._assignments.clear()
            self._assignments[template, node] = assignment
        return assignment


async def _no_namespace_restriction() -> None:
    return None


class RegisteredWorkers:
    """Finds workers; workers registered at other servers are read from the store.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workers: dict[WorkerId, RegisteredWorker] = {}
        self._alike: WeakValueDictionary[str, RegisteredWorker] = WeakValueDictionary()
        """For each `kind`, the worker of this kind that was registered last."""

    def add(self, worker: RegisteredWorker) -> None:
        """Keep a worker in memory; too many workers push out the oldest."""
        while len(self._workers) >= _MOST:
            del self._workers[next(iter(self._workers))]
        if (alike := self._alike.get(worker.kind)) is not None:
            worker.reuse_equal_fields_of(alike)
        self._alike[worker.kind] = worker
        self._workers[worker.id] = worker

    async def get_or_load(self, worker_id: WorkerId) -> RegisteredWorker:
        """Return a worker from memory, or else from the store. Raises UnknownWorker."""
        if (worker := self._workers.get(worker_id)) is not None:
            return worker
        stored = await self._store.find_remote_worker(worker_id)
        if stored is None:
            raise UnknownWorker(f"worker {worker_id} is not registered; register again")
        registration = RemoteRegistration.from_json(stored.registration)
        worker = RegisteredWorker(worker_id, registration, stored.principal)
        worker.quiet, worker.is_live = stored.quiet, stored.alive
        self.add(worker)
        return worker


class QueueList:
    """The list of all queues, read at most every half second for all workers.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues: list[Queue] = []
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def serve_new_queues(self, worker: RegisteredWorker, *, at_once: bool = False) -> int:
        """Let a worker serve further queues that it may serve; return how many."""
        now = asyncio.get_running_loop().time()
        if at_once or now - self._looked_at >= _LOOK:
            async with self._lock:
                if at_once or now - self._looked_at >= _LOOK:
                    after = {"after": self._queues[-1].base} if self._queues else {}
                    self._queues += await self._store.list_queues(**after)
                    self._looked_at = now
        new = self._queues[worker.seen :]
        served = [queue for queue in new if worker.registration.serves_queue(queue)]
        if served:
            await self._store.add_served_queues(worker.id, [queue.base for queue in served])
            worker.serves_gated |= any(queue.gated for queue in served)
        worker.seen += len(new)
        return len(served)

    def list_uncalled_handlers(self, registration: RemoteRegistration) -> list[str]:
        """List the handlers that no step of a template calls."""
        called = {
            handler.name
            for queue in self._queues
            if queue.handler != ENGINE
            and (handler := registration.find_handler(queue.handler, queue.namespace)) is not None
        }
        return [name for name in registration.handlers if name not in called]


_LOOK = 0.5  #: seconds between looks for new queues

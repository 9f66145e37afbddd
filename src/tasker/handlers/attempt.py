"""The inputs and services of an attempt; supplied by a worker, or by tests.

- `StepFacts`, once per step of a template: what never changes (compiling a plan makes them);
- `LiveAttempt`, once per attempt: the claim, the task's input, the results before it;
- `Services`, once per worker: saving checkpoints, and a client to create other tasks.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tasker.clock import Clock
from tasker.graph import Graph, step_numbers
from tasker.model import Claim, JsonText, StepSpec, TaskInput, TemplateName

if TYPE_CHECKING:
    from tasker.client import Client, SyncClient


class Services(Protocol):
    """Services of a worker for its attempts. Handlers call them from any thread."""

    @property
    def clock(self) -> Clock:
        """The clock that `Context.now` reads."""
        ...

    def client(self, attempt: "LiveAttempt") -> "Client":
        """Return the client that creates and reads tasks on behalf of `attempt`."""
        ...

    def sync_client(self, attempt: "LiveAttempt") -> "SyncClient":
        """Return the same client for handlers in threads: its methods block."""
        ...

    def save_checkpoint(self, attempt: "LiveAttempt", value: JsonText) -> "Future[None]":
        """Begin to store `value`; the future is done when it is durable.

        It fails with AttemptCancelled where the attempt no longer holds its claim.
        """
        ...


class LiveAttempt:
    """One attempt while it runs.

    Args:
        claim: The right to run it.
        task: The task's context and fields.
        results: Step number -> result, of the steps in `Plan.needs`; a step that was
            skipped, or resolved without a result, has None or is missing.
        services: Services of the worker.
    """

    __slots__ = ("cancelled", "claim", "last_heartbeat", "results", "services", "task")

    last_heartbeat: float  #: by the monotonic clock; unset until the first

    def __init__(
        self,
        claim: Claim,
        task: TaskInput,
        results: Mapping[int, JsonText | None],
        services: Services,
    ) -> None:
        self.claim = claim
        self.task = task
        self.results = results
        self.services = services
        self.cancelled = ""
        """Reason why the attempt must stop, set by the engine; "" while it may continue."""

    def heartbeat(self) -> None:
        """Record that the handler is alive."""
        self.last_heartbeat = time.monotonic()


class Upstream(Mapping[str, int]):
    """The steps before one step: name -> number, in the template's order."""

    __slots__ = ("_names", "_numbers", "mask")

    def __init__(self, numbers: Mapping[str, int], names: tuple[str, ...], mask: int) -> None:
        self._numbers = numbers  #: of all steps
        self._names = names  #: of all steps: number n is at n - 1
        self.mask = mask  #: bit n is set if step n is an ancestor

    @classmethod
    def of_step(cls, graph: Graph, no: int) -> "Upstream":
        """Return the steps before step `no` of `graph`."""
        return cls(graph.numbers, graph.names, graph.ancestors[no])

    @classmethod
    def with_numbers(cls, numbers: Mapping[str, int]) -> "Upstream":
        """Make one of steps that have these numbers, each >= 1."""
        names = [""] * max(numbers.values(), default=0)
        for name, no in numbers.items():
            names[no - 1] = name
        return cls(numbers, tuple(names), sum(1 << no for no in numbers.values()))

    @classmethod
    def with_names(cls, *names: str) -> "Upstream":
        """Make one of steps that are called so, and numbered from 1 in this order."""
        return cls.with_numbers({name: no for no, name in enumerate(names, start=1)})

    def __getitem__(self, name: str) -> int:
        no = self._numbers[name]
        if not self.mask >> no & 1:
            raise KeyError(name)
        return no

    def __iter__(self) -> Iterator[str]:
        return (self._names[no - 1] for no in step_numbers(self.mask))

    def __len__(self) -> int:
        return self.mask.bit_count()


class StepFacts(NamedTuple):
    """Properties shared by all attempts of one step of one template."""

    template: TemplateName
    spec: StepSpec
    upstream: Upstream
    config: JsonText  #: `spec.config` as JSON, so that each attempt gets its own copy
    logger: str  #: name of the logger: the handler's module
    blocking: bool  #: whether the handler is sync, and so runs in a thread

    @property
    def max_attempts(self) -> int:
        """All attempts that the step may have, >= 1."""
        retry = self.spec.retry
        return max(1, retry.max_attempts) if retry.retryable else 1

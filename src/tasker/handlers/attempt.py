"""The inputs and services of an attempt; supplied by a worker, or by tests.

- `StepProperties`, once per step of a template: constants, created when a plan is compiled;
- `LiveAttempt`, once per attempt: the claim, the task's input, the results of earlier steps;
- `AttemptServices`, once per worker: storing checkpoints, and a client that creates other tasks.
"""

import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from tasker.clock import Clock
from tasker.durable import DurableCall, NewDurableCall
from tasker.graph import Graph, numbers_in_mask
from tasker.handlers.instances import (
    NO_SURROUNDINGS,
    EnclosingInstances,
    InstanceInput,
    JoinedStep,
    Page,
)
from tasker.limits import LOG_CHARACTERS
from tasker.model import (
    Claim,
    JsonText,
    NewInstances,
    SpawnedStepNumbers,
    StepSpec,
    TaskInput,
    TemplateName,
)
from tasker.step_logs import NewLogRecord
from tasker.waits import NewWait

if TYPE_CHECKING:
    from tasker.client import Client, SyncClient

T = TypeVar("T")

NO_FAILURES: Mapping[int, JsonText] = MappingProxyType({})


class AttemptServices(Protocol):
    """Services of a worker for its attempts. Callable from any thread."""

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

    def append_log(
        self,
        attempt: "LiveAttempt",
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Keep a log record with the attempt, within the limits and settings.

        Args:
            attempt: The attempt.
            level: As in Python's `logging`.
            source: Name of the logger.
            message: The text.
            fields: Additional fields of the record; fields whose names indicate secrets are masked.
        """
        ...

    def append_printed_text(self, attempt: "LiveAttempt", stream: str, text: str) -> None:
        """Keep what the attempt wrote to `stdout` or `stderr`."""
        ...

    def save_checkpoint(self, attempt: "LiveAttempt", value: JsonText) -> "Future[None]":
        """Start storing `value`; the future completes when the value is durable.

        It fails with AttemptCancelled if the attempt no longer holds its claim.
        """
        ...

    async def load_durable_calls(self, attempt: "LiveAttempt") -> Sequence[DurableCall]:
        """Return the durable calls that earlier attempts of the step recorded."""
        ...

    async def record_durable_call(self, call: NewDurableCall) -> float:
        """Store a durable call; return the seconds until the end of a sleep, else 0.

        Raises:
            AttemptCancelled: The attempt no longer holds its claim.
        """
        ...

    async def receive_arrival(self, attempt: "LiveAttempt", wait: NewWait) -> DurableCall | None:
        """Record and return the first arrival for a wait; None: nothing has arrived."""
        ...

    async def create_completion_url_unless_completed(
        self, attempt: "LiveAttempt"
    ) -> DurableCall | None:
        """Set `attempt.completion_url`, at which another system completes the step.

        Returns:
            The completion if another system has already completed the step, else None.
        """
        ...

    async def spawn_instances(
        self, attempt: "LiveAttempt", new: NewInstances
    ) -> SpawnedStepNumbers:
        """Insert instances of a step.

        Raises:
            AttemptCancelled: The attempt no longer holds its claim.
        """
        ...

    def read_instance_results(
        self, attempt: "LiveAttempt", joined: JoinedStep
    ) -> AsyncIterator[Page]:
        """Yield the results of the instances of an earlier step."""
        ...

    def run_coroutine_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of these services, and block the calling thread until its end."""
        ...


PROGRESS = "progress"  #: source of the log records that report progress


class AttemptLog:
    """What an attempt has logged and printed."""

    __slots__ = (
        *("_lines", "characters", "emitting", "held", "is_full", "is_released"),
        *("progress", "records"),
    )

    def __init__(self) -> None:
        self.records = 0
        self.characters = 0
        self.is_full = False  #: no more is kept
        self.is_released = False  #: it has failed, so nothing is withheld
        self.emitting = False  #: its logger writes, perhaps to the standard streams
        self.held: list[NewLogRecord] = []
        self.progress: tuple[str, float, str | None] | None = None
        """The last progress report that is not stored yet: its message, its time, and its fields as
        JSON."""
        self._lines: dict[str, str] = {}

    def take_complete_lines(self, stream: str, text: str) -> list[str]:
        """Add a printed string; remove and return the lines that it completes."""
        *ended, rest = (self._lines.pop(stream, "") + text).split("\n")
        if len(rest) > LOG_CHARACTERS:
            ended, rest = [*ended, rest], ""
        if rest:
            self._lines[stream] = rest
        return [line for line in ended if line.strip()]

    @property
    def has_unfinished_line(self) -> bool:
        """Whether a printed line is unfinished."""
        return bool(self._lines)

    def take_unfinished_lines(self) -> list[tuple[str, str]]:
        """Remove and return the unfinished lines, each with its stream."""
        lines, self._lines = self._lines, {}
        return [(stream, line) for stream, line in lines.items() if line.strip()]


class LiveAttempt:
    """A running attempt as the context of its handler sees it.

    Args:
        claim: The right to run it.
        task: The task's context and fields.
        results: Results of the steps in `CallPlan.needs`, by number; None or missing for a step
            that was skipped or resolved without a result.
        services: Services of the worker.
    """

    __slots__ = (
        "cancelled",
        "claim",
        "completed",
        "completion_url",
        "failures",
        "instance",
        "last_heartbeat",
        "log",
        "results",
        "services",
        "task",
    )

    last_heartbeat: float  #: monotonic time; unset until the first heartbeat
    log: AttemptLog  #: unset until the handler logs or prints

    def __init__(
        self,
        claim: Claim,
        task: TaskInput,
        results: Mapping[int, JsonText | None],
        services: AttemptServices,
    ) -> None:
        self.claim = claim
        self.completion_url = ""
        """The URL at which another system completes the step; "" unless the step is external."""

        self.completed = False
        """Whether the attempt has read the completion that another system reported."""

        self.task = task
        self.results = results
        self.services = services
        self.failures = NO_FAILURES
        """Errors of the ancestors that failed, by step number."""

        self.instance: InstanceInput | None = None
        """The inputs of the instance; None if the step is not part of an instance."""

        self.cancelled = ""
        """The reason why the attempt must stop, as set by the engine; "" while the attempt may
        continue."""

    def get_log(self) -> AttemptLog:
        """Return what the attempt has logged and printed so far."""
        try:
            return self.log
        except AttributeError:
            self.log = AttemptLog()
            return self.log

    def heartbeat(self) -> None:
        """Record that the handler is alive."""
        self.last_heartbeat = time.monotonic()


class AncestorBitmasks(Protocol):
    """The ancestors of steps by number: `tasker.graph.AncestorBitmasks`, or a dictionary."""

    def __getitem__(self, no: int, /) -> int: ...


class UpstreamSteps(Mapping[str, int]):
    """The steps before one step: their numbers by name, in the template's order."""

    __slots__ = ("_ancestor_bits", "_ancestors", "_names", "_no", "_numbers")

    def __init__(
        self,
        numbers: Mapping[str, int],
        names: tuple[str, ...],
        ancestors: AncestorBitmasks,
        no: int,
    ) -> None:
        self._numbers = numbers  #: of all steps
        self._names = names  #: of all steps: number n is at n - 1
        self._ancestors = ancestors
        self._no = no
        self._ancestor_bits: int | None = None

    @classmethod
    def for_step(cls, graph: Graph, no: int) -> "UpstreamSteps":
        """Return the ancestors of step `no` of `graph`.

        A step that undoes an instance reads the instance's result under the name of the step with
        instances.
        """
        undone = graph.layout.undone_node_by_compensating_node.get(no)
        if undone is None or not graph.names[undone - 1].endswith("[]"):
            return cls(graph.numbers, graph.names, graph.ancestors, no)
        name = graph.names[undone - 1].removesuffix("[]")
        names = (*graph.names[: undone - 1], name, *graph.names[undone:])
        return cls({**graph.numbers, name: undone}, names, graph.ancestors, no)

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, int]) -> "UpstreamSteps":
        """Create an instance for steps with these numbers, each >= 1."""
        names = [""] * max(numbers.values(), default=0)
        for name, no in numbers.items():
            names[no - 1] = name
        return cls(numbers, tuple(names), {0: sum(1 << no for no in numbers.values())}, 0)

    @classmethod
    def from_names(cls, *names: str) -> "UpstreamSteps":
        """Create an instance for steps with these names, numbered from 1 in this order."""
        return cls.from_numbers({name: no for no, name in enumerate(names, start=1)})

    @property
    def ancestor_bitmask(self) -> int:
        """Bit n is set if step n is an ancestor. Computed on first use, because few handlers need
        it."""
        if self._ancestor_bits is None:
            self._ancestor_bits = self._ancestors[self._no]
        return self._ancestor_bits

    def __getitem__(self, name: str) -> int:
        no = self._numbers[name]
        if not self.ancestor_bitmask >> no & 1:
            raise KeyError(name)
        return no

    def __iter__(self) -> Iterator[str]:
        return (self._names[no - 1] for no in numbers_in_mask(self.ancestor_bitmask))

    def __len__(self) -> int:
        return self.ancestor_bitmask.bit_count()


class StepProperties(NamedTuple):
    """Properties shared by all attempts of one step of one template."""

    template: TemplateName
    spec: StepSpec
    upstream: UpstreamSteps
    config: JsonText  #: `spec.config` as JSON, so each attempt gets its own copy
    logger: str  #: name of the logger: the handler's module
    blocking: bool  #: whether the handler is sync, and so runs in a thread
    around: EnclosingInstances = NO_SURROUNDINGS

    @property
    def max_attempts(self) -> int:
        """Maximum number of attempts, >= 1."""
        return self.spec.retry.attempt_limit

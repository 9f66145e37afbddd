"""Runs one step without the engine, calling its handler as a worker does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from tasker import codec
from tasker.client import TaskRequest
from tasker.clock import Clock, SystemClock
from tasker.durable import DurableCall, DurableCallKind, NewDurableCall
from tasker.engine.failure import outcome_of_exception
from tasker.errors import ParkedForTime, StepParked
from tasker.handlers import (
    AsyncContext,
    CallPlan,
    Handler,
    LiveAttempt,
    StepProperties,
    SyncContext,
    UpstreamSteps,
    compile_call_plan,
)
from tasker.handlers.instances import JoinedStep, Page
from tasker.handlers.results import serialize_result
from tasker.model import (
    ATTEMPT_OUTCOMES,
    AttemptOutcome,
    Claim,
    JsonObject,
    JsonText,
    NewInstances,
    Retry,
    SpawnedStepNumbers,
    StepSpec,
    TaskId,
    TaskInput,
    TemplateId,
    TemplateName,
)
from tasker.template.schema import find_result_violations
from tasker.testing.recording_client import BlockingRecordingClient, RecordingClient
from tasker.waits import NewWait

T = TypeVar("T")
TEMPLATE = TemplateName("tests", "workflow", "1.0.0")
TASK_ID = TaskId("01890a5d-ac96-774b-bcce-b302099a8057")


class AttemptInputs(TypedDict, total=False):
    """The inputs of an attempt; all are optional."""

    input: Mapping[str, Any]
    """The task's input."""

    results: Mapping[str, Any]
    """Results of the step's direct and indirect dependencies, by step name; None for a skipped
    step."""

    config: JsonObject
    """The step's configuration; by default, the configuration in `spec`."""

    attempt: int
    """The attempt's number, starting at 1."""

    counted_attempts: int
    """Number of attempts that count towards `max_attempts`; by default, the value of `attempt`."""

    checkpoint: Any
    """The checkpoint that an earlier attempt saved."""

    recorded: Mapping[str, Any]
    """Values of durable calls that earlier attempts recorded, by the name of the call. They are
    allowed only with an `attempt` of 2 or more."""

    client: Any
    """The client in `context.client`; by default, a client that creates nothing and records the
    requests."""

    clock: Clock
    """The clock that `context.now()` reads; by default, the machine's clock."""

    spec: StepSpec
    """The step's spec in its template, such as `template.step("charge")`."""

    retry: Retry
    """The retry policy; by default, the retry policy of `spec`."""

    template: TemplateName
    correlation_id: str
    task_id: TaskId
    parent_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """The result of one attempt."""

    outcome: AttemptOutcome
    """`complete`, `retry` (another attempt would follow), `error` (no further attempt would follow)
    or `parked`."""

    value: Any = None
    """The result in the form that later steps receive: converted to JSON and back."""

    error: BaseException | None = None
    """The error that the handler raised, or the error that prevented its call."""

    delay: timedelta = timedelta(0)
    """The delay before the next attempt."""

    problems: tuple[str, ...] = ()
    """Violations of the step's `result_schema`."""

    checkpoints: tuple[Any, ...] = ()
    """The checkpoints that the attempt saved, oldest first."""

    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Values of the durable calls that this attempt recorded, by the name of the call."""

    created: tuple[TaskRequest, ...] = ()
    """The tasks that the attempt would have created, if no `client` was given."""

    @property
    def ok(self) -> bool:
        """Whether the step would be complete."""
        return self.outcome is AttemptOutcome.COMPLETE


def run_step(handler: Any, **given: Unpack[AttemptInputs]) -> StepRun:  # anything may be a handler
    """Run a handler as one attempt of a step, and return its outcome, result or error.

    An async handler gets its own event loop, in another thread if this one already has a loop.

    Args:
        handler: A function, a class, or an object with a `call` method.
        given: See `AttemptInputs`.

    Raises:
        Misuse: A parameter of the handler cannot be filled.
    """
    setup = _AttemptSetup(given)
    target = Handler(setup.spec.handler, handler)
    plan = compile_call_plan(target, setup.spec, upstream=setup.upstream, template=setup.template)
    try:
        value = _call_outside_loop(lambda: _call_handler(plan, setup.attempt))
        return setup.make_run_from_result(serialize_result(value, limit=codec.DEFAULT_LIMIT))
    except (Exception, SystemExit, StepParked) as error:  # it belongs to the attempt
        return setup.make_run_from_error(error)


@overload
def make_context(
    *, blocking: Literal[False] = False, **given: Unpack[AttemptInputs]
) -> AsyncContext: ...


@overload
def make_context(*, blocking: Literal[True], **given: Unpack[AttemptInputs]) -> SyncContext: ...


def make_context(
    *, blocking: bool = False, **given: Unpack[AttemptInputs]
) -> AsyncContext | SyncContext:
    """Create a context for calling a handler.

    Args:
        blocking: False: an `AsyncContext`; True: the `SyncContext` of handlers that are not
            async.
        given: See `AttemptInputs`.
    """
    setup = _AttemptSetup(given)
    config = codec.dumps(setup.spec.config, what="config")
    properties = StepProperties(
        setup.template, setup.spec, setup.upstream, config, __name__, blocking
    )
    return (SyncContext if blocking else AsyncContext)(properties, setup.attempt)


class _RecordingServices:
    """The services that a worker provides to attempts; they only record the calls."""

    def __init__(self, client: Any, clock: Clock, recorded: Mapping[str, Any]) -> None:
        self._client = client
        self.clock = clock
        self._earlier = [
            DurableCall(name, DurableCallKind.ONCE, codec.dumps(value))
            for name, value in recorded.items()
        ]
        self.calls: list[NewDurableCall] = []
        self.spawned: list[Any] = []
        self.recording_client = RecordingClient()
        self.saved: list[JsonText] = []

    def client(self, attempt: LiveAttempt) -> Any:
        return self.recording_client if self._client is None else self._client

    def sync_client(self, attempt: LiveAttempt) -> Any:
        return (
            BlockingRecordingClient(self.recording_client) if self._client is None else self._client
        )

    def append_log(
        self,
        attempt: LiveAttempt,
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Discard the record: tests read the log itself."""

    def append_printed_text(self, attempt: LiveAttempt, stream: str, text: str) -> None:
        """Discard the text: tests read the output itself."""

    def save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> "Future[None]":
        self.saved.append(value)
        saving: Future[None] = Future()
        saving.set_result(None)
        return saving

    async def load_durable_calls(self, attempt: LiveAttempt) -> Sequence[DurableCall]:
        return self._earlier

    async def record_durable_call(self, call: NewDurableCall) -> float:
        self.calls.append(call)
        if call.until is not None:
            return (call.until - self.clock.now()).total_seconds()
        return call.delay or 0.0

    async def create_completion_url_unless_completed(
        self, attempt: LiveAttempt
    ) -> DurableCall | None:
        attempt.completion_url = "/v1/complete/test"
        return None

    async def receive_arrival(self, attempt: LiveAttempt, wait: NewWait) -> DurableCall | None:
        return None

    async def spawn_instances(self, attempt: LiveAttempt, new: NewInstances) -> SpawnedStepNumbers:
        """Record the items of the instances that would be added."""
        self.spawned += (codec.loads(item or "null") for item in new.items)
        return SpawnedStepNumbers(0, 0, new.instances)

    async def read_instance_results(
        self, attempt: LiveAttempt, joined: JoinedStep
    ) -> AsyncIterator[Page]:
        none: list[Page] = []
        for page in none:
            yield page

    def run_coroutine_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)


class _AttemptSetup:
    """An attempt, with the spec, template and services that it uses."""

    def __init__(self, given: AttemptInputs) -> None:
        spec = given.get("spec") or StepSpec(name="step")
        self.spec = replace(
            spec, config=given.get("config", spec.config), retry=given.get("retry", spec.retry)
        )
        self.template = given.get("template", TEMPLATE)
        results = given.get("results", {})
        names = [*results, *(name for name in spec.dependencies if name not in results)]
        self.upstream = UpstreamSteps.from_names(*names)
        self.services = _RecordingServices(
            given.get("client"), given.get("clock") or SystemClock(), given.get("recorded", {})
        )
        number, saved = given.get("attempt", 1), given.get("checkpoint")
        task_id = given.get("task_id", TASK_ID)
        self.attempt = LiveAttempt(
            Claim(
                task_id,
                len(names) + 1,
                number,
                given.get("counted_attempts", number),
                None if saved is None else codec.dumps(saved, what="the checkpoint"),
            ),
            TaskInput(
                task_id,
                TemplateId(1),
                codec.dumps(given.get("input", {}), what="the input"),
                given.get("correlation_id", "correlation"),
                given.get("parent_id"),
                None,
            ),
            _encode_results(names, results),
            self.services,
        )

    def make_run_from_result(self, text: JsonText) -> StepRun:
        value = codec.loads(text)
        problems = tuple(find_result_violations(str(self.template), self.spec, text))
        return self._add_recordings(
            StepRun(outcome=AttemptOutcome.COMPLETE, value=value, problems=problems)
        )

    def make_run_from_error(self, error: BaseException) -> StepRun:
        if isinstance(error, StepParked):
            delay = timedelta(seconds=error.seconds if isinstance(error, ParkedForTime) else 0)
            run = StepRun(outcome=AttemptOutcome.PARKED, error=error, delay=delay)
            return self._add_recordings(run)
        outcome = outcome_of_exception(error, self.attempt.claim, self.spec, Random())
        return self._add_recordings(
            StepRun(
                outcome=ATTEMPT_OUTCOMES[outcome.outcome],
                error=error,
                delay=timedelta(seconds=outcome.delay),
            )
        )

    def _add_recordings(self, run: StepRun) -> StepRun:
        return replace(
            run,
            checkpoints=tuple(codec.loads(saved) for saved in self.services.saved),
            recorded={
                call.name: None if call.value is None else codec.loads(call.value)
                for call in self.services.calls
            },
            created=tuple(self.services.recording_client.requests),
        )


def _encode_results(names: Sequence[str], results: Mapping[str, Any]) -> dict[int, JsonText | None]:
    return {
        no: codec.dumps(results[name], what=f"the result of {name}")
        for no, name in enumerate(names, start=1)
        if results.get(name) is not None
    }


def _call_handler(plan: CallPlan, attempt: LiveAttempt) -> Any:
    if not plan.is_async:
        return plan.call(attempt)

    async def await_handler() -> Any:
        return await plan.call(attempt)

    return asyncio.run(await_handler())


def _call_outside_loop(call: Callable[[], T]) -> T:
    """Call in this thread, or in another one if an event loop runs in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    with ThreadPoolExecutor(1, thread_name_prefix="tasker-step") as thread:
        return thread.submit(copy_context().run, call).result()

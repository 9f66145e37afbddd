"""Calls a handler in a separate process, for computations.

The engine submits `run_handler_inside_child_process` to its process pool with picklable arguments:
a plan's `packed` form, the claim, the task's input and the results that the plan needs. The child
imports the handler's module once and keeps the plan. Its handlers have the same context but cannot
reach the worker: they have no checkpoints and no client. They are stopped by killing the process.
Heartbeats go through shared memory.
"""

import logging
import os
import pickle
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, MutableSequence, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import Connection
from select import PIPE_BUF
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from tasker.clock import SystemClock
from tasker.codec import DEFAULT_LIMIT, dumps
from tasker.durable import DurableCall, NewDurableCall
from tasker.errors import Misuse, PermanentError, RetryableError, StepError
from tasker.handlers.attempt import AttemptServices, LiveAttempt, UpstreamSteps
from tasker.handlers.binding import CallPlan, compile_call_plan_with_config
from tasker.handlers.instances import InstanceInput, JoinedStep, Page
from tasker.handlers.output import tee_output
from tasker.handlers.results import serialize_result
from tasker.handlers.target import Handler
from tasker.model import (
    Claim,
    JsonText,
    NewInstances,
    SpawnedStepNumbers,
    StepSpec,
    TaskInput,
)
from tasker.step_logs import encode_log_fields
from tasker.waits import NewWait

if TYPE_CHECKING:
    from tasker.client import Client, SyncClient

T = TypeVar("T")
_NO_DURABLE_CALLS = "a handler in a separate process cannot make durable calls; use process=False"
_NO_INSTANCES = (
    "a handler in a separate process cannot read more than 1,000 instances; use process=False"
)
_shared: list[MutableSequence[float]] = []
"""Memory shared with the parent process. It contains the time of the last heartbeat of each attempt
that must send heartbeats."""


_attempts: list[LiveAttempt] = []  #: the one that runs in this process
_logs: list[Connection] = []  #: the pipe to the parent, for log records


def initialize_child_process(heartbeats: MutableSequence[float], logs: Connection | None) -> None:
    """Store the objects shared with the parent; called when the child process starts.

    Args:
        heartbeats: The shared memory for heartbeats.
        logs: The pipe for log records; None: none are kept.
    """
    _shared[:] = [heartbeats]
    if logs is not None:
        _logs[:] = [logs]
        tee_output(_send_printed_text)


def _send_printed_text(stream: str, text: str) -> None:
    for attempt in _attempts:
        attempt.services.append_printed_text(attempt, stream, text)


class ChildProcessAttempt(LiveAttempt):
    """An attempt whose heartbeats are visible to the parent process.

    Args:
        heartbeat_slot: Index of its heartbeat in the shared memory.
    """

    __slots__ = ("_heartbeat_slot",)

    def __init__(
        self,
        claim: Claim,
        task: TaskInput,
        results: Mapping[int, JsonText | None],
        services: AttemptServices,
        heartbeat_slot: int,
    ) -> None:
        super().__init__(claim, task, results, services)
        self._heartbeat_slot = heartbeat_slot

    def heartbeat(self) -> None:
        _shared[0][self._heartbeat_slot] = (
            time.monotonic()
        )  # the same clock in all processes of a host


class LogOnlyServices:
    """Services of an attempt in a separate process: logging works, all others raise Misuse."""

    clock = SystemClock()

    def append_log(
        self,
        attempt: LiveAttempt,
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Send a record to the parent immediately, so killing the process loses none."""
        for pipe in _logs:
            with suppress(OSError):  # the parent is gone
                os.write(
                    pipe.fileno(), _serialize_log_record(attempt, level, source, message, fields)
                )

    def append_printed_text(self, attempt: LiveAttempt, stream: str, text: str) -> None:
        if not attempt.get_log().emitting:
            for line in attempt.get_log().take_complete_lines(stream, text):
                self.append_log(attempt, logging.INFO, stream, line, {})

    def client(self, attempt: LiveAttempt) -> "Client":
        raise Misuse("a handler in a separate process cannot use the client; use process=False")

    def sync_client(self, attempt: LiveAttempt) -> "SyncClient":
        raise Misuse("a handler in a separate process cannot use the client; use process=False")

    def save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> "Future[None]":
        raise Misuse("a handler in a separate process cannot save checkpoints; use process=False")

    async def load_durable_calls(self, attempt: LiveAttempt) -> Sequence[DurableCall]:
        raise Misuse(_NO_DURABLE_CALLS)

    async def record_durable_call(self, call: NewDurableCall) -> float:
        raise Misuse(_NO_DURABLE_CALLS)

    async def create_completion_url_unless_completed(
        self, attempt: LiveAttempt
    ) -> DurableCall | None:
        raise Misuse(_NO_DURABLE_CALLS)

    async def receive_arrival(self, attempt: LiveAttempt, wait: NewWait) -> DurableCall | None:
        raise Misuse(_NO_DURABLE_CALLS)

    async def spawn_instances(self, attempt: LiveAttempt, new: NewInstances) -> SpawnedStepNumbers:
        raise Misuse("a handler in a separate process cannot add instances; use process=False")

    def read_instance_results(
        self, attempt: LiveAttempt, joined: JoinedStep
    ) -> AsyncIterator[Page]:
        raise Misuse(_NO_INSTANCES)

    def run_coroutine_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        work.close()
        raise Misuse(_NO_DURABLE_CALLS)


def _serialize_log_record(
    attempt: LiveAttempt, level: int, source: str, message: str, fields: Mapping[str, Any]
) -> bytes:
    """Return a record as JSON, short enough to be written atomically by several processes."""
    kept = encode_log_fields(fields)
    while True:
        record = [*attempt.claim.attempt_key, level, source, message, kept]
        line = dumps(record).encode() + b"\n"
        if len(line) <= PIPE_BUF:
            return line
        kept, message = None, message[: len(message) // 2]


def run_handler_inside_child_process(
    packed: bytes,
    claim: Claim,
    task: TaskInput,
    results: Mapping[int, JsonText | None],
    limit: int = DEFAULT_LIMIT,
    heartbeat_slot: int | None = None,
    instance: InstanceInput | None = None,
    failures: Mapping[int, JsonText] = MappingProxyType({}),
) -> JsonText:
    """Call a handler in the child process, and return its result as JSON text.

    Args:
        packed: The plan, as `CallPlan.pickled_plan`.
        claim: The attempt.
        task: The task's context and fields.
        results: Results of the steps in `CallPlan.needs`, by number.
        limit: Maximum size of the result in bytes.
        heartbeat_slot: Index of its heartbeat in the shared memory, or None if heartbeats
            are not observed.
        instance: The inputs of an instance.
        failures: Errors of the ancestors that failed, by number.

    Raises:
        InvalidInput: The result has no JSON form.
        TooLarge: The result exceeds `limit`.
        BaseException: The handler's exception, or a similar one that can be pickled.
    """
    try:
        if heartbeat_slot is None:
            attempt = LiveAttempt(claim, task, results, LogOnlyServices())
        else:
            attempt = ChildProcessAttempt(claim, task, results, LogOnlyServices(), heartbeat_slot)
            attempt.heartbeat()
        attempt.instance, attempt.failures = instance, failures
        _attempts[:] = [attempt]
        plan = _unpack_plan(packed)
        attempt.heartbeat()  # importing its module may have taken long
        value = plan.call(attempt)
        return serialize_result(value, limit=limit)
    except BaseException as error:  # including sys.exit: it belongs to the attempt
        portable = _make_picklable(error)
        if portable is error:
            raise
        raise portable from error
    finally:
        for attempt in _attempts:
            for stream, line in attempt.get_log().take_unfinished_lines():
                attempt.services.append_log(attempt, logging.INFO, stream, line, {})
        _attempts.clear()


@lru_cache(maxsize=1024)
def _unpack_plan(packed: bytes) -> CallPlan:
    reference, name, template, (step, method, retry), before, config, around = pickle.loads(packed)  # noqa: S301 - from our own parent process
    spec = StepSpec(name=step, method=method, retry=retry)
    upstream = UpstreamSteps.from_numbers(before)
    return compile_call_plan_with_config(
        Handler(name, reference.import_target()), spec, upstream, template, config, around
    )


def _make_picklable(error: BaseException) -> BaseException:
    """Return the error in a form that can be pickled, because others would break the pool."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:  # its constructor may do anything
        return _convert_to_step_error(error)
    return error


def _convert_to_step_error(error: BaseException) -> StepError:
    kind = type(error).__name__
    if isinstance(error, Misuse):
        return PermanentError(str(error), code=error.code)
    if isinstance(error, PermanentError):
        return PermanentError(str(error), code=error.code, details=error.details)
    if isinstance(error, RetryableError):
        return RetryableError(
            str(error), retry_after=error.retry_after, code=error.code, details=error.details
        )
    return RetryableError(f"{kind}: {error}", details={"type": kind})

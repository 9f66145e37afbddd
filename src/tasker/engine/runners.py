"""Runs handlers in the event loop, in threads and in processes."""

import asyncio
import multiprocessing
import threading
from collections import deque
from collections.abc import Callable, MutableSequence
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from tasker.codec import loads
from tasker.engine.engine_steps import BuiltInCallPlan
from tasker.engine.logs import current_attempt
from tasker.engine.running import RunningAttempt
from tasker.errors import InvalidSettings, RetryableError
from tasker.handlers import CallPlan
from tasker.handlers.subprocess import initialize_child_process, run_handler_inside_child_process
from tasker.model import ENGINE, JsonText
from tasker.notices import Around, AttemptTraceInfo
from tasker.settings import StepLogMode, WorkerSettings

if TYPE_CHECKING:
    from pebble import ProcessPool

_LATE_LOGS = 2.0  #: seconds in which log records of a handler in a process may arrive after its end

Ended: TypeAlias = Callable[[RunningAttempt, Any, BaseException | None], None]
"""Function called on the event loop once for each started attempt, as soon as its handler has
ended, with the handler's return value or its exception."""


class HandlerRunner(Protocol):
    """Calls handlers of one kind: async ones, sync ones, or those that run in processes."""

    def start_handler(self, running: RunningAttempt, plan: CallPlan, timeout: float | None) -> None:
        """Call the handler of an attempt. `timeout`, in seconds, is enforced by the executor."""
        ...

    def interrupt_handler(self, running: RunningAttempt) -> None:
        """Stop the handler, if its kind supports that."""
        ...


class EventLoopRunner:
    """Runs async handlers as tasks of the event loop."""

    def __init__(self, ended: Ended, around: Around | None) -> None:
        self._ended = ended
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  #: no attempt runs in the context of its task's creator
        self._tasks: dict[RunningAttempt, asyncio.Task[None]] = {}

    def start_handler(
        self, running: RunningAttempt, plan: CallPlan | BuiltInCallPlan, timeout: float | None
    ) -> None:
        self._tasks[running] = self._loop.create_task(
            self._run_handler(running, plan), context=self._context.copy()
        )

    async def _run_handler(self, running: RunningAttempt, plan: CallPlan | BuiltInCallPlan) -> None:
        current_attempt.set(running)
        value, error = None, None
        try:
            if self._around is None:
                value = await plan.call(running.attempt)
            else:
                with self._around(_build_attempt_trace_info(running, plan)):
                    value = await plan.call(running.attempt)
        except asyncio.CancelledError as cancelled:
            error = _self_cancellation_error(cancelled)
        except BaseException as raised:  # including KeyboardInterrupt, which belongs to the attempt
            error = raised
        del self._tasks[running]
        self._ended(running, value, error)

    def interrupt_handler(self, running: RunningAttempt) -> None:
        task = self._tasks.get(running)
        if task is None:
            return
        task.cancel()
        coroutine = task.get_coro()
        if isinstance(coroutine, CoroutineType) and getcoroutinestate(coroutine) == CORO_CREATED:
            # cancelled before it starts, it never runs
            del self._tasks[running]
            self._ended(running, None, None)

    def attempt_holding_loop(self) -> RunningAttempt | None:
        """Return the attempt whose code occupies the event loop. Callable from any thread."""
        current = asyncio.current_task(self._loop)
        for running, task in list(self._tasks.items()):
            if task is current:
                return running
        return None

    async def wait_for_interrupted_handlers(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for handlers to clean up."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout)

    def close(self) -> None:
        """Abandon handlers that ignore their cancellation."""
        for task in list(self._tasks.values()):
            _abandon_task(task)


class ThreadCallResult(NamedTuple):
    """The result or error of a handler call in a thread."""

    running: RunningAttempt
    value: Any
    error: BaseException | None


class ThreadRunner:
    """Runs sync handlers in threads, which are created on demand.

    asyncio's own executor wakes the loop once per call, which takes longer than a short handler;
    here, one wake-up delivers all finished calls.

    Args:
        max_threads: Maximum number of threads.
        ended: See `Ended`.
        around: Context manager entered around every handler.
    """

    def __init__(self, max_threads: int, ended: Ended, around: Around | None) -> None:
        self._max_threads = max_threads
        self._ended = ended
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[RunningAttempt, CallPlan] | None] = SimpleQueue()
        self._returned: deque[ThreadCallResult] = deque()
        self._woken = False
        self._threads = 0
        self._waiting = 0

    def start_handler(self, running: RunningAttempt, plan: CallPlan, timeout: float | None) -> None:
        if self._waiting <= 0 and self._threads < self._max_threads:
            self._threads += 1
            self._waiting += 1
            name = f"tasker-handler-{self._threads}"
            threading.Thread(target=self._run_calls, name=name, daemon=True).start()
        self._waiting -= 1
        self._calls.put((running, plan))

    def interrupt_handler(self, running: RunningAttempt) -> None:
        """Do nothing, since a handler in a thread can only stop itself, at a heartbeat."""

    def close(self) -> None:
        """Let each thread end after its current call."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _run_calls(self) -> None:
        while (item := self._calls.get()) is not None:
            running, plan = item
            try:
                returned = ThreadCallResult(running, self._call_handler(running, plan), None)
            except BaseException as error:  # it belongs to the attempt
                returned = ThreadCallResult(running, None, error)
            self._returned.append(returned)
            del item, running, plan, returned
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver_results)
                except RuntimeError:  # the loop is closed
                    return

    def _call_handler(self, running: RunningAttempt, plan: CallPlan) -> Any:
        token = current_attempt.set(running)
        try:
            if self._around is None:
                return plan.call(running.attempt)
            with self._around(_build_attempt_trace_info(running, plan)):
                return plan.call(running.attempt)
        finally:
            current_attempt.reset(token)

    def _deliver_results(self) -> None:
        self._woken = False
        while self._returned:
            self._waiting += 1
            self._ended(*self._returned.popleft())


class ProcessRunner:
    """Runs handlers marked `process=True` in processes, which can be killed."""

    def __init__(self, settings: WorkerSettings, ended: Ended) -> None:
        self._settings = settings
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._pool: ProcessPool | None = None
        self._futures: dict[RunningAttempt, Future[JsonText]] = {}
        self._running_of: dict[tuple[Any, ...], RunningAttempt] = {}  #: by its key
        self._log_writer: Connection | None = None  #: kept open for processes to come
        self._heartbeats: MutableSequence[float] = []  #: shared with the processes
        self._heartbeat_slots: dict[RunningAttempt, int] = {}  #: indexes into `_heartbeats`
        self._free_heartbeat_slots = list(range(settings.slots))

    def start_handler(self, running: RunningAttempt, plan: CallPlan, timeout: float | None) -> None:
        needed = {no: text for no, text in running.task.results.items() if plan.needs >> no & 1}
        limit = self._settings.result_limit
        try:
            pool = self._pool = self._pool or self._open_pool()
            slot = self._reserve_heartbeat_slot(running)
            future = pool.schedule(
                run_handler_inside_child_process,
                args=[
                    *(plan.pickled_plan, running.claim, running.task.input, needed, limit, slot),
                    *(running.task.instance, dict(running.attempt.failures)),
                ],
                timeout=timeout + 1 if timeout else None,
            )
        except Exception as error:  # the handler cannot be sent, or no process can be started
            self._release_heartbeat_slot(running)
            self._ended(running, None, error)
            return
        self._futures[running] = future
        self._running_of[running.key] = running
        future.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._on_handler_done, running, done)
        )

    def _open_pool(self) -> "ProcessPool":
        try:
            from pebble import ProcessPool
        except ModuleNotFoundError:
            raise InvalidSettings(
                "handlers marked process=True need an extra: pip install"
                " 'tasker-workflows[processes]'"
            ) from None
        context = multiprocessing.get_context("spawn")
        self._heartbeats = context.RawArray("d", self._settings.slots)
        writer = None
        if self._settings.step_logs is not StepLogMode.OFF:
            reader, writer = context.Pipe(duplex=False)
            self._log_writer = writer
            read = partial(self._forward_child_logs, reader)
            threading.Thread(target=read, name="tasker-process-logs", daemon=True).start()
        return ProcessPool(
            max_workers=self._settings.processes or multiprocessing.cpu_count(),
            context=context,
            initializer=initialize_child_process,
            initargs=[self._heartbeats, writer],
        )

    def _forward_child_logs(self, pipe: Connection) -> None:
        """Pass log records of child processes to their attempts until all processes have ended."""
        with pipe, open(pipe.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                *key, level, source, message, fields = loads(line.decode())
                running = self._running_of.get(tuple(key))
                if running is not None:
                    kept = loads(fields) if fields else {}
                    services = running.attempt.services
                    services.append_log(running.attempt, level, source, message, kept)

    def last_heartbeat(self, running: RunningAttempt) -> float | None:
        """Return the monotonic time of the last heartbeat, or None before the handler starts."""
        slot = self._heartbeat_slots.get(running)
        return None if slot is None else self._heartbeats[slot] or None

    def _reserve_heartbeat_slot(self, running: RunningAttempt) -> int | None:
        """Reserve a slot for heartbeats, or return None if the step requires none."""
        if running.spec.heartbeat_timeout is None:
            return None
        slot = self._heartbeat_slots[running] = self._free_heartbeat_slots.pop()
        self._heartbeats[slot] = 0.0
        return slot

    def _release_heartbeat_slot(self, running: RunningAttempt) -> None:
        if (slot := self._heartbeat_slots.pop(running, None)) is not None:
            self._free_heartbeat_slots.append(slot)

    def _on_handler_done(self, running: RunningAttempt, future: "Future[JsonText]") -> None:
        del self._futures[running]
        self._loop.call_later(_LATE_LOGS, self._running_of.pop, running.key, None)
        self._release_heartbeat_slot(running)
        value, error = None, None
        try:
            value = future.result()
        except FutureCancelled as cancelled:
            error = _self_cancellation_error(cancelled)
        except BaseException as raised:  # sys.exit too: it belongs to the attempt
            error = raised
        self._ended(running, value, error)

    def interrupt_handler(self, running: RunningAttempt) -> None:
        if (future := self._futures.get(running)) is not None:
            future.cancel()

    def close(self) -> None:
        """Kill the processes."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
        if self._log_writer is not None:
            self._log_writer.close()


def _build_attempt_trace_info(
    running: RunningAttempt, plan: CallPlan | BuiltInCallPlan
) -> AttemptTraceInfo:
    task, claim = running.task.input, running.claim
    handler, function = ENGINE, None
    if isinstance(plan, CallPlan):
        spec = plan.facts.spec
        handler, function = spec.handler, plan.handler.qualified_name(spec.method)
    return AttemptTraceInfo(
        claim.task_id,
        running.task.compiled.key,
        running.step_name,
        claim.attempt,
        task.correlation_id,
        task.trace,
        *running.claim.queued_and_parked_durations,
        handler=handler,
        function=function,
    )


def _abandon_task(task: "asyncio.Task[None]") -> None:
    """Close a handler that ignores its cancellation, which would keep the loop alive."""
    with suppress(RuntimeError, ValueError):  # it ignores this too, or is running at this moment
        if isinstance(coroutine := task.get_coro(), CoroutineType):
            coroutine.close()
    task.add_done_callback(
        lambda ended: ended.cancelled() or ended.exception()
    )  # nobody else retrieves it
    task.cancel()


def _self_cancellation_error(error: BaseException) -> BaseException:
    """Return the error for a handler that cancelled itself or something it awaited."""
    return RetryableError(
        f"the handler was cancelled by its own code: {str(error) or 'CancelledError'}"
    )

"""Runs attempts: in the event loop, in threads, in processes; each ends in one outcome."""

import asyncio
import logging
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from enum import StrEnum
from functools import partial
from random import Random
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tasker import codec
from tasker.config import SchemaMode, WorkerSettings
from tasker.engine.failure import AttemptTimeout, outcome_of
from tasker.engine.logs import current_attempt
from tasker.engine.task_cache import CachedTask
from tasker.engine.threads import Returned, Threads
from tasker.errors import InvalidInput, InvalidSettings, Misuse, RetryableError, StepParked
from tasker.events import Around, AttemptSpan
from tasker.handlers import LiveAttempt, Plan, Services
from tasker.handlers.subprocess import run_in_subprocess
from tasker.model import Claim, JsonText, Outcome, StepSpec, TaskId, completed, released
from tasker.template import check_result

if TYPE_CHECKING:
    from pebble import ProcessPool

log = logging.getLogger("tasker.worker")

STUBBORN = 5.0  #: seconds after which a handler that was told to stop is complained of

Key: TypeAlias = tuple[TaskId, int, int]
"""(task, step, attempt)."""


class Stop(StrEnum):
    """Why an attempt is stopped, as its handler is told."""

    TIMEOUT = "it took too long"
    TAKEN = "its step is no longer this worker's"
    SHUTDOWN = "the worker shuts down"


class Running:
    """One attempt while it runs."""

    __slots__ = ("attempt", "began", "claim", "job", "over", "plan", "spec", "task", "timer")

    def __init__(
        self, claim: Claim, task: CachedTask, spec: StepSpec, attempt: LiveAttempt
    ) -> None:
        self.claim = claim
        self.task = task
        self.spec = spec
        self.attempt = attempt
        self.began = time.monotonic()
        self.plan: Plan | None = None
        self.job: asyncio.Task[None] | Future[JsonText] | None = None  #: None: in a thread
        self.timer: asyncio.TimerHandle | None = None
        self.over = False  #: its outcome is decided; only its slot is still taken

    @property
    def key(self) -> Key:
        return self.claim[:3]

    def facts(self) -> dict[str, Any]:
        """Tell which attempt it is, as events and log records carry it."""
        return {
            "task_id": self.claim.task_id,
            "template": self.task.served.template.key,
            "step": self.spec.name,
            "attempt": self.claim.attempt,
            "correlation_id": self.task.input.correlation_id,
        }


class Finished(NamedTuple):
    """An attempt that ended, and what it led to."""

    running: Running
    outcome: Outcome
    ran_for: float  #: seconds


class Executor:
    """Runs attempts, and tells `finished` of each that ended.

    Args:
        settings: The worker's.
        services: What handlers reach through their context.
        finished: Called in the loop, once for each attempt that has an outcome.
        freed: Called in the loop whenever a slot is free again.
        park: Called in the loop for an attempt that waits for a task.
        around: Entered around every handler that runs in this process.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        services: Services,
        *,
        finished: Callable[[Finished], None],
        freed: Callable[[], None],
        park: Callable[[Running, TaskId], None],
        around: Around | None = None,
    ) -> None:
        self.running: dict[Key, Running] = {}
        self._settings = settings
        self._services = services
        self._finished = finished
        self._freed = freed
        self._park = park
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  #: no attempt runs in that of whoever made its task
        self._threads = Threads(settings.slots, self._returned)
        self._processes: ProcessPool | None = None
        self._rng = Random()

    def start(self, claim: Claim, task: CachedTask) -> Running:
        """Begin an attempt whose task and needed results are known."""
        spec = task.served.spec(claim.no)
        attempt = LiveAttempt(claim, task.input, task.results, self._services)
        running = Running(claim, task, spec, attempt)
        self.running[running.key] = running
        plan = task.served.plan(claim.no)
        if isinstance(plan, Misuse):
            self._end(running, None, plan)
            return running
        running.plan = plan
        timeout = spec.timeout or self._settings.attempt_timeout
        if timeout is not None:
            running.timer = self._loop.call_later(
                timeout.total_seconds(), self._time_out, running, timeout
            )
        if plan.in_process:
            self._start_process(running, plan, timeout)
        elif plan.is_async:
            running.job = self._loop.create_task(
                self._run(running, plan), context=self._context.copy()
            )
        else:
            self._threads.submit(running, partial(_call, running, plan, self._around))
        return running

    async def _run(self, running: Running, plan: Plan) -> None:
        current_attempt.set(running)
        try:
            if self._around is None:
                value = await plan.call(running.attempt)
            else:
                with self._around(_span(running)):
                    value = await plan.call(running.attempt)
        except asyncio.CancelledError as error:
            self._end(running, None, _self_cancelled(error))
        except BaseException as error:  # whatever it is, it belongs to the attempt
            self._end(running, None, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self._end(running, value, None)

    def _returned(self, returned: Returned) -> None:
        self._end(returned.key, returned.value, returned.error)

    # ---------------------------------------------------------------- processes

    def _start_process(self, running: Running, plan: Plan, timeout: timedelta | None) -> None:
        needed = {no: text for no, text in running.task.results.items() if plan.needs >> no & 1}
        limit = self._settings.result_limit
        try:
            pool = self._processes = self._processes or _process_pool(self._settings)
            job = pool.schedule(
                run_in_subprocess,
                args=[plan.packed, running.claim, running.task.input, needed, limit],
                timeout=timeout.total_seconds() + 1 if timeout else None,
            )
        except Exception as error:  # no such handler there, no process to be had
            self._end(running, None, error)
            return
        running.job = job
        job.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._process_done, running, done)
        )

    def _process_done(self, running: Running, done: "Future[JsonText]") -> None:
        try:
            text = done.result()
        except FutureCancelled as error:
            self._end(running, None, _self_cancelled(error))
        except BaseException as error:  # sys.exit there included: it belongs to the attempt
            self._end(running, None, error)
        else:
            self._end(running, text, None)

    # --------------------------------------------------------------------- ends

    def _end(self, running: Running, value: Any, error: BaseException | None) -> None:
        """Decide the outcome of an attempt that ended by itself; free its slot."""
        if not running.over:
            if parked := _parked(error):
                self._over(running)
                self._park(running, parked.task_id)
            else:
                self._settle(running, self._outcome(running, value, error))
        self.running.pop(running.key, None)
        self._freed()

    def _outcome(self, running: Running, value: Any, error: BaseException | None) -> Outcome:
        if error is None:
            try:
                return completed(running.claim, self._result(running, value))
            except BaseException as refusal:  # no JSON; or what the value's own code raises
                error = refusal
        return outcome_of(error, running.claim, running.spec, self._rng)

    def _result(self, running: Running, value: Any) -> JsonText:
        in_process = running.plan is not None and running.plan.in_process
        text: JsonText = (
            value
            if in_process
            else codec.dumps(value, what="the result", limit=self._settings.result_limit)
        )
        if running.spec.result_schema is not None:
            self._check(running, text)
        return text

    def _check(self, running: Running, text: JsonText) -> None:
        mode = self._settings.results
        if mode is SchemaMode.OFF:
            return
        problems = check_result(running.spec, codec.loads(text))
        if not problems:
            return
        told = f"the result does not fit its schema: {'; '.join(problems)}"
        if mode is SchemaMode.ENFORCE:
            raise InvalidInput(told)
        facts = {"task_id": running.claim.task_id, "step": running.spec.name}
        log.warning("result_schema_mismatch", extra={**facts, "problem": told})

    def _over(self, running: Running) -> None:
        running.over = True
        if running.timer is not None:
            running.timer.cancel()

    def _settle(self, running: Running, outcome: Outcome) -> None:
        self._over(running)
        self._finished(Finished(running, outcome, time.monotonic() - running.began))

    def _time_out(self, running: Running, timeout: timedelta) -> None:
        if running.over:
            return
        took = AttemptTimeout(
            f"attempt {running.claim.attempt} took longer than {timeout.total_seconds():g} s",
            code="timeout",
        )
        outcome = outcome_of(took, running.claim, running.spec, self._rng)
        self._settle(running, outcome)
        self._interrupt(running, Stop.TIMEOUT)

    def stop(self, key: Key, why: Stop) -> None:
        """Stop an attempt. One that is taken settles nothing; one at a shutdown is handed back."""
        running = self.running.get(key)
        if running is None or running.over:
            return
        if why is Stop.SHUTDOWN:
            self._settle(running, released(running.claim))
        else:
            self._over(running)
        self._interrupt(running, why)

    def _interrupt(self, running: Running, why: Stop) -> None:
        """Make it end: at its next await, its next heartbeat, or with its process."""
        running.attempt.cancelled = why
        if running.job is not None:
            running.job.cancel()
        if why is not Stop.SHUTDOWN:
            self._loop.call_later(STUBBORN, self._complain, running)

    def _complain(self, running: Running) -> None:
        """Tell of a slot that is lost to a handler which does not stop."""
        if self.running.get(running.key) is running:
            lost = sum(other.over for other in self.running.values())
            facts = {**running.facts(), "slots_lost": lost, "slots": self._settings.slots}
            log.warning("handler_does_not_stop", extra=facts)

    def held(self) -> list[Claim]:
        """List the claims that are still to be settled."""
        return [running.claim for running in self.running.values() if not running.over]

    def current(self) -> Running | None:
        """Tell the attempt whose code holds the event loop; callable from other threads."""
        task = asyncio.current_task(self._loop)
        for running in list(self.running.values()):
            if running.job is task and task is not None:
                return running
        return None

    async def interrupted(self, timeout: float) -> None:
        """Wait until stopped async handlers have cleaned up, at most `timeout` seconds."""
        jobs = [running.job for running in self.running.values()]
        tasks = [job for job in jobs if isinstance(job, asyncio.Task)]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def close(self) -> None:
        """Let go of threads and processes. Sync handlers that still run are not waited for."""
        for running in list(self.running.values()):
            if isinstance(running.job, asyncio.Task):
                _abandon(running.job)
        self._threads.close()
        if self._processes is not None:
            self._processes.stop()  # type: ignore[no-untyped-call]
            self._processes.join()


def _call(running: Running, plan: Plan, around: Around | None) -> Any:
    token = current_attempt.set(running)
    try:
        if around is None:
            return plan.call(running.attempt)
        with around(_span(running)):
            return plan.call(running.attempt)
    finally:
        current_attempt.reset(token)


def _span(running: Running) -> AttemptSpan:
    task, claim = running.task.input, running.claim
    return AttemptSpan(
        claim.task_id,
        running.task.served.template.key,
        running.spec.name,
        claim.attempt,
        task.correlation_id,
        task.trace,
    )


def _abandon(job: "asyncio.Task[None]") -> None:
    """End a handler that takes no notice of being cancelled: its loop would never end."""
    with suppress(RuntimeError, ValueError):  # it takes no notice of this either, or runs just now
        if isinstance(coroutine := job.get_coro(), CoroutineType):
            coroutine.close()
    job.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # told to no one
    job.cancel()


def _parked(error: BaseException | None) -> StepParked | None:
    """Tell the wish to wait for a task, alone or in a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if found := _parked(inner):
                return found
    return error if isinstance(error, StepParked) else None


def _self_cancelled(error: BaseException) -> BaseException:
    """A handler cancelled itself, or something that it awaited: a failure like any other."""
    return RetryableError(
        f"the handler was cancelled from within: {str(error) or 'CancelledError'}"
    )


def _process_pool(settings: WorkerSettings) -> "ProcessPool":
    try:
        from pebble import ProcessPool
    except ModuleNotFoundError:
        raise InvalidSettings(
            "handlers marked process=True need: pip install 'tasker-workflows[processes]'"
        ) from None
    return ProcessPool(
        max_workers=settings.processes or multiprocessing.cpu_count(),
        context=multiprocessing.get_context("spawn"),
    )

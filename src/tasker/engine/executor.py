"""Runs attempts; each ends in one outcome, which goes to the settler."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from tasker.durations import human_duration
from tasker.engine.engine_steps import BuiltInCallPlan, EngineAttempt, EngineServices
from tasker.engine.failure import AttemptTimeout, HeartbeatTimeout, outcome_of_exception
from tasker.engine.publishing import build_finished_attempt
from tasker.engine.reporting import Reporter
from tasker.engine.runners import EventLoopRunner, HandlerRunner, ProcessRunner, ThreadRunner
from tasker.engine.running import RunningAttempt, StopReason
from tasker.engine.settler import Settler
from tasker.engine.slots import Slots
from tasker.engine.task_cache import CachedTask
from tasker.errors import (
    HandlerNotFound,
    InvalidInput,
    Misuse,
    ParkedForTime,
    PermanentError,
    StepError,
    StepParked,
    StepReleased,
)
from tasker.handlers import AttemptServices, CallPlan, LiveAttempt
from tasker.handlers.results import serialize_result
from tasker.model import (
    AttemptKey,
    Claim,
    JsonText,
    Outcome,
    OutcomeCode,
    StepSpec,
    completed_outcome,
    released_outcome,
    requeued_for_handler_outcome,
    sleep_outcome,
)
from tasker.notices import Around
from tasker.settings import JsonSchemaMismatchAction, WorkerSettings
from tasker.template.schema import find_result_violations, is_quick_to_check

log = logging.getLogger("tasker.worker")

LATE = 0.1  #: seconds by which a timer may be late; else the loop was blocked
STUBBORN = 5.0  #: seconds after which a handler that ignores its interruption is logged


class Executor:
    """Runs attempts and passes their outcomes to the settler.

    Args:
        settings: Settings of the worker.
        services: Services that handlers use through their context.
        slots: The worker's slots; each attempt occupies one.
        settler: Receives the outcomes of attempts, and the attempts that must wait for a task.
        reporter: Reports started and revoked attempts.
        engine: The services of the engine's own steps.
        around: Entered around every handler that runs in this process.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        services: AttemptServices,
        slots: Slots,
        settler: Settler,
        reporter: Reporter,
        engine: EngineServices,
        *,
        around: Around | None = None,
    ) -> None:
        self._engine = engine
        self.running: dict[AttemptKey, RunningAttempt] = {}
        self._waiting: deque[tuple[Claim, CachedTask, bool]] = deque()
        self._starting = False
        self._settings = settings
        self._services = services
        self._slots = slots
        self._settler = settler
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._in_loop = EventLoopRunner(self._check_and_finish_attempt, around)
        self._in_threads = ThreadRunner(settings.slots, self._check_and_finish_attempt, around)
        self._in_processes = ProcessRunner(settings, self._check_and_finish_attempt)
        self._rng = Random()

    # -------------------------------------------------------------------- starts

    def start_or_queue_attempt(
        self, claim: Claim, task: CachedTask, *, queue_paused: bool = False
    ) -> None:
        """Start an attempt whose task and needed results are known, or queue it for a free slot.

        Args:
            claim: The claim.
            task: Its task.
            queue_paused: Whether this worker may only decide whether the step runs, because its
                handler's queue is paused.
        """
        if self._slots.taken < self._slots.total:
            self._start_in_slot(claim, task, queue_paused)
        else:
            self._waiting.append((claim, task, queue_paused))
            self._slots.waiting += 1

    def _start_waiting_attempts(self) -> None:
        """Start queued attempts in free slots."""
        if self._starting:  # it is this loop whose attempt ended while it was started
            return
        self._starting = True
        try:
            while self._waiting and self._slots.taken < self._slots.total:
                self._slots.waiting -= 1
                self._start_in_slot(*self._waiting.popleft())
        finally:
            self._starting = False

    def withdraw_waiting_claims(self, keep: int = 0) -> list[Claim]:
        """Remove and return the claims that wait for a slot, except the first `keep`."""
        claims = []
        while len(self._waiting) > keep:
            claims.append(self._waiting.pop()[0])
        self._slots.waiting -= len(claims)
        return claims

    @property
    def waiting_count(self) -> int:
        """How many claims wait for a slot."""
        return len(self._waiting)

    def attempt_keys(self) -> set[AttemptKey]:
        """Return the attempts that run or wait for a slot in this worker."""
        return {*self.running, *(claim.attempt_key for claim, *_ in self._waiting)}

    def _start_in_slot(self, claim: Claim, task: CachedTask, queue_paused: bool) -> None:
        node = claim.no if task.instance is None else task.instance.node
        spec = task.compiled.step_spec(node)
        plan = task.compiled.call_plan(node)
        if isinstance(plan, BuiltInCallPlan):
            attempt: LiveAttempt = EngineAttempt(claim, task, spec, self._engine)
        else:
            attempt = LiveAttempt(claim, task.input, task.results, self._services)
        attempt.instance = task.instance
        if task.missed:
            attempt.failures = task.failed_step_errors()
        running = RunningAttempt(claim, node, task, spec, attempt)
        self.running[running.key] = running
        self._slots.occupy()
        self._reporter.report_start(running)
        if task.compiled.conditions is not None and self._end_if_not_runnable(
            running, plan, queue_paused
        ):
            return
        if isinstance(plan, Misuse):
            self._check_and_finish_attempt(running, None, plan)
            return
        running.plan = plan
        timeout = spec.timeout or self._settings.attempt_timeout
        seconds = None if timeout is None else timeout.total_seconds()
        if seconds is not None:
            running.timer = self._loop.call_later(seconds, self._time_out_attempt, running, seconds)
        if spec.heartbeat_timeout is not None:
            running.attempt.heartbeat()
            self._schedule_heartbeat_check(running, spec.heartbeat_timeout.total_seconds())
        if isinstance(plan, BuiltInCallPlan):
            self._in_loop.start_handler(running, plan, seconds)
        else:
            self._select_runner(plan).start_handler(running, plan, seconds)

    def _end_if_not_runnable(
        self, running: RunningAttempt, plan: CallPlan | BuiltInCallPlan | Misuse, queue_paused: bool
    ) -> bool:
        """End the attempt if its step does not run, or not here; return whether it ended."""
        condition = (running.task.compiled.conditions or {}).get(running.node)
        if condition is None:
            return False
        try:
            outcome = condition.find_skip_outcome(running.claim, running.task)
        except (Misuse, StepError) as error:
            outcome = self._error_outcome(running, error)
        limited = not running.claim.gated and running.node in running.task.compiled.gated
        if outcome is None and (limited or queue_paused or isinstance(plan, HandlerNotFound)):
            outcome = requeued_for_handler_outcome(running.claim)
        if outcome is None:
            return False
        self._pass_to_settler(running, outcome)
        self._free_slot(running)
        return True

    def _select_runner(self, plan: CallPlan | BuiltInCallPlan) -> HandlerRunner:
        if plan.in_process:
            return self._in_processes
        return self._in_loop if plan.is_async else self._in_threads

    # ---------------------------------------------------------------------- ends

    def _check_and_finish_attempt(
        self, running: RunningAttempt, value: Any, error: BaseException | None
    ) -> None:
        """Check the result of an attempt that was not interrupted, then settle it."""
        text = JsonText("")
        if type(value) is Outcome and not running.over:  # of a step that the engine runs itself
            self._pass_to_settler(running, value)
        if error is None and not running.over:
            try:
                text = self._serialize_result(running, value)
                schema = running.spec.result_schema
                if (
                    schema is not None
                    and self._settings.results is not JsonSchemaMismatchAction.OFF
                ):
                    check = partial(find_result_violations, *_template_key_and_spec(running), text)
                    if not is_quick_to_check(schema, text):
                        self._check_result_in_thread(running, text, check)
                        return
                    self._log_or_raise_schema_violations(running, check())
            except BaseException as rejection:  # not JSON, or an error of the value's own code
                error = rejection
        self._finish_attempt(running, text, error)

    def _check_result_in_thread(
        self, running: RunningAttempt, text: JsonText, check: Callable[[], list[str]]
    ) -> None:
        """Check a result that may take long, and finish the attempt after that."""

        def on_result_checked(ended: "asyncio.Future[list[str]]") -> None:
            error = None
            try:
                self._log_or_raise_schema_violations(running, ended.result())
            except BaseException as rejection:
                error = rejection
            self._finish_attempt(running, text, error)

        self._loop.run_in_executor(None, check).add_done_callback(on_result_checked)

    def _finish_attempt(
        self, running: RunningAttempt, text: JsonText, error: BaseException | None
    ) -> None:
        """Decide the outcome of an attempt unless it is already decided, and free its slot."""
        if not running.over:
            if parked := _find_parked_exception(error):
                self._end_parked_attempt(running, parked)
            elif error is None:
                self._pass_to_settler(running, self._success_outcome(running, text))
            else:
                self._pass_to_settler(running, self._error_outcome(running, error))
        self._free_slot(running)

    def _success_outcome(self, running: RunningAttempt, text: JsonText) -> Outcome:
        """Return the outcome of an attempt with a result; a decision's result makes a choice."""
        outcome = completed_outcome(running.claim, text)
        choices = running.task.compiled.choices
        if choices is None or (choice := choices.get(running.node)) is None:
            return outcome
        try:
            return outcome._replace(choice=choice.read_chosen_children(running.claim, text))
        except PermanentError as error:
            return self._error_outcome(running, error)

    def _error_outcome(self, running: RunningAttempt, error: BaseException) -> Outcome:
        return outcome_of_exception(error, running.claim, running.spec, self._rng)

    def _free_slot(self, running: RunningAttempt) -> None:
        """Free the slot of an attempt that is over."""
        if self.running.get(running.key) is running:  # else its step runs again, after a crash
            del self.running[running.key]
        self._slots.vacate()
        if self._waiting:
            self._start_waiting_attempts()

    def _end_parked_attempt(self, running: RunningAttempt, parked: StepParked) -> None:
        """End an attempt whose step waits."""
        if isinstance(parked, StepReleased):
            self._pass_to_settler(running, released_outcome(running.claim))
        elif isinstance(parked, ParkedForTime):
            self._pass_to_settler(running, sleep_outcome(running.claim, parked.seconds))
        else:
            self._mark_over_and_cancel_timers(running)
            self._settler.park_step(running, parked)

    def _serialize_result(self, running: RunningAttempt, value: Any) -> JsonText:
        if running.plan is not None and running.plan.in_process:
            text: JsonText = value
            return text
        return serialize_result(value, limit=self._settings.result_limit)

    def _log_or_raise_schema_violations(self, running: RunningAttempt, problems: list[str]) -> None:
        """Log a result that does not match its schema, or raise InvalidInput if enforced."""
        if not problems:
            return
        message = f"the result does not match the step's result_schema: {'; '.join(problems)}"
        if self._settings.results is JsonSchemaMismatchAction.ENFORCE:
            raise InvalidInput(message)
        facts = {"task_id": running.claim.task_id, "step": running.spec.name}
        log.warning("result_schema_mismatch", extra={**facts, "problem": message})

    def _mark_over_and_cancel_timers(self, running: RunningAttempt) -> None:
        running.over = True
        if running.timer is not None:
            running.timer.cancel()
        if running.watch is not None:
            running.watch.cancel()

    def _pass_to_settler(self, running: RunningAttempt, outcome: Outcome) -> None:
        self._mark_over_and_cancel_timers(running)
        finished = build_finished_attempt(running, outcome, time.monotonic() - running.began)
        instance = running.task.instance
        if (
            instance is not None
            and outcome.outcome is OutcomeCode.ERROR
            and running.task.compiled.fails_fast
        ):
            self._settler.add_failure_after_cancelling_siblings(finished, instance)
        elif outcome.outcome is OutcomeCode.ERROR and running.can_be_completed_externally:
            self._settler.settle_external_failure_unless_completed(finished)
        else:
            self._settler.add_outcome(finished)

    # --------------------------------------------------------------- interruptions

    def _time_out_attempt(self, running: RunningAttempt, seconds: float) -> None:
        if running.over:
            return
        error = AttemptTimeout(
            f"attempt {running.claim.attempt} took longer than {human_duration(seconds)}",
            code="timeout",
        )
        self._pass_to_settler(
            running, outcome_of_exception(error, running.claim, running.spec, self._rng)
        )
        self._interrupt_attempt(running, StopReason.TIMEOUT)

    def _schedule_heartbeat_check(
        self, running: RunningAttempt, pause: float, *, put_off: bool = False
    ) -> None:
        """Check after `pause` seconds whether the attempt sent a heartbeat."""
        when = self._loop.time() + pause
        look = self._check_heartbeat
        running.watch = self._loop.call_at(when, look, running, when, put_off)

    def _check_heartbeat(self, running: RunningAttempt, when: float, put_off: bool) -> None:
        allowed = running.spec.heartbeat_timeout
        if running.over or allowed is None:
            return
        seconds = allowed.total_seconds()
        blocked = self._loop.time() - when
        if blocked > LATE and not put_off:  # its async handlers could give no heartbeat
            self._schedule_heartbeat_check(running, min(blocked, seconds), put_off=True)
            return
        last = self._last_heartbeat(running)
        left = seconds if last is None else last + seconds - time.monotonic()
        if left > 0:
            self._schedule_heartbeat_check(running, left)
            return
        error = HeartbeatTimeout(
            f"attempt {running.claim.attempt} sent no heartbeat for {human_duration(seconds)}",
            code="heartbeat_timeout",
        )
        self._pass_to_settler(
            running, outcome_of_exception(error, running.claim, running.spec, self._rng)
        )
        self._interrupt_attempt(running, StopReason.SILENT)

    def _last_heartbeat(self, running: RunningAttempt) -> float | None:
        """Return the time of the last heartbeat; None while the attempt waits for a process."""
        if running.plan is not None and running.plan.in_process:
            return self._in_processes.last_heartbeat(running)
        return running.attempt.last_heartbeat

    def revoke_claims(self, claims: Sequence[Claim]) -> None:
        """Stop attempts that this worker lost; they are not settled."""
        if self._waiting:
            self._drop_revoked_claims({claim.attempt_key for claim in claims})
        for claim in claims:
            running = self.running.get(claim.attempt_key)
            if running is None or running.over:
                continue
            self._mark_over_and_cancel_timers(running)
            ran_for = timedelta(seconds=time.monotonic() - running.began)
            self._reporter.report_stopped_attempt(running, ran_for)
            self._interrupt_attempt(running, StopReason.REVOKED)

    def _drop_revoked_claims(self, keys: set[AttemptKey]) -> None:
        """Drop revoked claims that wait for a slot."""
        kept = [entry for entry in self._waiting if entry[0].attempt_key not in keys]
        self._slots.waiting -= len(self._waiting) - len(kept)
        self._waiting = deque(kept)

    def shutdown(self) -> None:
        """Stop all attempts, and release their steps to other workers."""
        for running in list(self.running.values()):
            if not running.over:
                self._pass_to_settler(running, released_outcome(running.claim))
                self._interrupt_attempt(running, StopReason.SHUTDOWN)

    def _interrupt_attempt(self, running: RunningAttempt, reason: StopReason) -> None:
        """Make the attempt end: at its next await, at its next heartbeat, or with its process."""
        running.attempt.cancelled = reason
        if running.plan is not None:
            self._select_runner(running.plan).interrupt_handler(running)
        if reason is not StopReason.SHUTDOWN:
            self._loop.call_later(STUBBORN, self._log_stuck_slot, running)

    def _log_stuck_slot(self, running: RunningAttempt) -> None:
        """Log a slot that is occupied by a handler that does not stop."""
        if self.running.get(running.key) is running:
            lost = sum(other.over for other in self.running.values())
            facts = {**running.log_fields(), "slots_lost": lost, "slots": self._slots.total}
            log.warning("handler_does_not_stop", extra=facts)

    def held_claims(self) -> list[Claim]:
        """List the claims that are still to be settled."""
        running = [running.claim for running in self.running.values() if not running.over]
        return [*running, *(claim for claim, *_ in self._waiting)]

    def attempt_holding_loop(self) -> RunningAttempt | None:
        """Return the attempt whose code holds the event loop; callable from other threads."""
        return self._in_loop.attempt_holding_loop()

    async def wait_for_interrupted_handlers(self, timeout: float) -> None:
        """Wait until stopped async handlers have cleaned up, at most `timeout` seconds."""
        await self._in_loop.wait_for_interrupted_handlers(timeout)

    def close(self) -> None:
        """Release threads and processes, without waiting for sync handlers that still run."""
        self._in_loop.close()
        self._in_threads.close()
        self._in_processes.close()


def _template_key_and_spec(running: RunningAttempt) -> tuple[str, StepSpec]:
    return str(running.task.compiled.template.key), running.spec


def _find_parked_exception(error: BaseException | None) -> StepParked | None:
    """Return the exception that parks the step: the error itself, or one in an exception group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if parked := _find_parked_exception(inner):
                return parked
    return error if isinstance(error, StepParked) else None

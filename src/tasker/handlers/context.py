"""The step context: a handler's view of its attempt.

A `Context` is created from the objects in `attempt.py`, and only for handlers that have a parameter
for it. It decodes values on first use, so only the values that a handler uses cost time.
`SyncContext` has the calls that block a thread, and `AsyncContext` has the same calls for the event
loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

from tasker.approvals import Decision
from tasker.codec import dumps, loads
from tasker.durable import DurableCall, DurableCallKind
from tasker.durations import Duration
from tasker.errors import AttemptCancelled, Misuse, PermanentError, StepReleased
from tasker.handlers.approvals import ApprovalQuestion, wait_for_approval
from tasker.handlers.attempt import PROGRESS, LiveAttempt, StepProperties
from tasker.handlers.durable import (
    DurableCalls,
    OnTimeout,
    RetryOfChild,
    Signal,
    decode_recorded_value,
)
from tasker.handlers.instances import Cursor, plan_new_instances
from tasker.model import (
    JsonObject,
    JsonText,
    NewInstances,
    SpawnedStepNumbers,
    TaskFailure,
    TaskId,
    TemplateName,
)
from tasker.step_logs import format_log_message
from tasker.typed_template import TypedTemplate
from tasker.waits import Arrival

if TYPE_CHECKING:
    from tasker.client import Client, SyncClient, TaskOptions


class Context:
    """A handler's view of one attempt of one step.

    An `async def` handler receives an `AsyncContext`, any other a `SyncContext`. Annotate the
    parameter with that class to create tasks or save checkpoints, or with `Context` if those are
    not needed.
    """

    __slots__ = (
        "_attempt",
        "_calls",
        "_checkpoint",
        "_config",
        "_facts",
        "_input",
        "_logger",
        "_results",
    )

    _calls: DurableCalls  # these five are unset until first used
    _input: dict[str, Any]
    _config: dict[str, Any]
    _results: "Results"
    _logger: "StepLogger"

    def __init__(self, facts: StepProperties, attempt: LiveAttempt) -> None:
        self._facts = facts
        self._attempt = attempt
        self._checkpoint = attempt.claim.checkpoint

    def __repr__(self) -> str:
        return f"<Context {self.template} {self.step}, attempt {self.attempt} of {self.task_id}>"

    # -- which attempt this is

    @property
    def task_id(self) -> TaskId:
        """The id of the step's task."""
        return self._attempt.claim.task_id

    @property
    def step(self) -> str:
        """The step's name. The name of an instance includes its number: `convert[17]`."""
        instance = self._attempt.instance
        return self._facts.spec.name if instance is None else instance.name

    @property
    def template(self) -> TemplateName:
        """The template of the task, with its namespace and version."""
        return self._facts.template

    @property
    def namespace(self) -> str:
        """The namespace of the template."""
        return self._facts.template.namespace

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1; never reused."""
        return self._attempt.claim.attempt

    @property
    def counted_attempts(self) -> int:
        """Number of attempts that count towards `max_attempts`, including this one.

        Less than `attempt` after a reset by an operator or a worker's shutdown.
        """
        return self._attempt.claim.counted_attempts

    @property
    def max_attempts(self) -> int:
        """Maximum number of attempts, >= 1."""
        return self._facts.max_attempts

    @property
    def is_retry(self) -> bool:
        """Whether an earlier attempt started and may have had effects."""
        return self._attempt.claim.attempt > 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure of this attempt is final."""
        return self._attempt.claim.counted_attempts >= self._facts.max_attempts

    @property
    def idempotency_key(self) -> str:
        """A key for the step's external effects. It is unique to the step and the same in all
        attempts."""
        return f"{self._attempt.claim.task_id}:{self.step}"

    @property
    def correlation_id(self) -> str:
        """The correlation id, which connects related tasks, even across namespaces."""
        return self._attempt.task.correlation_id

    @property
    def trace(self) -> str | None:
        """The W3C traceparent of the request that created the task, or None if it had none."""
        return self._attempt.task.trace

    @property
    def parent_id(self) -> TaskId | None:
        """The id of the task that created this one, or None."""
        return self._attempt.task.parent_id

    @property
    def completion_url(self) -> str:
        """The URL at which another system completes this external step; "" for other steps.

        It contains a secret token. The URLs of earlier attempts stay valid.
        """
        return self._attempt.completion_url

    # -- inputs

    @property
    def input(self) -> Mapping[str, Any]:
        """The task's input, as this attempt's own copy."""
        try:
            return self._input
        except AttributeError:
            self._input = object_or_empty(loads(self._attempt.task.context))
            return self._input

    def get_input(self, key: str) -> Any:
        """Return one input, or None if it is absent."""
        return self.input.get(key)

    def get_input_or(self, key: str, default: Any) -> Any:
        """Return one input, or `default` if it is absent or null."""
        value = self.input.get(key)
        return default if value is None else value

    @property
    def instance(self) -> int | None:
        """The number of this instance of a `map`, `batch` or `repeat`, from 0; None if it is not an
        instance."""
        instance = self._attempt.instance
        return None if instance is None else instance.instance

    @property
    def item(self) -> Any:
        """The element for which this instance of a `map` runs; None if it is not part of a map."""
        items = self._facts.around.items
        return self._instance_input(items[0]) if items else None

    @property
    def cursor(self) -> Cursor:
        """The numbers that this instance of a `batch` works on.

        Raises:
            Misuse: The step is not part of a batch.
        """
        value = self._instance_input("cursor")
        if value is None:
            raise Misuse(f"step {self.step!r} has no cursor: it is not part of a batch")
        return Cursor(value["start"], value["end"])

    @property
    def items(self) -> Mapping[str, Any]:
        """The inputs of the instances that this step is part of, by name: elements of maps, ranges
        of batches, numbers of iterations.
        """
        return {name: self._instance_input(name) for name in self._facts.around.items}

    def _instance_input(self, name: str) -> Any:
        instance = self._attempt.instance
        text = None if instance is None else instance.items.get(name)
        return None if text is None else loads(text)

    @property
    def config(self) -> Mapping[str, Any]:
        """The step's configuration in the template (`handler.initialization`)."""
        try:
            return self._config
        except AttributeError:
            self._config = object_or_empty(loads(self._facts.config))
            return self._config

    def get_config(self, key: str) -> Any:
        """Return one value of the step's configuration, or None if it is absent."""
        return self.config.get(key)

    @property
    def results(self) -> "Results":
        """Results of all ancestors by name, not only of direct dependencies."""
        try:
            return self._results
        except AttributeError:
            self._results = Results(self._facts, self._attempt.results)
            return self._results

    def failure_of(self, step: str) -> TaskFailure | None:
        """Return the error of an ancestor step that failed, or None if it did not fail.

        Only for ancestors whose results the handler reads, or that its trigger rule takes into
        account.

        Raises:
            PermanentError: `step` is not an ancestor of this step.
        """
        no = self._facts.upstream.get(step)
        if no is None:
            raise _not_an_ancestor_error(self._facts, step)
        text = self._attempt.failures.get(no)
        return None if text is None else TaskFailure.from_error(step, loads(text))

    def get_dependency_result(self, step: str) -> Any:
        """Return the result of an ancestor step, or None if it has none.

        Raises:
            PermanentError: `step` is not an ancestor of this step.
        """
        return self.results[step]

    def get_dependency_field(self, step: str, *path: str) -> Any:
        """Return a part of a result, such as `("reserve", "hold", "id")`, or None if it is absent.

        Raises:
            PermanentError: `step` is not an ancestor of this step.
        """
        value = self.results[step]
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    # -- actions

    @property
    def logger(self) -> "StepLogger":
        """The logger of the handler's module; its records contain the task, step and attempt.

        Records of level INFO and above are kept with the attempt, regardless of the logging
        configuration.
        """
        try:
            return self._logger
        except AttributeError:
            facts = {
                "task_id": self.task_id,
                "step": self.step,
                "attempt": self.attempt,
                "correlation_id": self.correlation_id,
            }
            logger = logging.getLogger(self._facts.logger)
            self._logger = StepLogger(logger, facts, self._attempt)
            return self._logger

    def now(self) -> datetime:
        """Return the current time, aware, in UTC: from the test's clock in a test, otherwise from
        this machine's clock.
        """
        return self._attempt.services.clock.now()

    @property
    def cancelled(self) -> bool:
        """Whether this attempt must stop; `heartbeat` raises the reason."""
        return bool(self._attempt.cancelled)

    def heartbeat(self) -> None:
        """Report that this attempt is alive, and raise if it must stop.

        It takes less than a microsecond and does no I/O: call it in every iteration of a long loop.
        If the step has a `heartbeat_timeout`, the attempt fails when that time passes without a
        call of this method or of `checkpoint`. Otherwise async handlers need no heartbeats, since
        they are interrupted at their next `await`.

        Raises:
            AttemptCancelled: The attempt has timed out, its task was cancelled, or the worker lost
                its lease. Never raised in a separate process, which is killed instead.
        """
        self._attempt.heartbeat()
        if self._attempt.cancelled:
            raise AttemptCancelled(f"{self!r} must stop: {self._attempt.cancelled}")

    def progress(self, fraction: float, message: str = "") -> None:
        """Report the progress of the attempt; counts as a heartbeat.

        The report is kept with the attempt's log records. Call it as often as you like: it does no
        I/O, and only about two reports per second are kept.

        Args:
            fraction: From 0 to 1; values outside this range are clamped.
            message: A description of the progress, such as "page 12".

        Raises:
            AttemptCancelled: As `heartbeat`.
        """
        self.heartbeat()
        fraction = min(max(float(fraction), 0.0), 1.0)
        self._attempt.services.append_log(
            self._attempt, logging.INFO, PROGRESS, message, {"fraction": fraction}
        )

    @property
    def last_checkpoint(self) -> Any:
        """The value of the last `checkpoint` of this or an earlier attempt, initially None."""
        return None if self._checkpoint is None else loads(self._checkpoint)

    @property
    def _durable_calls(self) -> DurableCalls:
        """The durable calls of this attempt. Raises AttemptCancelled if it must stop."""
        self.heartbeat()
        try:
            return self._calls
        except AttributeError:
            self._calls = DurableCalls(self._attempt, self.step, self.namespace, self.max_attempts)
            return self._calls

    def _plan_new_instances(
        self, step: str, items: Sequence[Any], name: str | None
    ) -> Iterator[NewInstances]:
        """Yield the instances to insert for items, in several parts.

        Raises:
            Misuse: This step is not part of a map with that name.
            InvalidInput: An item has no JSON form.
            TooLarge: An item is too large.
        """
        key = self._durable_calls.reserve_call_name(DurableCallKind.SPAWN, name)
        yield from plan_new_instances(self._attempt.instance, self._facts.around, step, items, key)

    def _save_checkpoint(self, value: Any) -> "Future[None]":
        """Start storing a checkpoint. Raises AttemptCancelled, InvalidInput, TooLarge."""
        self.heartbeat()
        text = dumps(value, what="checkpoint")
        saving = self._attempt.services.save_checkpoint(self._attempt, text)
        self._checkpoint = text
        return saving


class AsyncContext(Context):
    """The context of `async def` handlers; slow calls are awaited."""

    __slots__ = ("_client",)

    _client: "Client"

    @property
    def client(self) -> "Client":
        """The client that creates and reads tasks on behalf of this attempt.

        New tasks get this task's correlation id. If a later attempt creates the same tasks again,
        it receives the existing ones.
        """
        try:
            return self._client
        except AttributeError:
            self._client = self._attempt.services.client(self._attempt)
            return self._client

    async def spawn(self, step: str, items: Sequence[Any], *, name: str | None = None) -> int:
        """Add instances to a `map` that this step is part of; the map waits for them too.

        If a later attempt makes the same call, it adds nothing.

        Args:
            step: The step that has the map.
            items: An element for each new instance.
            name: Name of this call among the durable calls of the step; None: `spawn-<n>`, by the
                order of calls.

        Returns:
            The number of the first new instance.

        Raises:
            AttemptCancelled: This attempt must stop; some of the instances may exist.
            Misuse: This step is not part of a map with that name.
            PermanentError: An earlier attempt added a different number of instances in this call.
            TooManyInstances: The map would have more than 100,000 instances.
        """
        spawned = None
        for new in self._plan_new_instances(step, items, name):
            spawned = await self._attempt.services.spawn_instances(self._attempt, new)
            require_same_instance_count(new, spawned)
        return 0 if spawned is None else spawned.first_instance

    async def hand_back(self, checkpoint: Any) -> NoReturn:
        """Save a checkpoint and return the step to its queue, so other steps can run.

        The handler starts again later, perhaps on another worker. The attempt does not count
        towards `max_attempts`.

        Raises:
            StepReleased: Always; the worker handles it.
        """
        await self.checkpoint(checkpoint)
        raise StepReleased

    async def checkpoint(self, value: Any) -> None:
        """Save the progress of this attempt for the next one.

        Args:
            value: Any value with a JSON form. It replaces the previous checkpoint.

        Raises:
            AttemptCancelled: This attempt must stop; nothing was saved.
            InvalidInput: `value` has no JSON form.
            TooLarge: `value` is too large.
        """
        await asyncio.wrap_future(self._save_checkpoint(value))

    async def once(
        self,
        name: str,
        function: Callable[..., Awaitable[Any] | Any],
        /,
        *args: Any,
        **options: Any,
    ) -> Any:
        """Call a function once across all attempts of the step, and return its result.

        The first result is stored before this method returns. Later attempts, after a failure or a
        wait, return it without calling the function again. If the process dies after the function
        has returned and before the result is stored, the function is called again.

        Args:
            name: The name of the call, unique in the step: at most 200 characters.
            function: The function, async or not. If it raises, nothing is stored.
            args: Its arguments.
            options: Its keyword arguments.

        Returns:
            The result, read back from JSON.

        Raises:
            DurableCallConflict: Another call of this attempt has the name, or an earlier attempt
                recorded a call of another kind with it.
            AttemptCancelled: This attempt must stop.
            InvalidInput: The result has no JSON form.
            TooLarge: The step's records would exceed 1 MiB.
            TooManyDurableCalls: The step has 1,000 records.
        """
        calls = self._durable_calls
        calls.reserve_call_name(DurableCallKind.ONCE, name)
        if not calls.loaded:
            await calls.load_records()
        record = calls.find_record(DurableCallKind.ONCE, name)
        if record is None:
            value = function(*args, **options)
            if isawaitable(value):
                value = await value
            record = await calls.record_call(
                DurableCallKind.ONCE, name, calls.serialize_value(name, value)
            )
        return decode_recorded_value(record)

    async def sleep(
        self,
        delay: Duration | None = None,
        *,
        until: datetime | None = None,
        call_name: str | None = None,
    ) -> None:
        """Wait for a time without occupying a worker.

        The attempt ends. When the time has passed, the handler runs again from the start, and this
        call returns immediately. Attempts that end with a sleep do not count.

        Args:
            delay: Seconds, a timedelta or text such as `"5m"`; at most ten years.
            until: The end of the sleep, with a time zone, instead of `delay`.
            call_name: The name of the durable call; by default its number: `sleep-1`, `sleep-2`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: The time is invalid.
        """
        await self._durable_calls.sleep(delay, until, call_name)

    async def wait_signal(
        self,
        name: str,
        *,
        key: str | None = None,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        call_name: str | None = None,
    ) -> Any:
        """Wait for a signal to this task without occupying a worker, and return its payload.

        The attempt ends unless a signal has already arrived. When one arrives, the handler runs
        again from the start, and this call returns immediately. Attempts that end with a wait do
        not count. Each wait receives one signal, oldest first.

        Args:
            name: The signal's name.
            key: A broadcast with this name and key also ends the wait.
            timeout: Maximum wait: seconds, a timedelta or text such as `"3d"`; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns None.
            call_name: The name of the durable call; by default its number: `wait_signal-1`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        wait = self._durable_calls.build_wait(
            DurableCallKind.WAIT_SIGNAL, call_name, [Signal(name, key)], timeout, on_timeout
        )
        arrival = await self._durable_calls.wait_for_arrival(wait, on_timeout)
        return arrival.payload

    async def wait_any(
        self,
        *signals: str | Signal,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        call_name: str | None = None,
    ) -> Arrival:
        """Wait for the first of several signals: see `wait_signal`.

        Args:
            signals: Names of signals, or `Signal(name, key=...)` with broadcasts; at most 20.
            timeout: Maximum wait; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns an `Arrival` whose `timed_out` is True.
            call_name: The name of the durable call; by default its number: `wait_any-1`.

        Returns: The arrival: `name`, `key`, `payload`, `sent_by` and `sent_at`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        named = [Signal(each) if isinstance(each, str) else each for each in signals]
        wait = self._durable_calls.build_wait(
            DurableCallKind.WAIT_ANY, call_name, named, timeout, on_timeout
        )
        return await self._durable_calls.wait_for_arrival(wait, on_timeout)

    async def wait_approval(
        self,
        *assignees: str,
        form: JsonObject | None = None,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        escalate_after: Duration | None = None,
        escalate_to: Sequence[str] = (),
        call_name: str | None = None,
    ) -> Decision | None:
        """Wait for a person's decision without occupying a worker.

        The attempt ends. When the approval is decided, the handler runs again from the start, and
        this call returns immediately. Attempts that end with a wait do not count.

        Args:
            assignees: Who may decide: `user:NAME` and `role:NAME`; if empty, everyone who may
                decide approvals.
            form: JSON Schema of the decision; None: `approved`, a boolean, and a `comment`.
            timeout: Maximum wait: seconds, a timedelta or text such as `"3d"`; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns None.
            escalate_after: Time after which `escalate_to` may decide too.
            escalate_to: Further assignees.
            call_name: The name of the durable call; by default its number: `wait_approval-1`.

        Returns:
            The decision: `form`, `decided_by` and `decided_at`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        question = ApprovalQuestion(
            assignees=assignees,
            form=form,
            timeout=timeout,
            on_timeout=on_timeout,
            escalate_after=escalate_after,
            escalate_to=escalate_to,
        )
        calls, namespace = self._durable_calls, self.namespace
        work = wait_for_approval(calls, question, namespace=namespace, call_name=call_name)
        return await work

    async def run_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        *,
        call_name: str | None = None,
        detached: bool = False,
        retry: RetryOfChild = "never",
        **options: Unpack["TaskOptions"],
    ) -> Any:
        """Run a task and return its result, without occupying a worker while it runs.

        The task is created once across all attempts. It gets this task's correlation id, priority
        and trace, and is cancelled when this task is cancelled or misses its deadline. If it fails,
        this step fails permanently with the task's error.

        Args:
            template: The name of a template, such as `"payments.refund@^2"`, or a workflow.
            context: The task's inputs; None means no inputs.
            call_name: The name of the durable call; by default its number: `run_task-1`.
            detached: Whether the task continues when this task is cancelled.
            retry: "child" retries the task's failed steps until the task has failed as often as
                this step may have attempts; "never" does not retry them.
            options: The other fields of `TaskRequest`.

        Returns:
            The result; for a workflow, converted to the type that it declares.

        Raises:
            DurableCallConflict: See `once`.
            NotFound: The template does not exist.
            InvalidInput: The context violates the template's schema.
            PermanentError: The task failed or was cancelled; the code is `task_failed`.
        """
        work = self._durable_calls.run_task(
            template, context, call_name, retry, options, detached=detached
        )
        return await work


class SyncContext(Context):
    """The context of sync handlers; slow calls block the thread."""

    __slots__ = ("_client",)

    _client: "SyncClient"

    @property
    def client(self) -> "SyncClient":
        """The client that creates and reads tasks on behalf of this attempt.

        New tasks get this task's correlation id. If a later attempt creates the same tasks again,
        it receives the existing ones.
        """
        try:
            return self._client
        except AttributeError:
            self._client = self._attempt.services.sync_client(self._attempt)
            return self._client

    def spawn(self, step: str, items: Sequence[Any], *, name: str | None = None) -> int:
        """Add instances to a `map` that this step is part of: see `AsyncContext.spawn`."""
        spawned, services = None, self._attempt.services
        for new in self._plan_new_instances(step, items, name):
            spawned = services.run_coroutine_blocking(services.spawn_instances(self._attempt, new))
            require_same_instance_count(new, spawned)
        return 0 if spawned is None else spawned.first_instance

    def hand_back(self, checkpoint: Any) -> NoReturn:
        """Save a checkpoint and return the step to its queue, so other steps can run.

        The handler starts again later, perhaps on another worker. The attempt does not count
        towards `max_attempts`.

        Raises:
            StepReleased: Always; the worker handles it.
        """
        self.checkpoint(checkpoint)
        raise StepReleased

    def checkpoint(self, value: Any) -> None:
        """Save the progress of this attempt for the next one, and return when it is stored.

        Args:
            value: Any value with a JSON form. It replaces the previous checkpoint.

        Raises:
            AttemptCancelled: This attempt must stop; nothing was saved.
            InvalidInput: `value` has no JSON form.
            TooLarge: `value` is too large.
        """
        self._save_checkpoint(value).result()

    def once(self, name: str, function: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        """Call a function once across all attempts of the step, and return its result.

        The first result is stored before this method returns. Later attempts, after a failure or a
        wait, return it without calling the function again. If the process dies after the function
        has returned and before the result is stored, the function is called again.

        Args:
            name: The name of the call, unique in the step: at most 200 characters.
            function: The function. If it raises, nothing is stored.
            args: Its arguments.
            options: Its keyword arguments.

        Returns:
            The result, read back from JSON.

        Raises:
            DurableCallConflict: Another call of this attempt has the name, or an earlier attempt
                recorded a call of another kind with it.
            AttemptCancelled: This attempt must stop.
            InvalidInput: The result has no JSON form.
            TooLarge: The step's records would exceed 1 MiB.
            TooManyDurableCalls: The step has 1,000 records.
        """
        calls = self._durable_calls
        calls.reserve_call_name(DurableCallKind.ONCE, name)
        record = self._find_durable_call(DurableCallKind.ONCE, name)
        if record is None:
            text = calls.serialize_value(name, function(*args, **options))
            record = self._attempt.services.run_coroutine_blocking(
                calls.record_call(DurableCallKind.ONCE, name, text)
            )
        return decode_recorded_value(record)

    def sleep(
        self,
        delay: Duration | None = None,
        *,
        until: datetime | None = None,
        call_name: str | None = None,
    ) -> None:
        """Wait for a time without occupying a worker.

        The attempt ends. When the time has passed, the handler runs again from the start, and this
        call returns immediately. Attempts that end with a sleep do not count.

        Args:
            delay: Seconds, a timedelta or text such as `"5m"`; at most ten years.
            until: The end of the sleep, with a time zone, instead of `delay`.
            call_name: The name of the durable call; by default its number: `sleep-1`, `sleep-2`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: The time is invalid.
        """
        self._attempt.services.run_coroutine_blocking(
            self._durable_calls.sleep(delay, until, call_name)
        )

    def wait_signal(
        self,
        name: str,
        *,
        key: str | None = None,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        call_name: str | None = None,
    ) -> Any:
        """Wait for a signal to this task without occupying a worker, and return its payload.

        The attempt ends unless a signal has already arrived. When one arrives, the handler runs
        again from the start, and this call returns immediately. Attempts that end with a wait do
        not count. Each wait receives one signal, oldest first.

        Args:
            name: The signal's name.
            key: A broadcast with this name and key also ends the wait.
            timeout: Maximum wait: seconds, a timedelta or text such as `"3d"`; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns None.
            call_name: The name of the durable call; by default its number: `wait_signal-1`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        wait = self._durable_calls.build_wait(
            DurableCallKind.WAIT_SIGNAL, call_name, [Signal(name, key)], timeout, on_timeout
        )
        arrival = self._attempt.services.run_coroutine_blocking(
            self._durable_calls.wait_for_arrival(wait, on_timeout)
        )
        return arrival.payload

    def wait_any(
        self,
        *signals: str | Signal,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        call_name: str | None = None,
    ) -> Arrival:
        """Wait for the first of several signals: see `wait_signal`.

        Args:
            signals: Names of signals, or `Signal(name, key=...)` with broadcasts; at most 20.
            timeout: Maximum wait; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns an `Arrival` whose `timed_out` is True.
            call_name: The name of the durable call; by default its number: `wait_any-1`.

        Returns: The arrival: `name`, `key`, `payload`, `sent_by` and `sent_at`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        named = [Signal(each) if isinstance(each, str) else each for each in signals]
        wait = self._durable_calls.build_wait(
            DurableCallKind.WAIT_ANY, call_name, named, timeout, on_timeout
        )
        return self._attempt.services.run_coroutine_blocking(
            self._durable_calls.wait_for_arrival(wait, on_timeout)
        )

    def wait_approval(
        self,
        *assignees: str,
        form: JsonObject | None = None,
        timeout: Duration | None = None,
        on_timeout: OnTimeout = "fail",
        escalate_after: Duration | None = None,
        escalate_to: Sequence[str] = (),
        call_name: str | None = None,
    ) -> Decision | None:
        """Wait for a person's decision without occupying a worker.

        The attempt ends. When the approval is decided, the handler runs again from the start, and
        this call returns immediately. Attempts that end with a wait do not count.

        Args:
            assignees: Who may decide: `user:NAME` and `role:NAME`; if empty, everyone who may
                decide approvals.
            form: JSON Schema of the decision; None: `approved`, a boolean, and a `comment`.
            timeout: Maximum wait: seconds, a timedelta or text such as `"3d"`; None: no limit.
            on_timeout: After the timeout, "fail" ends the step in error with the code
                `wait_timeout`, and "continue" returns None.
            escalate_after: Time after which `escalate_to` may decide too.
            escalate_to: Further assignees.
            call_name: The name of the durable call; by default its number: `wait_approval-1`.

        Returns:
            The decision: `form`, `decided_by` and `decided_at`.

        Raises:
            DurableCallConflict: See `once`.
            InvalidInput: An argument is invalid.
        """
        question = ApprovalQuestion(
            assignees=assignees,
            form=form,
            timeout=timeout,
            on_timeout=on_timeout,
            escalate_after=escalate_after,
            escalate_to=escalate_to,
        )
        calls, namespace = self._durable_calls, self.namespace
        work = wait_for_approval(calls, question, namespace=namespace, call_name=call_name)
        return self._attempt.services.run_coroutine_blocking(work)

    def run_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        *,
        call_name: str | None = None,
        detached: bool = False,
        retry: RetryOfChild = "never",
        **options: Unpack["TaskOptions"],
    ) -> Any:
        """Run a task and return its result, without occupying a worker while it runs.

        The task is created once across all attempts. It gets this task's correlation id, priority
        and trace, and is cancelled when this task is cancelled or misses its deadline. If it fails,
        this step fails permanently with the task's error.

        Args:
            template: The name of a template, such as `"payments.refund@^2"`, or a workflow.
            context: The task's inputs; None means no inputs.
            call_name: The name of the durable call; by default its number: `run_task-1`.
            detached: Whether the task continues when this task is cancelled.
            retry: "child" retries the task's failed steps until the task has failed as often as
                this step may have attempts; "never" does not retry them.
            options: The other fields of `TaskRequest`.

        Returns:
            The result; for a workflow, converted to the type that it declares.

        Raises:
            DurableCallConflict: See `once`.
            NotFound: The template does not exist.
            InvalidInput: The context violates the template's schema.
            PermanentError: The task failed or was cancelled; the code is `task_failed`.
        """
        work = self._durable_calls.run_task(
            template, context, call_name, retry, options, detached=detached
        )
        return self._attempt.services.run_coroutine_blocking(work)

    def _find_durable_call(self, kind: DurableCallKind, name: str) -> DurableCall | None:
        calls = self._durable_calls
        if not calls.loaded:
            self._attempt.services.run_coroutine_blocking(calls.load_records())
        return calls.find_record(kind, name)


class Results(Mapping[str, Any]):
    """Results of the ancestors of a step by name, decoded on first use.

    The result of a step that was skipped or resolved without a result is None. Access to a step
    that is not an ancestor raises PermanentError, because a retry cannot help.
    """

    __slots__ = ("_facts", "_texts", "_values")

    def __init__(self, facts: StepProperties, texts: Mapping[int, JsonText | None]) -> None:
        self._facts = facts
        self._texts = texts
        self._values: dict[str, Any] = {}

    def __getitem__(self, step: str) -> Any:
        if step not in self._values:
            no = self._facts.upstream.get(step)
            if no is None:
                raise _not_an_ancestor_error(self._facts, step)
            text = self._texts.get(no)
            self._values[step] = None if text is None else loads(text)
        return self._values[step]

    def get(self, step: str, default: Any = None) -> Any:
        return self[step] if step in self._facts.upstream else default

    def __contains__(self, step: object) -> bool:
        return step in self._facts.upstream

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts.upstream)

    def __len__(self) -> int:
        return len(self._facts.upstream)


def _not_an_ancestor_error(facts: StepProperties, step: str) -> PermanentError:
    before = list(facts.upstream)
    shown = ", ".join(before[:10]) + (", ..." if len(before) > 10 else "")
    known = f"whose ancestors are: {shown}" if before else "which has no ancestors"
    return PermanentError(
        f"step {step!r} is not an ancestor of step {facts.spec.name!r}, {known}",
        code="NOT_UPSTREAM",
    )


class StepLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the attempt's fields to each log record and keeps the records with the attempt.

    Args:
        logger: The logger that the records go to.
        facts: Fields of the attempt.
        attempt: The attempt.
    """

    def __init__(
        self, logger: logging.Logger, facts: Mapping[str, object], attempt: LiveAttempt
    ) -> None:
        super().__init__(logger, facts)
        self._attempt = attempt

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a record: see `logging.Logger.log`."""
        enabled = self.isEnabledFor(level)
        if not enabled and level < logging.INFO:
            return
        attempt, message = self._attempt, format_log_message(msg, args, kwargs.get("exc_info"))
        fields = kwargs.get("extra") or {}
        attempt.services.append_log(attempt, level, self.logger.name, message, fields)
        if enabled:
            own = attempt.get_log()
            own.emitting = True
            try:
                stacklevel = kwargs.pop("stacklevel", 1) + 1
                super().log(level, msg, *args, stacklevel=stacklevel, **kwargs)
            finally:
                own.emitting = False

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def require_same_instance_count(new: NewInstances, spawned: SpawnedStepNumbers) -> None:
    """Raise PermanentError if an earlier attempt spawned a different number of instances."""
    if spawned.instances != new.instances:
        raise PermanentError(
            f"an earlier attempt added {spawned.instances:,} instances in the call {new.key!r}, and"
            f" this one adds {new.instances:,}: give each call its own name, or record the items"
            " with `once`",
            code="SPAWN_CHANGED",
        )


def object_or_empty(value: Any) -> dict[str, Any]:
    """Return a decoded JSON object, or an empty one for any other value."""
    return value if isinstance(value, dict) else {}

"""The durable calls of one attempt: their names, and the records of earlier attempts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, get_args

from tasker.codec import UNSTORABLE, dumps, loads
from tasker.durable import (
    DurableCall,
    DurableCallConflict,
    DurableCallKind,
    NewDurableCall,
    TooManyDurableCalls,
)
from tasker.durations import Duration
from tasker.errors import (
    InvalidInput,
    ParkedForTask,
    ParkedForTime,
    PermanentError,
    TaskFailed,
    TooLarge,
)
from tasker.handlers.attempt import LiveAttempt
from tasker.limits import AWAITED, DURABLE_CALL_BYTES, DURABLE_CALL_NAME, DURABLE_CALLS, WAIT
from tasker.model import Claim, JsonText, Task, TaskStatus, WaitKind, parse_duration_argument
from tasker.typed_template import TypedTemplate
from tasker.waits import (
    TIMED_OUT,
    Arrival,
    AwaitedArrival,
    NewWait,
    ParkedForArrival,
    check_arrival_names,
    decode_arrival,
)

if TYPE_CHECKING:
    from tasker.client import Client, TaskOptions


class SleepEnd(TypedDict, total=False):
    """The end of a sleep, in one of two forms."""

    delay: float  #: seconds from its beginning
    until: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal to wait for."""

    name: str
    key: str | None = None
    """Key of a broadcast that also ends the wait. The broadcast must have the signal's name."""


OnTimeout: TypeAlias = Literal["fail", "continue"]
RetryOfChild: TypeAlias = Literal["never", "child"]


class DurableCalls:
    """Names and stores the durable calls of one attempt.

    The records of earlier attempts are read once, at the first call; a first attempt has none.

    Args:
        attempt: The attempt.
        step: The name of its step, for errors.
        namespace: The namespace of its task.
        max_attempts: How often `run_task` runs a failing child task.
    """

    def __init__(self, attempt: LiveAttempt, step: str, namespace: str, max_attempts: int) -> None:
        self._attempt = attempt
        self._max_attempts = max_attempts
        self._step = step
        self._namespace = namespace
        self._kinds: dict[str, DurableCallKind] = {}  #: of the calls of this attempt, by name
        self._counts: Counter[DurableCallKind] = Counter()
        self._records: dict[str, DurableCall] = {}
        self._size = 0
        self.loaded = attempt.claim.attempt == 1
        """Whether the records of earlier attempts are loaded; a first attempt has none."""

    def reserve_call_name(self, kind: DurableCallKind, name: str | None) -> str:
        """Return the name of a call, which no later call of this attempt can have.

        It is `name`, or by default the kind and number of the call in the order of calls.

        Raises:
            DurableCallConflict: This attempt already made a call with that name.
            InvalidInput: The name is empty or too long, or cannot be stored.
        """
        if name is None:
            self._counts[kind] += 1
            name = f"{kind}-{self._counts[kind]}"
        if not 0 < len(name) <= DURABLE_CALL_NAME:
            raise InvalidInput(
                f"a durable call's name must have 1 to {DURABLE_CALL_NAME} characters;"
                f" {name[:50]!r} has {len(name):,}"
            )
        if UNSTORABLE.search(name):
            raise InvalidInput(
                f"a durable call's name must not contain NUL or unpaired surrogates: {name[:50]!r}"
            )
        if (before := self._kinds.get(name)) is not None:
            raise DurableCallConflict(
                f"step {self._step!r} makes two durable calls with the name {name!r}"
                f" ({before} and {kind}): give each call its own name; in a loop, for example,"
                f' f"{name}-{{i}}"'
            )
        self._kinds[name] = kind
        return name

    async def load_records(self) -> None:
        """Read the records of earlier attempts."""
        calls = await self._attempt.services.load_durable_calls(self._attempt)
        if not self.loaded:  # concurrent calls of a handler read them at the same time
            self.loaded = True
            self._records = {call.name: call for call in calls}
            self._size = sum(len((call.value or "").encode()) for call in calls)

    def find_record(self, kind: DurableCallKind, name: str) -> DurableCall | None:
        """Return the record of a call, or None if no attempt has completed it.

        Call `load_records` first.

        Raises:
            DurableCallConflict: The record belongs to a call of another kind.
        """
        record = self._records.get(name)
        if record is not None and record.kind != kind:
            raise DurableCallConflict(
                f"step {self._step!r} recorded {name!r} as a call of `{record.kind}`, but now"
                f" calls `{kind}` with that name: the code has changed; restore the order of"
                " its calls, give them names, or delete the records with `retry --fresh`"
            )
        return record

    def build_sleep_end(self, delay: Duration | None, until: datetime | None) -> SleepEnd:
        """Return the end of a sleep. Raises InvalidInput."""
        if until is None and delay is not None:
            seconds = parse_duration_argument(delay, "delay").total_seconds()
            require_duration_within_limit(seconds, "delay")
            return {"delay": seconds}
        if until is None or delay is not None:
            raise InvalidInput("a sleep needs exactly one of `delay` and `until`")
        if until.tzinfo is None:
            raise InvalidInput(f"`until` must have a time zone: {until!r}", path="$.until")
        require_duration_within_limit(
            (until - self._attempt.services.clock.now()).total_seconds(), "until"
        )
        return {"until": until}

    def require_record_space(self) -> None:
        """Raise TooManyDurableCalls if the step has the maximum number of records."""
        if len(self._records) >= DURABLE_CALLS:
            raise TooManyDurableCalls(self._step)

    def serialize_value(self, name: str, value: Any) -> JsonText:
        """Return a call's value as JSON text, within the limits of a step.

        Raises:
            InvalidInput: The value has no JSON form.
            TooLarge: The step's records would exceed their limit.
            TooManyDurableCalls: The step has the maximum number of records.
        """
        text = dumps(value, what=f"the result of the durable call {name!r}")
        self.require_record_space()
        if (size := self._size + len(text.encode())) > DURABLE_CALL_BYTES:
            raise TooLarge(
                f"the durable call data of step {self._step!r}", size, DURABLE_CALL_BYTES
            )
        return text

    async def record_call(
        self, kind: DurableCallKind, name: str, text: JsonText, **timer: Unpack[SleepEnd]
    ) -> DurableCall:
        """Store a completed call, and return its record once it is durable.

        Args:
            kind: The kind of the call.
            name: Its name.
            text: Its value.
            timer: `delay` or `until` of a sleep.

        Raises:
            AttemptCancelled: The attempt no longer holds its step.
        """
        claim = self._attempt.claim
        call = NewDurableCall(*claim.attempt_key, name, kind, text, **timer)
        remaining = await self._attempt.services.record_durable_call(call)
        record = DurableCall(name, kind, text, remaining)
        self._records[name] = record
        self._size += len(text.encode())
        return record

    async def load_record(self, kind: DurableCallKind, name: str) -> DurableCall | None:
        """Read the records of earlier attempts if necessary, and return the record of a call, or
        None."""
        if not self.loaded:
            await self.load_records()
        return self.find_record(kind, name)

    async def sleep(
        self, delay: Duration | None, until: datetime | None, call_name: str | None
    ) -> None:
        """Start a sleep, or return if it is over: see `AsyncContext.sleep`."""
        timer = self.build_sleep_end(delay, until)
        name = self.reserve_call_name(DurableCallKind.SLEEP, call_name)
        record = await self.load_record(DurableCallKind.SLEEP, name)
        if record is None:
            text = self.serialize_value(name, None)
            record = await self.record_call(DurableCallKind.SLEEP, name, text, **timer)
        if record.remaining > 0:
            raise ParkedForTime(record.remaining)

    async def wait_for_arrival(self, wait: NewWait, on_timeout: OnTimeout) -> Arrival:
        """Return the arrival that ended a wait.

        Raises:
            ParkedForArrival: Nothing has arrived yet.
            PermanentError: The wait timed out, and `on_timeout` is "fail".
        """
        record = await self.load_record(wait.kind, wait.call)
        if record is None:
            self.require_record_space()
            wait = self.add_last_broadcast_numbers(wait)
            record = await self._attempt.services.receive_arrival(self._attempt, wait)
            if record is None:
                raise ParkedForArrival(wait)
            self.add_record(record)
        arrival = decode_arrival(record.value or TIMED_OUT)
        if arrival.timed_out and on_timeout == "fail":
            names = " or ".join(dict.fromkeys(awaited.name for awaited in wait.awaited))
            raise PermanentError(f"signal {names} did not arrive in time", code="wait_timeout")
        return arrival

    async def run_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any,
        call_name: str | None,
        retry: RetryOfChild,
        options: "TaskOptions",
        *,
        detached: bool,
    ) -> Any:
        """Run a child task: see `AsyncContext.run_task`."""
        name = self.reserve_call_name(DurableCallKind.RUN_TASK, call_name)
        record = await self.load_record(DurableCallKind.RUN_TASK, name)
        if record is None:
            self.require_record_space()
            claim, client = self._attempt.claim, self._attempt.services.client(self._attempt)
            key = child_idempotency_key(claim, name)
            given: TaskOptions = {"idempotency_key": key, "attached": not detached, **options}
            task = await client.create_task(template, context, **given)
            if not task.has_ended:
                raise ParkedForTask(task.id)
            if task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED):
                await self._retry_child_or_fail(client, task, name, retry)
            record = await self.record_call(
                DurableCallKind.RUN_TASK, name, self.serialize_value(name, task.result)
            )
        value = decode_recorded_value(record)
        return template.convert_result(value) if isinstance(template, TypedTemplate) else value

    async def _retry_child_or_fail(
        self, client: "Client", task: Task, name: str, retry: RetryOfChild
    ) -> None:
        """Retry a failed child and park until it ends, or raise PermanentError."""
        if retry == "child" and task.status is TaskStatus.ERROR:
            for number in range(1, self._max_attempts):
                again = f"{name} retry {number}"
                if self.find_record(DurableCallKind.RUN_TASK, again) is None:
                    await client.retry(task.id, reason="retried by the step that waits for it")
                    await self.record_call(
                        DurableCallKind.RUN_TASK, again, self.serialize_value(again, task.id)
                    )
                    raise ParkedForTask(task.id)
        failure = TaskFailed(task)
        raise PermanentError(str(failure), code=failure.code, details=failure.details)

    def build_wait(
        self,
        kind: DurableCallKind,
        call_name: str | None,
        signals: Sequence[Signal],
        timeout: Duration | None,
        on_timeout: OnTimeout,
    ) -> NewWait:
        """Name a wait and return it without the numbers of earlier broadcasts.

        Raises:
            DurableCallConflict: This attempt already made a call with that name.
            InvalidInput: An argument is invalid.
            TooLarge: The name or the key of a signal is too long.
        """
        if on_timeout not in get_args(OnTimeout):
            raise InvalidInput(
                f"on_timeout must be fail or continue, not {on_timeout!r:.50}",
                path="$.on_timeout",
            )
        if not 0 < len(signals) <= AWAITED:
            raise InvalidInput(f"a wait needs 1 to {AWAITED} signals, not {len(signals)}")
        seconds = None
        if timeout is not None:
            seconds = parse_duration_argument(timeout, "timeout").total_seconds()
            require_duration_within_limit(seconds, "timeout")
        awaited = []
        for signal in signals:
            check_arrival_names(name=signal.name, key=signal.key)
            awaited.append(AwaitedArrival(WaitKind.SIGNAL, signal.name))
            if signal.key is not None:
                awaited.append(
                    AwaitedArrival(WaitKind.BROADCAST, signal.name, signal.key, self._namespace)
                )
        return NewWait(self.reserve_call_name(kind, call_name), kind, tuple(awaited), seconds)

    def add_last_broadcast_numbers(self, wait: NewWait) -> NewWait:
        """Return a wait with the number of the last broadcast that the step has received."""
        if all(awaited.kind is not WaitKind.BROADCAST for awaited in wait.awaited):
            return wait
        received = [
            decode_arrival(record.value)
            for record in self._records.values()
            if record.kind in (DurableCallKind.WAIT_SIGNAL, DurableCallKind.WAIT_ANY)
            and record.value is not None
        ]

        def last_broadcast_number(awaited: AwaitedArrival) -> int:
            same = (each for each in received if (each.name, each.key) == awaited[1:3])
            return max((each.number for each in same), default=0)

        return wait._replace(
            awaited=tuple(
                awaited._replace(after=last_broadcast_number(awaited)) for awaited in wait.awaited
            )
        )

    def add_record(self, record: DurableCall) -> None:
        """Add a record that the store created."""
        self._records[record.name] = record
        self._size += len((record.value or "").encode())


def require_duration_within_limit(seconds: float, name: str) -> None:
    """Raise InvalidInput if a wait is longer than ten years."""
    if seconds > WAIT:
        raise InvalidInput(
            f"{name} must be at most ten years{' from now' if name == 'until' else ''}",
            path=f"$.{name}",
        )


def decode_recorded_value(record: DurableCall) -> Any:
    """Return the value of a record."""
    return None if record.value is None else loads(record.value)


def child_idempotency_key(claim: Claim, call: str) -> str:
    """Return the idempotency key of the task that a durable call of a step creates."""
    return f"{claim.task_id}:{claim.no}:{call}"

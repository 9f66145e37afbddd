"""The values that all modules share: templates, tasks, steps, claims and outcomes.

Uses only the standard library. Values are frozen. Values that the hot path creates once per step
are named tuples, which cost a quarter as much as frozen dataclasses.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NewType, TypeAlias, TypeVar

from tasker.durations import Duration, parse_duration
from tasker.errors import InvalidInput

if TYPE_CHECKING:
    Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
    """Any JSON value."""
else:
    Json = Any  # pydantic and similar libraries recurse endlessly into a recursive alias

JsonObject: TypeAlias = Mapping[str, Json]
T = TypeVar("T")

JsonText = NewType("JsonText", str)
"""A JSON value as text, the form in which stores keep contexts, results and errors."""

TaskId = NewType("TaskId", str)
"""A version 7 UUID in its canonical text form; ids sort by creation time."""

TemplateId = NewType("TemplateId", int)
WorkerId = NewType("WorkerId", int)
QueueId = NewType("QueueId", int)
NO_QUEUE = QueueId(0)  #: all queues have greater ids

PRIORITIES = 5  #: priorities of tasks: 0 to 4 (most urgent)
DEFAULT_PRIORITY = 2

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=")

TASK_NODE = 0
"""Number that represents the task itself in a step's list of children; steps are numbered from
1."""


# ------------------------------------------------------------------ templates


class Backoff(StrEnum):
    """How the delay before the next attempt grows with the number of failed attempts."""

    NONE = "none"
    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    FIBONACCI = "fibonacci"


BackoffName: TypeAlias = Literal["none", "fixed", "linear", "exponential", "fibonacci"]
"""The strings that `Retry(backoff=)` accepts in place of a `Backoff`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The retry policy of a step: the number of attempts, and the delays between them."""

    retryable: bool
    """Whether a failed step is retried; if not, the first failure is final."""

    max_attempts: int
    """Maximum number of attempts, including the first, >= 1."""

    backoff: Backoff
    initial_delay: timedelta
    max_delay: timedelta
    """Maximum delay; a delay requested by a handler may be longer."""

    jitter: float
    """Random variation of the delay, as a fraction of the delay (0 to 1)."""

    retry_on: tuple[str, ...]
    """Class names and codes of permanent errors that are retried nevertheless."""

    give_up_on: tuple[str, ...]
    """Class names and codes of retryable errors that are not retried."""

    @property
    def attempt_limit(self) -> int:
        """The maximum number of attempts: 1 if failed attempts are not retried."""
        return max(1, self.max_attempts) if self.retryable else 1

    def __init__(
        self,
        *,
        retryable: bool = True,
        max_attempts: int = 3,
        backoff: Backoff | BackoffName = Backoff.EXPONENTIAL,
        initial_delay: Duration = timedelta(seconds=1),
        max_delay: Duration = timedelta(seconds=60),
        jitter: float = 0.1,
        retry_on: Iterable[str | type[BaseException]] = (),
        give_up_on: Iterable[str | type[BaseException]] = (),
    ) -> None:
        """Convert the arguments; the template that uses the policy checks their bounds.

        Args:
            retryable: Whether failed attempts are retried; if False, the first failure is final.
            max_attempts: Maximum number of attempts, including the first, >= 1.
            backoff: Growth of the delay: none, fixed, linear, exponential or fibonacci.
            initial_delay: The delay before the second attempt: seconds, a timedelta or `"5m"`.
            max_delay: Maximum delay; a delay requested by a handler may be longer.
            jitter: Fraction by which the delay is randomly varied, in [0, 1].
            retry_on: Errors that are retried although they are permanent: exception classes, their
                names, or codes. `max_attempts` applies.
            give_up_on: Errors that are final although they could be retried. If an error is in
                both lists, its code takes precedence over its class, and its class over its base
                classes; otherwise it is final.

        Raises:
            InvalidInput: `backoff` or a delay is invalid; `path` names it.
        """
        for name, value in (
            ("retryable", retryable),
            ("max_attempts", max_attempts),
            ("backoff", _parse_backoff(backoff)),
            ("initial_delay", parse_duration_argument(initial_delay, "initial_delay")),
            ("max_delay", parse_duration_argument(max_delay, "max_delay")),
            ("jitter", jitter),
            ("retry_on", tuple(map(_normalize_error_name, retry_on))),
            ("give_up_on", tuple(map(_normalize_error_name, give_up_on))),
        ):
            object.__setattr__(self, name, value)


def _normalize_error_name(error: str | type[BaseException]) -> str:
    """Return the name by which a policy refers to an error: a code or a class name."""
    if isinstance(error, str):
        return error
    if error.__module__ == "builtins":
        return error.__name__
    return f"{error.__module__}.{error.__qualname__}".replace("<locals>.", "")


def parse_duration_argument(value: Duration, name: str) -> timedelta:
    """Return the argument `name` as a timedelta. Raises InvalidInput."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise _invalid_argument_error(name, str(error)) from None


def _parse_backoff(value: Backoff | BackoffName) -> Backoff:
    try:
        return Backoff(value)
    except ValueError:
        words = ", ".join(word.value for word in Backoff)
        raise _invalid_argument_error("backoff", f"must be one of {words}, not {value!r}") from None


def _invalid_argument_error(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"{name} {message}", path=f"$.{name}")


class WorkerRequirement(NamedTuple):
    """Requirements of a step on workers, in addition to the handler.

    Stores use its string form as part of a queue's identity: "" for no requirement, otherwise a
    version or range and labels, separated by spaces: `^2.1 gpu=true zone=eu`.
    """

    version: str = ""
    """Version, or range of versions, that the handler's code must have; "" means any."""

    labels: tuple[tuple[str, str], ...] = ()
    """Labels that the worker must have, sorted by name."""

    def __str__(self) -> str:
        labels = (f"{name}={value}" for name, value in self.labels)
        return " ".join((*([self.version] if self.version else []), *labels))

    @classmethod
    def parse(cls, text: str) -> "WorkerRequirement":
        """Parse the result of `str`."""
        words = text.split()
        version = words.pop(0) if words and not _LABEL.match(words[0]) else ""
        pairs = (word.partition("=") for word in words)
        return cls(version, tuple((name, value) for name, _, value in pairs))


HTTP_HANDLER = "tasker.http"
"""Name of the built-in handler of `http:` steps."""

NO_HTTP_WORKER = "http steps run only on workers with the option --http (setting `worker.http`)"

StatusRange: TypeAlias = tuple[int, int]
"""An inclusive range of HTTP statuses: its first and its last status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStatusClassification:
    """Effects of HTTP statuses that differ from the defaults.

    By default, 200 to 299 are successes; 408, 425, 429 and 500 to 599 are retryable errors; all
    others are permanent errors.
    """

    success: tuple[StatusRange, ...] = ()
    retryable: tuple[StatusRange, ...] = ()
    permanent: tuple[StatusRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """The HTTP request of a step without a handler; `{input.x}` and `{results.step.x}` are
    replaced in its URL, headers and body.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    """The body: a string is sent unchanged, and any other value as JSON. None means no body."""

    timeout: timedelta = timedelta(seconds=30)
    """Time limit of the whole call, including redirects."""

    classify: HttpStatusClassification = HttpStatusClassification()


class EventCondition(StrEnum):
    """The outcomes of an attempt for which a step publishes an event."""

    SUCCESS = "success"
    FAILURE = "failure"  #: of any attempt, even if another follows
    RETRYABLE_FAILURE = "retryable_failure"  #: of an attempt that another follows
    PERMANENT_FAILURE = "permanent_failure"  #: of the last attempt
    ALWAYS = "always"

    def is_met_by(self, outcome: "OutcomeCode") -> bool:
        """Return whether an attempt with this outcome publishes the event."""
        return outcome in _OUTCOMES_OF_CONDITIONS[self]


class TaskEndEvent(StrEnum):
    """Events for the end of a task, which its template may publish."""

    COMPLETED = "tasker.task.completed"
    FAILED = "tasker.task.failed"
    CANCELLED = "tasker.task.cancelled"
    RESOLVED = "tasker.task.resolved"  #: an operator resolved the failed task


TaskEventName: TypeAlias = Literal[
    "tasker.task.completed", "tasker.task.failed", "tasker.task.cancelled", "tasker.task.resolved"
]

EventConditionName: TypeAlias = Literal[
    "success", "failure", "retryable_failure", "permanent_failure", "always"
]
"""The strings that `EventSpec(on=)` accepts in place of an `EventCondition`."""


@dataclass(frozen=True, slots=True)
class EventSpec:
    """A domain event that a step publishes with the outcome of its attempts."""

    name: str
    on: EventCondition
    payload: str | Mapping[str, str]
    schema: JsonObject | None
    description: str

    def __init__(
        self,
        name: str,
        on: EventCondition | EventConditionName = EventCondition.SUCCESS,
        payload: str | Mapping[str, str] = "",
        *,
        schema: JsonObject | None = None,
        description: str = "",
    ) -> None:
        """Convert the arguments; the template that uses the event checks them.

        Args:
            name: The event's name, such as "payment.charged".
            on: The outcomes that publish it: success, failure, retryable_failure,
                permanent_failure or always.
            payload: An expression over `result`, `error` and `input`, or a mapping of keys to
                expressions; "": the result, or the error of a failure.
            schema: JSON Schema that the payload must match, otherwise the step fails; None: any
                payload.
            description: For people.

        Raises:
            InvalidInput: `on` is invalid.
        """
        try:
            condition = EventCondition(on)
        except ValueError:
            words = ", ".join(word.value for word in EventCondition)
            raise _invalid_argument_error("on", f"must be one of {words}, not {on!r}") from None
        for field_name, value in (
            ("name", name),
            ("on", condition),
            ("payload", payload),
            ("schema", schema),
            ("description", description),
        ):
            object.__setattr__(self, field_name, value)


_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|min|h|d)", re.ASCII)
_RATE_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


RATE_EXAMPLES = 'a rate such as "100/s", "5/m", "1000/h" or "10/d"'


class Rate(NamedTuple):
    """A number of steps per unit of time; its string form is `100/s`, `5/m`, `1000/h` or `10/d`."""

    steps: float
    unit: str = "s"  #: s, m, h or d

    def __str__(self) -> str:
        return f"{self.steps:.12g}/{self.unit}"

    @property
    def per_second(self) -> float:
        """Steps per second."""
        return self.steps / _RATE_UNITS[self.unit]

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Parse the result of `str`. Raises ValueError with what is allowed."""
        match = _RATE.fullmatch(text.strip())
        if match is None or not 0 < float(match[1]) <= GREATEST_RATE:
            raise ValueError(f"must be {RATE_EXAMPLES}, not {text!r:.100}")
        return cls(float(match[1]), match[2][0])


class LimitKey(NamedTuple):
    """The key of a limit: steps with the same key share the limit."""

    namespace: str  #: '' for keys that all namespaces share
    key: str

    def __str__(self) -> str:
        return self.key

    @classmethod
    def for_map_step(cls, task_id: TaskId, node: int) -> "LimitKey":
        """Return the limit key of one map of a task; no user-defined key can equal it."""
        return cls("", f"map:{task_id}:{node}")

    @property
    def map_task_id(self) -> TaskId | None:
        """The task whose map this limit belongs to, or None if it is a limit of the user."""
        prefix, _, rest = self.key.partition(":")
        if self.namespace or prefix != "map":
            return None
        return TaskId(rest.partition(":")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitValues:
    """The bounds of a limit; None: no such bound."""

    concurrency: int | None = None
    """Maximum number of steps in progress; with 0, no step starts."""

    rate: Rate | None = None
    """Maximum average number of steps that start per unit of time."""

    burst: int | None = None
    """With a `rate`: maximum number of steps that start at once after a period without starts. None
    means the number that the rate allows in a second, at least one."""

    @property
    def burst_tokens(self) -> int | None:
        """The maximum number of steps that `rate` lets start at once; None without a rate."""
        if self.rate is None:
            return None
        return self.burst or max(1, int(self.rate.per_second))

    def to_json(self) -> dict[str, "Json"]:
        """Return the bounds as a JSON object, without those that are None."""
        bounds = {
            "concurrency": self.concurrency,
            "rate": str(self.rate) if self.rate else None,
            "burst": self.burst,
        }
        return {name: value for name, value in bounds.items() if value is not None}

    def overridden_by(self, other: "LimitValues") -> "LimitValues":
        """Return these values, overridden by those values of `other` that are not None."""
        return LimitValues(
            concurrency=self.concurrency if other.concurrency is None else other.concurrency,
            rate=other.rate or self.rate,
            burst=other.burst or (self.burst if other.rate is None else None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(LimitValues):
    """A limit on steps, as a template declares it."""

    key: str
    """The limit key, in which `{input.customer_id}` is replaced by an input of the task."""

    def __init__(
        self,
        key: str,
        *,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
    ) -> None:
        """Convert the arguments; the template that uses the limit checks their bounds.

        Args:
            key: Steps with the same key share the limit. `{input.customer_id}` is replaced by an
                input of the task.
            concurrency: Maximum number of steps in progress; None: as set by operators, otherwise
                any number.
            rate: Maximum number of steps that start per unit of time, on average, such as
                "100/s", "5/m", "1000/h" or "10/d"; None: as for `concurrency`.
            burst: Maximum number of steps that start at once after a pause; needs a `rate`. None:
                as many as start in a second, at least one.

        Raises:
            InvalidInput: `rate` is invalid.
        """
        try:
            parsed = Rate.parse(rate) if isinstance(rate, str) else rate
        except ValueError as error:
            raise _invalid_argument_error("rate", str(error)) from None
        for name, value in (
            ("key", key),
            ("concurrency", concurrency),
            ("rate", parsed),
            ("burst", burst),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSetting:
    """A limit that an operator set for a key, or for all keys that match a pattern."""

    pattern: str
    """A key, or a pattern in which `*` stands for any text."""

    values: LimitValues
    updated_by: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInfo:
    """The limit of one key and the steps under it."""

    namespace: str
    """The namespace of the key; '' for a key that all namespaces share."""

    key: str
    values: LimitValues
    """The bounds that apply."""

    set_by: str | None
    """The key or pattern whose setting applies; None if the template's values apply."""

    running: int
    """Steps in progress."""

    waiting: int
    """Number of due steps that wait for the limit, counted up to 10,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Runs a body once for each element of a list."""

    over: str
    """Expression for the list, such as `results.list_files.files`."""

    item: str = "item"
    """The name by which the body reads its element (`as` in templates)."""

    max_concurrency: int | None = None
    """Maximum number of instances in progress at once; None means no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Runs a body for consecutive ranges of numbers: its instances get half-open cursors."""

    total: str
    """Expression, such as `results.count.rows`, for the total: the number at which the last range
    ends."""

    size: int
    """Number of items in a range; `max_instances` may increase it."""

    max_instances: int | None = None
    """Maximum number of ranges; if `size` would result in more, the ranges become larger. None
    means that only the general limit applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Repeats a body until a condition holds."""

    until: str
    """Expression that ends the loop, evaluated after each iteration."""

    every: timedelta = timedelta(0)
    """Time from the end of an iteration to the start of the next one."""

    max: int
    """Maximum number of iterations; if the condition is still false after the last one, the step
    fails."""


Spawning: TypeAlias = Map | Batch | Repeat


class CollectMode(StrEnum):
    """The result of a step with instances."""

    LIST = "list"  #: the list of their results
    NONE = "none"  #: counts only: `{"count": 3, "succeeded": 3, "failed": 0}`


class InstanceFailurePolicy(StrEnum):
    """The effect of a failed instance on its step."""

    FAIL = "fail"  #: the other instances still run, then the task fails
    CONTINUE = "continue"  #: the step succeeds, unless there are too many failures
    FAIL_FAST = "fail_fast"  #: instances that have not started are cancelled, and the task fails


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFailureHandling:
    """How a step handles failures of its instances."""

    policy: InstanceFailurePolicy = InstanceFailurePolicy.FAIL
    max_failures: int | None = None
    """With `continue`: maximum number of instances that may fail before the step fails; None means
    any number."""

    max_failed_percent: float | None = None
    """With `continue`: maximum percentage of instances, from 0 to 100, that may fail before the
    step fails."""


class StepType(StrEnum):
    """Whether the result of a step decides which of its children run.

    Types that only Tasker Core has, such as `batchable`, are translated when a template is read.
    """

    STANDARD = "standard"
    DECISION = "decision"  #: its result names the children that run; the others are skipped


class TriggerRule(StrEnum):
    """The outcomes of its parents with which a step runs; with other outcomes, it is skipped.

    A failed step with `allow_failure` counts as a success for a rule that needs successes, and as a
    failure for a rule that needs failures. A failure that a rule does not accept leaves the step
    pending.
    """

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_SKIPPED = "all_skipped"
    ALL_DONE = "all_done"  #: whatever the outcomes
    ONE_SUCCESS = "one_success"  #: as soon as one parent succeeded
    ONE_FAILED = "one_failed"  #: as soon as one parent failed
    ONE_DONE = "one_done"  #: as soon as one parent succeeded or failed
    NONE_FAILED = "none_failed"  #: all parents succeeded or were skipped
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"  #: all parents succeeded or failed
    ALWAYS = "always"  #: without waiting for its parents


EAGER_TRIGGERS = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE})
"""Trigger rules that let a step run before all of its parents have ended."""

FAILURE_TRIGGERS = frozenset(
    {
        TriggerRule.ALL_FAILED,
        TriggerRule.ALL_DONE,
        TriggerRule.ONE_SUCCESS,
        TriggerRule.ONE_FAILED,
        TriggerRule.ONE_DONE,
        TriggerRule.NONE_SKIPPED,
        TriggerRule.ALL_SKIPPED,
    }
)
"""Trigger rules that take a parent's failure into account. Under all other rules except `ALWAYS`, a
failed parent leaves the step pending."""


ENGINE = "tasker.engine"  #: handler of the steps that the engine runs itself


class TimeoutAction(StrEnum):
    """The effect of a timeout on a waiting step."""

    FAIL = "fail"  #: it ends in error, with the code `wait_timeout`
    SKIP = "skip"
    CONTINUE = "continue"  #: it completes with the result null


class AwaitedSignal(NamedTuple):
    """A signal that ends the wait of a step."""

    name: str
    key: str | None = None
    """Expression for the key of a broadcast that also ends the wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitSpec:
    """The wait of a step without a handler: for a time, or for signals."""

    delay: timedelta | None = None
    until: str | None = None
    """Expression for the end of the wait, an ISO 8601 time with a time zone."""

    signals: tuple[AwaitedSignal, ...] = ()
    any_of: bool = False
    """Whether the result contains the name of the signal that arrived, in addition to its payload.
    """

    timeout: timedelta | None = None
    """Time limit of a wait for signals; None means no limit."""

    on_timeout: TimeoutAction = TimeoutAction.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSpec:
    """The question that a step without a handler asks a person."""

    form: JsonObject | None = None
    """JSON Schema of the decision; None means the default form, a boolean `approved` and a
    `comment`."""

    assignees: tuple[str, ...] = ()
    """The people who may decide, as `user:NAME` and `role:NAME` with placeholders; if empty,
    everyone with the permission `approvals:decide` may decide."""

    timeout: timedelta | None = None
    on_timeout: TimeoutAction = TimeoutAction.FAIL
    escalate_after: timedelta | None = None
    """Time until the assignees in `escalate_to` may also decide."""

    escalate_to: tuple[str, ...] = ()
    reject_when: str | None = None
    """Condition over `form` under which the step fails. None means `not form.approved` for the
    default form, and no condition for other forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSpec:
    """How a step waits, after its handler has returned, for another system to complete it."""

    timeout: timedelta | None
    on_timeout: TimeoutAction

    def __init__(
        self,
        *,
        timeout: Duration | None = None,
        on_timeout: TimeoutAction | Literal["fail", "continue"] = TimeoutAction.FAIL,
    ) -> None:
        """Convert the arguments; the template that uses the object checks their bounds.

        Args:
            timeout: Maximum wait after the handler has returned: seconds, a timedelta or `"1h"`;
                None: no limit.
            on_timeout: "fail" ends the step in error with the code `wait_timeout`, "continue"
                completes it with the result None.

        Raises:
            InvalidInput: `timeout` is invalid.
        """
        limit = None if timeout is None else parse_duration_argument(timeout, "timeout")
        object.__setattr__(self, "timeout", limit)
        object.__setattr__(self, "on_timeout", TimeoutAction(on_timeout))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTaskSpec:
    """The task that a step without a handler runs; the task's result becomes the step's result."""

    template: str
    """As `TaskRequest.template`."""

    context: JsonObject = field(default_factory=dict)
    """Inputs of the task; strings may contain placeholders."""

    detached: bool = False
    """Whether the task continues if the step's own task is cancelled."""

    retry_child: bool = False
    """Whether the task's failed steps are retried each time the step is retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensateSpec:
    """How a completed step is undone."""

    callable: str
    """Name of the handler; each `::` is replaced by `.`."""

    method: str | None = None
    """The method to call if the handler is a class; None means `call`."""

    version: str = ""
    """Version, or range of versions, that the handler's code must have; "" means the same as for
    the step."""

    retry: Retry = Retry()
    timeout: timedelta | None = None
    """Time limit of one attempt; None means the worker's `attempt_timeout`."""


class UnsuccessfulEnd(StrEnum):
    """How a task can end without success."""

    ERROR = "error"  #: a step failed permanently, or the deadline passed
    CANCELLED = "cancelled"


UnsuccessfulEndName: TypeAlias = Literal["error", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """When the completed steps of a task are undone, and how."""

    on: tuple[UnsuccessfulEnd, ...]
    keep_going: bool
    """Whether compensation continues with earlier steps if a step cannot be undone."""

    hold: timedelta
    """Time between the failure or cancellation and the first compensating step, during which the
    task can still be retried."""

    def __init__(
        self,
        *,
        on: Iterable[UnsuccessfulEnd | UnsuccessfulEndName] = (
            UnsuccessfulEnd.ERROR,
            UnsuccessfulEnd.CANCELLED,
        ),
        keep_going: bool = True,
        hold: Duration = timedelta(0),
    ) -> None:
        """Convert the arguments.

        Args:
            on: The ends of a task after which its completed steps are undone.
            keep_going: Whether compensation continues with earlier steps after a step could not be
                undone.
            hold: Time until the first compensating step: seconds, a timedelta or `"15m"`.

        Raises:
            InvalidInput: `hold` is invalid.
        """
        object.__setattr__(self, "on", tuple(map(UnsuccessfulEnd, on)))
        object.__setattr__(self, "keep_going", keep_going)
        object.__setattr__(self, "hold", parse_duration_argument(hold, "hold"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One node of a template's graph."""

    name: str
    description: str = ""
    callable: str | None = None
    """Name of the handler, in which each `::` is replaced by `.`; None means the step's name."""

    method: str | None = None
    """The method to call if the handler is a class; None means `call`."""

    handler_version: str = ""
    """Version, or range of versions, that the handler's code must have; "" means any."""

    config: JsonObject = field(default_factory=dict)
    """Configuration of the handler (`handler.initialization`, `handler_config`)."""

    dependencies: tuple[str, ...] = ()
    type: StepType = StepType.STANDARD
    trigger: TriggerRule = TriggerRule.ALL_SUCCESS
    when: str | None = None
    """Condition over `input` and `results`; if it is false, the step is skipped."""

    allow_failure: bool = False
    """Whether the step's children run and the task continues if the step fails permanently."""

    retry: Retry = Retry()
    timeout: timedelta | None = None
    """Time limit of one attempt; None means the worker's `attempt_timeout`."""

    queue_timeout: timedelta | None = None
    """Time within which a worker must claim the step after it is due; None means no limit."""

    heartbeat_timeout: timedelta | None = None
    """Maximum time between two heartbeats of an attempt; None means that heartbeats are not
    required."""

    requires: Mapping[str, str] = field(default_factory=dict)
    """Labels that a worker must have to run the step, such as {"gpu": "true"}."""

    result_schema: JsonObject | None = None
    events: tuple[EventSpec, ...] = ()
    """Domain events that the step's attempts publish."""

    dependent_system: str | None = None
    http: HttpCall | None = None
    """The request that the step sends instead of running a handler."""
    wait: WaitSpec | None = None
    """What the step waits for instead of running a handler."""

    task: ChildTaskSpec | None = None
    """The task that the step runs instead of a handler."""

    external: ExternalSpec | None = None
    """How the step waits for another system after its handler has returned, or None if it does not
    wait."""

    approval: ApprovalSpec | None = None
    """The question that the step asks a person instead of running a handler."""

    compensate: CompensateSpec | None = None
    """How to undo the completed step if its task fails or is cancelled, or None if the step is not
    undone."""

    limits: tuple[Limit, ...] | None = None
    """The step's limits, at most two; None means the template's limits."""

    spawning: Spawning | None = None
    """How the step creates instances at run time, or None if it has no instances."""

    steps: tuple["StepSpec", ...] = ()
    """The steps of each instance's body; if empty, the step's own handler is the body."""

    collect: CollectMode = CollectMode.LIST
    reduce: str | None = None
    """Name of the handler that computes the step's result from its instances' results; None means
    that `collect` determines the result."""

    on_failure: InstanceFailureHandling = InstanceFailureHandling()

    @property
    def handler(self) -> str:
        """The name under which this step's handler is looked up."""
        if self.http is not None:
            return HTTP_HANDLER
        if self.wait is not None or self.task is not None or self.approval is not None:
            return ENGINE
        return self.callable or self.name

    @property
    def requirement(self) -> WorkerRequirement:
        """The step's requirements on workers, in addition to the handler."""
        return WorkerRequirement(self.handler_version, tuple(sorted(self.requires.items())))


def flatten_steps(steps: Iterable[StepSpec]) -> Iterator[StepSpec]:
    """Yield steps, each followed by the steps of its body."""
    for spec in steps:
        yield spec
        yield from flatten_steps(spec.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOverride:
    """One environment's overrides of a step; None keeps the step's own value."""

    config: JsonObject | None = None  #: merged into the step's own, key by key
    retry: Retry | None = None
    timeout: timedelta | None = None


NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
NAMESPACE_RULE = "use letters, digits and _, not starting with a digit (at most 63 characters)"


class TemplateName(NamedTuple):
    """The full name of a template version: (namespace, name, version)."""

    namespace: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}@{self.version}"


class SettlementDurability(StrEnum):
    """Whether a settlement that ends no task waits until it is durable."""

    FULL = "full"  #: waits, so a stored outcome is never lost
    RELAXED = "relaxed"
    """PostgreSQL does not wait for the disk: if the database server crashes, the latest settlements
    may be lost, and their steps run again."""


class OverlapPolicy(StrEnum):
    """What a schedule does at a tick while the task of its previous tick is still open."""

    SKIP = "skip"  #: creates no task
    BUFFER_ONE = "buffer_one"  #: delays one tick until that task has ended, and skips further ticks
    BUFFER_ALL = "buffer_all"  #: delays all ticks, and starts them one after another
    CANCEL_RUNNING = "cancel_running"  #: cancels that task
    ALLOW = "allow"  #: creates a task anyway


OverlapName: TypeAlias = Literal["skip", "buffer_one", "buffer_all", "cancel_running", "allow"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When tasks of a template are created, and how."""

    name: str
    cron: str
    """A cron expression with five fields, in the local time of `timezone`; "" if `every` is
    given."""

    every: timedelta | None
    """The time between two ticks; None if `cron` is given."""

    anchor: datetime
    """The time of one tick; the times of the others differ from it by multiples of `every`."""

    timezone: str
    """IANA name of the time zone of `cron` and of the times in `context`."""

    overlap: OverlapPolicy
    catch_up: timedelta
    """Maximum age of a tick that still gets a task; older ticks are recorded as missed."""

    jitter: timedelta
    """Maximum time by which a task's start is delayed. The delay depends only on the schedule and
    the tick."""

    priority: int | None
    """Priority of the tasks; None means the template's priority."""

    context: JsonObject
    """The tasks' inputs; `{tick.start}`, `{tick.end}` and `{tick.date}` in strings are replaced by
    the tick's times."""

    def __init__(
        self,
        *,
        name: str,
        cron: str = "",
        every: Duration | None = None,
        anchor: datetime = EPOCH,
        timezone: str = "UTC",
        overlap: OverlapPolicy | OverlapName = OverlapPolicy.SKIP,
        catch_up: Duration = timedelta(hours=6),
        jitter: Duration = timedelta(0),
        priority: int | None = None,
        context: JsonObject | None = None,
    ) -> None:
        """Convert the arguments; the code that uses the schedule checks their bounds.

        Args:
            name: Letters, digits, `_`, `-` and `.`.
            cron: A cron expression with five fields, such as "30 2 * * *"; either this or `every`.
            every: The time between two ticks: seconds, a timedelta or `"15m"`.
            anchor: A tick of an interval, with its time zone.
            timezone: IANA name of a time zone, such as "Europe/Berlin".
            overlap: What happens at a tick while the task of the previous tick is open: skip,
                buffer_one, buffer_all, cancel_running or allow.
            catch_up: How late a tick may be handled, for example after an outage of all workers.
            jitter: Maximum time by which a task's start is delayed.
            priority: Priority of the tasks, 0 to 4; None: the template's.
            context: The tasks' inputs; None: no inputs.

        Raises:
            InvalidInput: `overlap` or a duration is invalid; `path` names it.
        """
        for field_name, value in (
            ("name", name),
            ("cron", " ".join(cron.split())),
            ("every", None if every is None else parse_duration_argument(every, "every")),
            ("anchor", anchor),
            ("timezone", timezone),
            ("overlap", _parse_overlap_policy(overlap)),
            ("catch_up", parse_duration_argument(catch_up, "catch_up")),
            ("jitter", parse_duration_argument(jitter, "jitter")),
            ("priority", priority),
            ("context", {} if context is None else context),
        ):
            object.__setattr__(self, field_name, value)


def _parse_overlap_policy(value: OverlapPolicy | OverlapName) -> OverlapPolicy:
    try:
        return OverlapPolicy(value)
    except ValueError:
        words = ", ".join(word.value for word in OverlapPolicy)
        raise _invalid_argument_error("overlap", f"must be one of {words}, not {value!r}") from None


class AtCapacityAction(StrEnum):
    """What happens to a new task while the allowed number of tasks with its key is open."""

    WAIT = "wait"  #: it is created paused, and starts when other tasks have ended, oldest first
    REJECT = "reject"  #: it is not created
    CANCEL_OLDEST = "cancel_oldest"


AtCapacityActionName: TypeAlias = Literal["wait", "reject", "cancel_oldest"]


@dataclass(frozen=True, slots=True)
class TaskConcurrency:
    """A bound on the open tasks that share a key."""

    key: str
    """Text with placeholders such as `customer:{input.customer_id}`."""

    tasks: int
    """The most open tasks."""

    when_full: AtCapacityAction

    def __init__(
        self,
        key: str,
        *,
        tasks: int,
        when_full: AtCapacityAction | AtCapacityActionName = AtCapacityAction.WAIT,
    ) -> None:
        """Convert the arguments; the template checks their bounds."""
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "when_full", AtCapacityAction(when_full))


class OpenTaskBound(NamedTuple):
    """The bound on open tasks that applies to a new task."""

    key: LimitKey
    tasks: int
    when_full: AtCapacityAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An immutable, versioned graph of step specs."""

    namespace: str
    name: str
    version: str
    description: str = ""
    steps: tuple[StepSpec, ...]
    input_schema: JsonObject | None = None
    deadline: timedelta | None = None
    """Time limit of a task from creation to end; None means no limit."""

    title: str = ""
    """Title of the template's tasks, in which `{input.order_id}` is replaced by an input of the
    task."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    """Searchable attributes of the template's tasks: a mapping of names to paths such as
    `input.order_id`."""

    sensitive: tuple[str, ...] = ()
    """Paths of data that is masked wherever it is shown, such as `input.card.number` or
    `results.signup.token`."""

    retention: timedelta | None = None
    """How long ended tasks are kept; None means that the workers' setting `retention` applies."""

    priority: int = DEFAULT_PRIORITY
    """Priority, from 0 to 4, of tasks that are created without a priority of their own and without
    a parent task."""

    durability: SettlementDurability = SettlementDurability.FULL

    schedules: tuple[Schedule, ...] = ()
    """Schedules that create tasks of the template while this is its latest version."""

    limits: tuple[Limit, ...] = ()
    """Limits of the steps that declare no limits of their own, at most two."""

    concurrency: TaskConcurrency | None = None
    """Maximum number of open tasks that share a key; None means any number."""

    events: tuple[TaskEndEvent, ...] = ()
    """Events that the template's tasks publish when they end."""

    compensation: Compensation = Compensation()
    """When steps with `compensate` are undone."""

    environments: Mapping[str, Mapping[str, StepOverride]] = field(default_factory=dict)
    """Overrides by environment and step name."""

    metadata: JsonObject = field(default_factory=dict)

    @property
    def key(self) -> TemplateName:
        """Full name of the version: namespace, name and version."""
        return TemplateName(self.namespace, self.name, self.version)

    @property
    def full_name(self) -> str:
        """`namespace.name@version`."""
        return str(self.key)

    def step(self, name: str) -> StepSpec:
        """Return the spec of a step that is not part of a body. Raises KeyError."""
        for spec in self.steps:
            if spec.name == name:
                return spec
        raise KeyError(name)

    def limits_of_step(self, spec: StepSpec) -> tuple[Limit, ...]:
        """Return the limits that apply to a step."""
        return self.limits if spec.limits is None else spec.limits

    def for_environment(self, environment: str | None) -> "Template":
        """Return the template with the overrides of `environment`, or unchanged if it has none."""
        overrides = self.environments.get(environment or "", {})
        if not overrides:
            return self
        return replace(
            self,
            steps=_apply_overrides(self.steps, overrides),
        )


def _apply_overrides(
    steps: Sequence[StepSpec], overrides: Mapping[str, StepOverride]
) -> tuple[StepSpec, ...]:
    return tuple(_apply_override(spec, overrides) for spec in steps)


def _apply_override(spec: StepSpec, overrides: Mapping[str, StepOverride]) -> StepSpec:
    override = overrides.get(spec.name)
    if spec.steps:
        spec = replace(spec, steps=_apply_overrides(spec.steps, overrides))
    if override is None:
        return spec
    return replace(
        spec,
        config={**spec.config, **(override.config or {})},
        retry=override.retry or spec.retry,
        timeout=override.timeout or spec.timeout,
    )


class TemplateStatus(StrEnum):
    """Status of a template version. It decides whether the version accepts new tasks; existing
    tasks always continue.
    """

    APPROVED = "approved"  #: the only status that accepts new tasks
    PENDING_REVIEW = "pending_review"  #: waiting for an approver of its namespace
    REJECTED = "rejected"  #: rejected by an approver; can be registered again with changes
    RETIRED = "retired"  #: was approved; can be restored


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTemplate:
    """A template as a store holds it."""

    id: TemplateId
    template: Template
    registered_by: str
    registered_at: datetime
    status: TemplateStatus = TemplateStatus.APPROVED


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateVersion:
    """Status and review of a template version; `Store.template_by_id` returns its content."""

    id: TemplateId
    namespace: str
    name: str
    version: str
    full_name: str = field(init=False, default="")
    """`namespace.name@version`."""

    status: TemplateStatus
    """The version's status: `approved` (accepts tasks), `pending_review`, `rejected` or `retired`.
    """

    registered_by: str
    registered_at: datetime
    decided_by: str | None = None
    """The person who last approved, rejected, retired or restored the version, if anyone did."""

    decided_at: datetime | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "full_name", str(self.key))

    @property
    def key(self) -> TemplateName:
        """Full name of the version: namespace, name and version."""
        return TemplateName(self.namespace, self.name, self.version)


# --------------------------------------------------------------------- states


class StepStatus(StrEnum):
    """The statuses of a step: those that stores keep, and finally one that only clients show."""

    PENDING = "pending"  #: waiting for its dependencies
    ENQUEUED = "enqueued"  #: can be claimed from its `run_at` on
    IN_PROGRESS = "in_progress"  #: leased to a worker
    WAITING = "waiting"  #: parked; occupies no worker
    COMPLETE = "complete"
    ERROR = "error"  #: failed permanently, unless an operator acts
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RESOLVED_MANUALLY = "resolved_manually"
    WAITING_FOR_RETRY = "waiting_for_retry"  #: shown for an enqueued step whose attempt failed


class TaskStatus(StrEnum):
    """The displayed statuses of a task; an open task is `pending` or `in_progress`."""

    PENDING = "pending"  #: open, no step claimed yet
    IN_PROGRESS = "in_progress"  #: open
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"
    RESOLVED_MANUALLY = "resolved_manually"


class StatusCode(IntEnum):
    """The numbers by which both stores represent states of steps and tasks."""

    PENDING = 0
    OPEN = 0  #: of a task only
    ENQUEUED = 1
    IN_PROGRESS = 2
    WAITING = 3
    COMPLETE = 4
    ERROR = 5
    CANCELLED = 6
    SKIPPED = 7
    RESOLVED_MANUALLY = 8


STEP_STATUSES: tuple[StepStatus, ...] = tuple(StepStatus)[: len(StatusCode)]
"""Step state by its `StatusCode`."""

STEP_DONE = frozenset({StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY, StepStatus.SKIPPED})
STEP_ENDED = STEP_DONE | {StepStatus.ERROR, StepStatus.CANCELLED}
TASK_ENDED = frozenset(
    {TaskStatus.COMPLETE, TaskStatus.ERROR, TaskStatus.CANCELLED, TaskStatus.RESOLVED_MANUALLY}
)


def task_status_from_code(code: int, *, started: bool) -> TaskStatus:
    """Return a task's status from its stored code."""
    if code == StatusCode.PENDING:
        return TaskStatus.IN_PROGRESS if started else TaskStatus.PENDING
    return TaskStatus(STEP_STATUSES[code].value)


# ---------------------------------------------------------------------- tasks


class CompensationStatus(StrEnum):
    """Progress of the compensation of a failed or cancelled task."""

    RUNNING = "running"  #: the task ends when it has ended
    COMPLETE = "complete"  #: all that was to be undone is
    INCOMPLETE = "incomplete"  #: a compensating step failed permanently or did not run


class IdempotencyKeyLifetime(StrEnum):
    """How long an idempotency key belongs to its task."""

    ALWAYS = "always"  #: until the task is pruned
    OPEN = "open"  #: until the task ends


class ExistingTaskAction(StrEnum):
    """What happens if another task already has the idempotency key of a new task."""

    RETURN = "return"  #: returns the existing task, unless its template or context differs
    REJECT = "reject"  #: raises `TaskExists`
    REPLACE = "replace"  #: cancels the existing task if it is open, and takes over its key


IdempotencyKeyLifetimeName: TypeAlias = Literal["always", "open"]
ExistingTaskActionName: TypeAlias = Literal["return", "reject", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task to create, with an already validated context."""

    id: TaskId
    template_id: TemplateId
    context: JsonText
    correlation_id: str
    idempotency_key: str | None = None
    unique_while: IdempotencyKeyLifetime = IdempotencyKeyLifetime.ALWAYS
    if_exists: ExistingTaskAction = ExistingTaskAction.RETURN
    parent_id: TaskId | None = None
    attached: bool = False  #: cancelled with its parent
    created_by: str = ""
    reason: str = ""
    tags: tuple[str, ...] = ()
    title: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)  #: searchable attributes
    trace: str | None = None  #: W3C traceparent of the creating request
    run_at: datetime | None = None  #: earliest start of its steps; None: immediately
    deadline: timedelta | None = None  #: time limit from creation to end
    priority: int = DEFAULT_PRIORITY
    """Priority from 0 to 4. With each additional level, steps are claimed as if they had been due a
    minute earlier."""

    limits: Mapping[int, tuple[tuple[LimitKey, LimitValues], ...]] = field(default_factory=dict)
    """The one or two limits of each step, by step number; the limit that more steps share comes
    first."""

    place: OpenTaskBound | None = None  #: bound on open tasks that applies to it
    gates: Sequence[tuple[int, int, int]] = ()
    """For each step with limits: its number, its outer gate (or 0) and its gate. Stores set this
    field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """Number of steps of a task in each state. `enqueued` excludes `waiting_for_retry`.

    Covers the first 10,000 steps of a task, or the first 1,000 in lists of tasks.
    """

    pending: int = 0
    enqueued: int = 0
    waiting_for_retry: int = 0
    """Number of steps that are enqueued after a failed attempt, with a `run_at` in the future."""

    no_worker: int = field(default=0, compare=False)
    """Number of enqueued steps that no live worker can run."""

    in_progress: int = 0
    waiting: int = 0
    complete: int = 0
    error: int = 0
    cancelled: int = 0
    skipped: int = 0
    resolved_manually: int = 0
    uncounted: int = 0
    """Number of steps that were not counted by status; approximate while further steps are being
    created."""

    @property
    def total(self) -> int:
        """The number of steps in any state."""
        return (
            self.pending
            + self.enqueued
            + self.waiting_for_retry
            + self.in_progress
            + self.waiting
            + self.complete
            + self.error
            + self.cancelled
            + self.skipped
            + self.resolved_manually
            + self.uncounted
        )

    @property
    def done(self) -> int:
        """The number of steps that are done, so their children can use their results."""
        return self.complete + self.skipped + self.resolved_manually


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailure:
    """The first permanently failed step of a task, and its error."""

    step: str
    type: str
    """Name of the exception's class."""

    message: str
    code: str | None
    """Set by the handler."""

    @classmethod
    def from_error(cls, step: str, error: JsonObject) -> "TaskFailure":
        """Return the failure that a stored error describes."""
        code = error.get("code")
        return cls(
            step=step,
            type=str(error.get("type", "")),
            message=str(error.get("message", "")),
            code=None if code is None else str(code),
        )


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """A task without its data: context, result and errors."""

    id: TaskId
    """A UUID; ids sort by creation time."""

    namespace: str
    name: str
    """The template's name."""

    version: str
    full_name: str = field(init=False, repr=False, default="")
    """`namespace.name@version`."""

    status: TaskStatus
    correlation_id: str
    parent_id: TaskId | None
    """The task whose step created this one."""

    schedule_id: int | None = None
    """The schedule that created the task."""

    scheduled_for: datetime | None = None
    """The schedule's tick for which the task was created."""

    idempotency_key: str | None
    created_by: str
    reason: str
    tags: tuple[str, ...]
    title: str | None = None
    """The title, computed from the template's `title` and the task's inputs."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    """Searchable attributes, which the template declares."""

    priority: int = DEFAULT_PRIORITY
    """Priority from 0 to 4 (most urgent)."""

    created_at: datetime
    updated_at: datetime
    """Time of the last change of the task or one of its steps."""

    etag: str | None = field(default=None, compare=False)
    """A string that changes whenever the task or one of its steps changes; pass it to an action as
    `if_match`. None if the task was just created."""

    ended_at: datetime | None
    deadline: datetime | None
    """The deadline: if the task has not ended by this time, it ends as `error`."""

    compensation: CompensationStatus | None = None
    """Status of the task's compensation, or None if the task is not compensated."""

    counts: StepCounts
    pauses: tuple["Pause", ...] = ()
    """The pauses of the task, its template and its namespace; empty if the task is not paused."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "full_name", f"{self.namespace}.{self.name}@{self.version}")

    @property
    def template(self) -> TemplateName:
        """The full name of its template version."""
        return TemplateName(self.namespace, self.name, self.version)

    @property
    def has_ended(self) -> bool:
        """Whether the task is complete, failed, cancelled or resolved manually."""
        return self.status in TASK_ENDED


@dataclass(frozen=True, kw_only=True)
class Task(TaskSummary):
    """One execution of a template."""

    context: Mapping[str, Any]
    """Inputs of the task."""

    result: Any = None
    """The result of the sink (the step without children) or, if there are several sinks, their
    results by name. None until the task is complete, and in lists."""

    error: JsonObject | None
    """The reason why the task ended as `error`, with the names of the failed steps; otherwise
    None."""

    failure: TaskFailure | None = None
    """The first step that failed permanently and its error; None in lists."""

    created: bool = True
    """Whether the task was created; False if the idempotency key matched an existing task."""

    def result_as(self, type: type[T]) -> T:  # noqa: A002 - it is the result's type
        """Return the result as a pydantic model, dataclass, typed dict or any other type.

        Raises:
            pydantic.ValidationError: The result does not have that type, for example because the
                task is not complete.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(type).validate_python(self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """The step that best describes the state of a task: one that failed permanently, otherwise one
    that waits for a retry, runs, is parked or is ready."""

    step: str
    status: StepStatus
    attempts: int
    run_at: datetime | None
    """Time at which the step's next attempt is due."""

    type: str | None
    """Class name of the last error."""

    code: str | None
    """Code of the last error, if the handler set one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDurations:
    """The time of a step or a task by phase, in seconds."""

    started_after: float | None
    """Seconds from the task's creation to the first claim of a step; None before the first
    claim."""

    queued: float
    """Time during which a step was due but no worker had claimed it."""

    ran: float
    """Time during which handlers ran."""

    backoff: float
    """Time between a failed attempt and the due time of the next one."""

    parked: float
    """Time during which a step waited without occupying a worker."""


class WaitKind(StrEnum):
    """The kinds of arrivals for a waiting step."""

    SIGNAL = "signal"  #: sent to its task
    BROADCAST = "broadcast"  #: sent to all steps that wait for a name and a key
    APPROVAL = "approval"  #: the decision of a person
    EXTERNAL = "external"  #: the completion of the step by another system


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWait:
    """Something that a waiting step waits for."""

    kind: WaitKind
    name: str
    key: str | None = None
    """Key of the broadcast; None if the wait is not for a broadcast."""

    approval: str | None = None
    """Id of the approval whose decision the step waits for."""

    assignees: tuple[str, ...] = ()
    """The people who may decide the approval, as `user:NAME` and `role:NAME`. If empty, everyone
    with the permission `approvals:decide` may decide."""


@dataclass(frozen=True, kw_only=True)
class StepSummary:
    """A step without its data: result, checkpoint and error.

    Stores return steps without the data that comes from their template or depends on the time:
    clients add handler, dependencies, `max_attempts`, `ready`, `waiting_for_retry` and `times`.
    """

    task_id: TaskId
    no: int
    """Number of the step in the task, starting at 1 in the template's order. Steps that are created
    at run time have higher numbers."""

    name: str
    """The step's name, such as `convert`.

    The name of an instance includes its number: `convert[17]`, `customer[3].line[0].bill`.
    """

    template_node: int = field(default=0, compare=False)
    """Number of the step's spec; specs are numbered in the template's order."""

    spawned_by: int | None = field(default=None, compare=False)
    """For a step created at run time: the number of the spawner that created its instance."""

    instance: int | None = field(default=None, compare=False)
    """Number of the instance that the step belongs to, starting at 0; None for a step of the
    template."""

    undoes: int | None = field(default=None, compare=False)
    """Number of the step that this compensating step undoes; 0 for the step that plans the
    compensation, None for all other steps."""

    handler: str = ""
    status: StepStatus
    ready: bool = False
    """Whether a worker may claim the step now."""

    no_worker: bool = field(default=False, compare=False)
    """Whether the step is due but no live worker can run it, because none has the step's handler in
    its namespace and meets the step's requirement."""

    no_worker_reason: str | None = field(default=None, compare=False)
    """What the live workers lack to run the step: the handler, its version, a label, or the binding
    to the namespace. None unless `no_worker` is true."""

    limit_reason: str | None = field(default=None, compare=False)
    """The limit that the step waits for, such as "customer:acme has 5 of 5 steps running; steps
    ahead: 812", or None. It is set only for the first 20 steps of a task that wait for a limit."""

    pause: "Pause | None" = None
    """The pause that stops the step: a pause of its namespace, its handler's queue, its task or its
    template."""

    dependencies: tuple[str, ...] = ()
    pending_parents: int
    """Number of dependencies that are not done yet."""

    skip_reason: str | None = None
    """The reason why the step was skipped, such as its condition, or the parents or the decision
    that kept its trigger rule from being satisfied."""

    waits_for: TaskId | None = None
    """While the step is `waiting`: the task that it waits for."""

    waits: tuple["StepWait", ...] = ()
    """While the step is `waiting`: the signals, the broadcasts, the approval or the external
    completion that it waits for. The first arrival ends the wait."""

    waits_until: datetime | None = None
    """While the step is `waiting`: the end of its sleep or the timeout of its wait; None means no
    limit."""

    attempts: int
    """Number of attempts; 0 before the first one."""

    counted_attempts: int = 0
    """Number of attempts that count towards `max_attempts`: attempts since the last reset that were
    not parked, released or lost."""

    lost_attempts: int = 0
    """Number of attempts that were lost with their worker since the last reset or wait of the
    step."""

    max_attempts: int = 0
    enqueued_at: datetime | None = None
    """Time at which the step was last enqueued: when its dependencies were done, its wait ended, or
    an operator acted. For a running attempt, the time at which the attempt was due."""

    run_at: datetime | None
    """Time before which the step cannot be claimed, because of a delay or a retry."""

    claimed_at: datetime | None
    settled_at: datetime | None
    worker: str | None


@dataclass(frozen=True, kw_only=True)
class StepOverview(StepSummary):
    """A step without its result and checkpoint."""

    error: JsonObject | None
    """Type, message, code and details of the last attempt's error; None unless the last attempt
    failed."""

    times: PhaseDurations | None = field(default=None, compare=False)
    """Times by phase."""


@dataclass(frozen=True, kw_only=True)
class Step(StepOverview):
    """One node of one task."""

    result: Any
    checkpoint: Json

    def is_waiting_for_retry(self, now: datetime) -> bool:
        """Return whether an attempt failed and the next may start only after `now`."""
        return self._next_attempt_starts_after(now) and self.error is not None

    def is_sleeping(self, now: datetime) -> bool:
        """Return whether the last attempt ended with a sleep that lasts beyond `now`."""
        return self._next_attempt_starts_after(now) and self.error is None

    def _next_attempt_starts_after(self, now: datetime) -> bool:
        return (
            self.status in (StepStatus.ENQUEUED, StepStatus.WAITING_FOR_RETRY, StepStatus.WAITING)
            and self.attempts > 0
            and self.run_at is not None
            and self.run_at > now
        )


class AttemptOutcome(StrEnum):
    """Outcome of an attempt in the history."""

    COMPLETE = "complete"
    RETRY = "retry"  #: failed; another attempt follows
    ERROR = "error"  #: failed permanently
    LOST = "lost"  #: its worker's lease expired
    RELEASED = "released"  #: released unfinished at shutdown; does not count as an attempt
    CANCELLED = "cancelled"
    RESOLVED_MANUALLY = "resolved_manually"
    PARKED = "parked"  #: its step waits; does not count as an attempt
    SKIPPED = "skipped"  #: the step was not to run


class OutcomeCode(IntEnum):
    """The numbers by which both stores represent outcomes of attempts."""

    COMPLETE = 0
    RETRY = 1
    ERROR = 2
    LOST = 3
    RELEASED = 4
    CANCELLED = 5
    RESOLVED_MANUALLY = 6
    PARKED = 7
    SKIPPED = 8


_FAILURES_TO_RETRY = frozenset({OutcomeCode.RETRY, OutcomeCode.LOST})
_OUTCOMES_OF_CONDITIONS: Mapping[EventCondition, frozenset[OutcomeCode]] = {
    EventCondition.SUCCESS: frozenset({OutcomeCode.COMPLETE}),
    EventCondition.FAILURE: _FAILURES_TO_RETRY | {OutcomeCode.ERROR},
    EventCondition.RETRYABLE_FAILURE: _FAILURES_TO_RETRY,
    EventCondition.PERMANENT_FAILURE: frozenset({OutcomeCode.ERROR}),
    EventCondition.ALWAYS: _FAILURES_TO_RETRY | {OutcomeCode.COMPLETE, OutcomeCode.ERROR},
}

ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = tuple(AttemptOutcome)
"""Attempt outcome by its `OutcomeCode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One ended attempt of a step in the history."""

    task_id: TaskId
    no: int
    step: str
    attempt: int
    outcome: AttemptOutcome
    worker: str | None
    enqueued_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime
    error: JsonObject | None
    queued: float = field(init=False, default=0.0)
    """Seconds from the attempt's due time to its claim."""

    ran: float = field(init=False, default=0.0)
    """Seconds from the attempt's claim to its end."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "queued", _seconds_between(self.enqueued_at, self.claimed_at))
        object.__setattr__(self, "ran", _seconds_between(self.claimed_at, self.settled_at))


def _seconds_between(start: datetime | None, end: datetime | None) -> float:
    """Return the seconds between two times, at least 0; 0 if one is unknown."""
    return 0.0 if start is None or end is None else max((end - start).total_seconds(), 0.0)


class AccessChannel(StrEnum):
    """How an actor reached a store."""

    UI = "ui"  #: a person's session in the web UI
    API = "api"  #: the HTTP API
    CLI = "cli"  #: the command line, with a server or directly on the store
    MCP = "mcp"  #: an assistant


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of an operator."""

    task_id: TaskId
    step: str | None
    at: datetime
    actor: str
    action: str
    reason: str
    before: str
    after: str
    via: AccessChannel | None = None
    """The interface through which the actor reached the store; null for a program that opened the
    store directly."""

    bulk_id: str | None = None
    """Id of the bulk operation that the action was part of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealedStep:
    """The data of a step, unmasked."""

    no: int
    name: str
    result: Json
    checkpoint: Json
    error: JsonObject | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealedTask:
    """The data of a task, unmasked."""

    task_id: TaskId
    context: Mapping[str, Any]
    result: Json
    error: JsonObject | None
    steps: Sequence[RevealedStep]
    """All steps that have data, at most 1,000, or only the requested step."""


class PauseKind(StrEnum):
    """The kinds of things that can be paused."""

    NAMESPACE = "namespace"
    QUEUE = "queue"  #: the steps of one handler in a namespace
    TASK = "task"
    TEMPLATE = "template"  #: the tasks of all its versions


class PauseTarget(NamedTuple):
    """The target of a pause; see the constructors."""

    kind: PauseKind
    namespace: str  #: '' for a task
    name: str  #: the task's id, the template's name, or the handler; '' for a namespace

    @classmethod
    def of_task(cls, task_id: str) -> "PauseTarget":
        """Return the target for one task."""
        return cls(PauseKind.TASK, "", task_id)

    @classmethod
    def of_template(cls, namespace: str, name: str) -> "PauseTarget":
        """Return the target for all tasks of all versions of a template."""
        return cls(PauseKind.TEMPLATE, namespace, name)

    @classmethod
    def of_queue(cls, namespace: str, handler: str) -> "PauseTarget":
        """Return the target for all steps of a handler in a namespace."""
        return cls(PauseKind.QUEUE, namespace, handler)

    @classmethod
    def of_namespace(cls, namespace: str) -> "PauseTarget":
        """Return the target for all steps of a namespace."""
        return cls(PauseKind.NAMESPACE, namespace, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause: no step of its target starts until it is resumed; running attempts continue."""

    kind: PauseKind
    namespace: str
    name: str
    """What is paused: a task's id, a template's name, or the handler of a queue; '' if the whole
    namespace is paused."""

    paused_at: datetime
    paused_by: str
    reason: str


MOST_COUNTED = 10_000
"""Maximum number of tasks of one status that are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """Numbers of tasks by status."""

    by_status: dict[str, int]
    """Counts by status, each up to 10,000; the counts of open tasks cover only the newest 10,000
    open tasks."""

    exact: bool
    """Whether all tasks were counted; if not, there are more tasks than were counted."""

    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Filters of a task list, combined with AND; None means no filter."""

    namespace: str | None = None
    name: str | None = None
    version: str | None = None
    status: TaskStatus | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    schedule_id: int | None = None
    tag: str | None = None
    created_by: str | None = None
    idempotency_key: str | None = None
    failed_step: str | None = None  #: name of a permanently failed step
    error_code: str | None = None  #: the `code` of a failed step's error
    compensation: CompensationStatus | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attributes that a task must have."""

    created_after: datetime | None = None
    created_before: datetime | None = None
    visible: frozenset[str] | None = None
    """Namespaces that the caller may see; set by servers."""


GREATEST_RATE = 1_000_000  #: steps per unit of time of a limit
MAX_BULK = 1_000  #: templates that one request may register
LEAST_WEIGHT, GREATEST_WEIGHT = 0.01, 100.0  #: of a queue, relative to other queues


# -------------------------------------------------------------------- the hot path


_NO_TIME = timedelta(0)

AttemptKey: TypeAlias = tuple[TaskId, int, int]
"""Task id, step number and attempt number, which identify an attempt and which the fence
compares."""


class Claim(NamedTuple):
    """The right to run one attempt of one step.

    `attempt` is the fence: only the attempt that holds a step can settle it, so a worker whose
    lease has expired cannot overwrite another's outcome. The number is never reused.
    `counted_attempts` is the number that `Retry.max_attempts` limits: attempts since the last
    reset that were not parked, released or lost.
    """

    task_id: TaskId
    no: int
    attempt: int
    counted_attempts: int
    checkpoint: JsonText | None = None
    queued: float = 0.0  #: seconds from its due time to the claim
    parked: float | None = None
    """Seconds from the end of the previous attempt, if it was parked, to the due time."""

    gated: bool = False  #: whether its step is under limits

    @property
    def attempt_key(self) -> AttemptKey:
        return self[:3]

    @property
    def queued_and_parked_durations(self) -> tuple[timedelta, timedelta]:
        """Return the times for which the attempt was queued and, before that, parked."""
        return (
            timedelta(seconds=self.queued) if self.queued else _NO_TIME,
            timedelta(seconds=self.parked) if self.parked else _NO_TIME,
        )


class Outcome(NamedTuple):
    """The outcome of an attempt to settle; see the constructors below."""

    task_id: TaskId
    no: int
    attempt: int
    outcome: OutcomeCode
    result: JsonText | None
    error: JsonText | None
    delay: float  #: seconds until the next attempt, if there is one
    choice: tuple[int, ...] | None = None
    """Numbers of the children that a decision chose; None means all children."""

    to_handler: bool = False
    """Whether a released step moves from the engine queue to its handler's queue."""

    @property
    def attempt_key(self) -> AttemptKey:
        return self[:3]


def completed_outcome(claim: Claim, result: JsonText) -> Outcome:
    """Return the outcome of an attempt that returned `result`."""
    return Outcome(claim.task_id, claim.no, claim.attempt, OutcomeCode.COMPLETE, result, None, 0.0)


def retry_outcome(claim: Claim, error: JsonText, delay: timedelta) -> Outcome:
    """Return the outcome of a failed attempt; the next may start after `delay`."""
    return Outcome(
        claim.task_id,
        claim.no,
        claim.attempt,
        OutcomeCode.RETRY,
        None,
        error,
        delay.total_seconds(),
    )


def failed_outcome(claim: Claim, error: JsonText) -> Outcome:
    """Return the outcome of an attempt whose failure is the failure of its step."""
    return Outcome(claim.task_id, claim.no, claim.attempt, OutcomeCode.ERROR, None, error, 0.0)


def lost_outcome(claim: Claim, error: JsonText, delay: timedelta) -> Outcome:
    """Return the outcome of an attempt whose lease expired; the next may start after `delay`."""
    return Outcome(
        claim.task_id, claim.no, claim.attempt, OutcomeCode.LOST, None, error, delay.total_seconds()
    )


def sleep_outcome(claim: Claim, delay: float) -> Outcome:
    """Return the outcome of an attempt whose step sleeps for `delay` seconds."""
    return Outcome(claim.task_id, claim.no, claim.attempt, OutcomeCode.PARKED, None, None, delay)


def skipped_outcome(claim: Claim, reason: JsonText) -> Outcome:
    """Return the outcome of an attempt whose step must not run."""
    return Outcome(claim.task_id, claim.no, claim.attempt, OutcomeCode.SKIPPED, None, reason, 0.0)


def requeued_for_handler_outcome(claim: Claim) -> Outcome:
    """Return the outcome of an attempt by the engine after which the step waits for its handler."""
    return released_outcome(claim)._replace(to_handler=True)


def released_outcome(claim: Claim) -> Outcome:
    """Return the outcome of an unfinished attempt, which another worker may start immediately."""
    return Outcome(claim.task_id, claim.no, claim.attempt, OutcomeCode.RELEASED, None, None, 0.0)


class NewEvent(NamedTuple):
    """A domain event, stored with its outcome if the outcome is accepted."""

    outcome: int  #: index of its outcome in the settlement
    template_id: TemplateId
    step: str
    correlation_id: str
    name: str
    payload: JsonText
    duration: float | None  #: seconds that the attempt ran; None: unknown


class TaskEnd(NamedTuple):
    """A task that ended in the current store call."""

    task_id: TaskId
    status: TaskStatus


class Settlement(NamedTuple):
    """One worker's outcomes to settle: see `Store.settle`."""

    worker: WorkerId
    outcomes: Sequence[Outcome]
    claim_up_to: int = 0
    events: Sequence[NewEvent] = ()
    gated: bool = False


class SettleResult(NamedTuple):
    """The result of `Store.settle`."""

    rejected: Sequence[int]  #: indexes of late outcomes
    claims: Sequence[Claim]  #: freed steps, claimed for the caller
    ended: Sequence[TaskEnd]


class FailUnclaimedResult(NamedTuple):
    """The result of `Store.fail_unclaimed_steps`."""

    steps: Sequence[tuple[TaskId, str]]  #: task and name of each step that failed
    ended: Sequence[TaskEnd]


class ClaimResult(NamedTuple):
    """The result of `Store.claim`."""

    claims: Sequence[Claim]
    next_due: float | None  #: seconds until the next step is due; None: none is scheduled


class GroupClaimResult(NamedTuple):
    """The result of `Store.claim_for_workers`."""

    claims: Mapping[WorkerId, Sequence[Claim]]  #: of the workers that got any
    next_due: float | None  #: seconds until the next step is due; None: none is scheduled


class RenewedLease(NamedTuple):
    """A lease that `Store.renew_leases` extended."""

    revoked: Sequence[Claim]  #: of the worker's claims, those that it has lost
    quiet: bool  #: whether the worker must not claim more steps


class CreateTasksResult(NamedTuple):
    """The result of `Store.create_tasks`."""

    tasks: Sequence[tuple[TaskId, bool]]  #: in request order: the id, and whether the task is new
    claims: Sequence[Claim]  #: roots, claimed for the caller
    at: datetime | None = None  #: `created_at` of the new tasks; None without tasks


class TaskInput(NamedTuple):
    """The context of a task and the other fields that its steps need."""

    task_id: TaskId
    template_id: TemplateId
    context: JsonText
    correlation_id: str
    parent_id: TaskId | None
    trace: str | None
    priority: int = DEFAULT_PRIORITY


class StepResult(NamedTuple):
    """The result of one step that is done, has failed or was skipped."""

    task_id: TaskId
    no: int
    result: JsonText | None
    state: int = StatusCode.COMPLETE  #: a `StatusCode`
    error: JsonText | None = None  #: of a failed step; of a skipped one, the reason


MOST_WORKER_ATTEMPTS = 200  #: of a worker in one response
MOST_SPAWNED = 1_000  #: steps that one call of `Store.spawn_instances` inserts


class NewInstances(NamedTuple):
    """Consecutive instances of a body that a step's attempt inserts."""

    key: str
    """Key that identifies a spawn of the step. All calls of one spawn have the same key."""

    join_no: int
    """Number of the join, which waits for all instances. The spawning step is a parent of the join
    or belongs to an instance that the join already waits for."""

    spawner: int
    """Number, in the task, of the spawner of the instances."""

    body: int
    """The number of the spawner's node in the template, which is the `scope` of the body's nodes.
    """

    instances: int
    """The total number of instances that the spawn creates."""

    begin: int
    """The number of the first instance in this call, counted from 0."""

    items: Sequence[JsonText | None]
    """The input of each instance."""

    delay: float = 0.0
    """Seconds until the first steps of the instances may start."""


class SpawnedStepNumbers(NamedTuple):
    """The numbers that the first of a spawn's steps and instances got."""

    first_no: int
    """The number of the first instance's first step; the steps of an instance have consecutive
    numbers."""

    first_instance: int
    """The number of the first instance among the join's instances, counted from 0."""

    instances: int


class StoredSpawn(NamedTuple):
    """One spawn of a task as it is stored."""

    task_id: TaskId
    join_no: int
    first_instance: int
    instances: int
    first_no: int
    size: int  #: steps of one instance
    no: int  #: the step that spawned it
    key: str

    def contains_instance(self, instance: int) -> bool:
        """Return whether an instance of the join, counted from 0, is one of these."""
        return 0 <= instance - self.first_instance < self.instances

    def first_step_number(self, instance: int) -> int:
        """Return the number of the first step of an instance."""
        return self.first_no + (instance - self.first_instance) * self.size


class RuntimeStep(NamedTuple):
    """A step that was created at run time."""

    task_id: TaskId
    no: int
    template_node: int  #: its number in the template
    spawned_by: int | None  #: the spawner that created it; None: it undoes a single step
    instance: int | None  #: which instance of that body, from 0
    item: JsonText | None
    undoes: int | None = None  #: the step that it undoes


class CompensationCandidate(NamedTuple):
    """A step whose template declares a compensation for it, or a step that spawned such steps."""

    no: int
    node: int  #: its number in the template
    spawned_by: int | None
    instance: int | None


class CompensatingStep(NamedTuple):
    """A step that undoes another one."""

    place: int  #: among the compensating steps of its task, from 0
    node: int  #: its number in the template
    undoes: int
    pending_parents: int
    children: tuple[int, ...]  #: places of the steps that wait for it; all before its own


class ExpiredAttempt(NamedTuple):
    """An attempt whose worker's lease expired, with the step's retry policy."""

    claim: Claim
    template_id: TemplateId
    worker: str
    lost_attempts: int  #: earlier ones of its step
    node: int  #: the template's node that its step is


class Queue(NamedTuple):
    """The queue of steps with the same namespace, handler and requirement.

    A worker that serves it claims from all of `ids`.
    """

    base: QueueId
    """The id for priority 0; the ids for the other priorities follow it."""

    namespace: str
    handler: str
    requirement: str = ""
    """What a worker must provide in addition to the handler; '' if there is no requirement."""

    gated: bool = False
    """Whether the queue's steps are subject to limits and are therefore claimed separately."""

    @property
    def ids(self) -> list[QueueId]:
        """The ids of the queue, one for each priority."""
        return [QueueId(self.base + priority) for priority in range(PRIORITIES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRegistration:
    """Properties of a worker process at registration."""

    host: str = ""
    pid: int = 0
    pid_started: int = 0
    """Start time of the process by its machine's clock, which distinguishes it from other processes
    with the same id."""

    machine: str = ""
    """Identifier of the machine or container within which processes see each other's process ids;
    "" if unknown."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the worker, which satisfy requirements of queues."""

    build: str = ""  #: version of its code
    sdk: str = ""  #: name and version of its client library
    principal: str = ""  #: principal of a remote worker


class RemoteWorker(NamedTuple):
    """A worker that is connected through a server."""

    id: WorkerId
    slots: int
    principal: str
    registration: JsonText
    """What the worker registered."""

    quiet: bool
    """Whether the worker must stop claiming steps."""

    alive: bool
    """Whether the worker's lease is valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker process, as registered in the store."""

    id: WorkerId
    name: str
    started_at: datetime
    lease_until: datetime
    alive: bool
    running: int
    slots: int
    handlers: tuple[str, ...]
    process: WorkerRegistration


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStep:
    """A step that a worker runs."""

    task_id: TaskId
    namespace: str
    name: str
    version: str
    step: str
    attempt: int
    claimed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerAttempt:
    """An attempt of a worker that ended."""

    task_id: TaskId
    namespace: str
    name: str
    version: str
    step: str
    attempt: int
    outcome: AttemptOutcome
    claimed_at: datetime | None
    settled_at: datetime
    error: str | None
    """The code of the attempt's error or, if it has none, the type; None if the attempt has no
    error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedQueue:
    """A queue that a worker serves."""

    namespace: str
    handler: str
    requirement: str
    """What the queue's steps require of a worker in addition to the handler: a version of the
    handler's code, labels, or both; "" if nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDetail:
    """A worker, the steps that it runs, and the queues that it serves."""

    worker: WorkerInfo
    steps: Sequence[RunningStep]
    """Up to 200 steps that the worker runs, most recently claimed first."""

    queues: Sequence[ServedQueue]


class UnservedQueue(NamedTuple):
    """A queue with due steps that no live worker serves."""

    queue: Queue
    seconds: float  #: how long its next step has been due
    reason: str  #: what live workers lack


class WorkerOnSameMachine(NamedTuple):
    """A worker with a valid lease whose process runs, or ran, on the same machine."""

    id: WorkerId
    name: str
    pid: int
    pid_started: int


class SchemaStatus(NamedTuple):
    """The version of a database's schema."""

    current: int  #: number of the last migration applied, 0 for an empty database
    wanted: int  #: number of the last migration this release knows
    known: bool = True  #: False: it was made by migrations that this release does not have

    @property
    def is_ready(self) -> bool:
        return self.known and self.current == self.wanted

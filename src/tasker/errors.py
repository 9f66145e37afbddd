"""The exceptions of Tasker.

TaskerError                       `code` is stable and part of the API
├── Misuse                        the calling code or its input is wrong; retrying cannot help
│   ├── InvalidTemplate           a template's text: file, line, column
│   ├── InvalidPolicy             a namespace policy's text: file, line, column
│   ├── InvalidInput              a context, result or argument: JSON path
│   │   └── InvalidExpression     an expression of a template, or its values
│   ├── InvalidSettings
│   ├── HandlerNotFound
│   ├── HandlerImportError
│   └── TooLarge
├── Rejected                      the stored state does not allow it; read it and decide
│   ├── NotFound
│   ├── TaskRegistrationError     the version exists with different content
│   ├── IdempotencyConflict       the key was used with different content
│   ├── TaskExists                another task has the key, and the caller requires a new one
│   ├── WebhookExists             the namespace has a webhook or subscriber of that name
│   ├── TaskChanged               the task has changed since the caller read it
│   ├── WrongStatus
│   │   └── ChildrenAlreadyRan    a failed step whose children have run without it
│   ├── CompensationStarted       a task whose completed steps are being undone
│   ├── TooManyOpenTasks          the maximum number of tasks with its key is open
│   ├── TemplateNotApproved       the template version accepts no new tasks
│   ├── HttpHostNotAllowed        a template calls a host that the namespace's policy does not list
│   ├── NotAnApprover             the actor may not review the template version
│   ├── Unauthenticated           the caller is not authenticated
│   └── Forbidden                 the caller lacks the permission
├── StoreError
│   ├── StoreUnavailable          try again later
│   ├── LeaseLost                 this worker's lease expired
│   └── SchemaMismatch            run `tasker db upgrade`
├── AttemptCancelled              this attempt must stop: timeout, task cancelled, or lease lost
├── TaskFailed                    an awaited task failed or was cancelled
└── WaitTimeout                   an awaited task did not end in time

StepError                         raised by handlers to control the outcome of their step
├── PermanentError
└── RetryableError
StepParked                        ends an attempt whose step waits
├── ParkedForTask                 for the end of another task
└── ParkedForTime                 for a time
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tasker.durations import human_duration, parse_retry_after
from tasker.plurals import format_count

if TYPE_CHECKING:
    from tasker.model import JsonObject, Task, TaskId


class TaskerError(Exception):
    """Base class of Tasker's exceptions."""

    code = "tasker_error"
    members: ClassVar[Mapping[str, str]] = {}
    """Additional members of the error's problem details, mapped to the attributes that contain
    their values."""


# --------------------------------------------------------------------- misuse


class Misuse(TaskerError):
    """The calling code or its input is wrong."""

    code = "misuse"


class WaitCycle(Misuse):
    """A step would wait for a task that in turn waits for the step's task.

    Args:
        task_id: The step's task.
        waits_for: The task that it would wait for.
        link: The task that waits for the step's task: `waits_for` itself, or one that it waits for.
    """

    code = "wait_cycle"

    def __init__(self, task_id: str, waits_for: str, link: str) -> None:
        super().__init__(task_id, waits_for, link)
        self.task_id, self.waits_for, self.link = task_id, waits_for, link

    def __str__(self) -> str:
        if self.task_id == self.waits_for:
            return f"a step of task {self.task_id} cannot wait for its own task to end"
        through = "" if self.link == self.waits_for else f" waits for task {self.link}, which"
        return (
            f"a step of task {self.task_id} cannot wait for task {self.waits_for}:"
            f" that task{through} waits for task {self.task_id}"
        )


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """One problem in the text of a template or policy."""

    message: str
    path: str = ""  #: path in the document, such as `steps[2].retry.max_attempts`
    file: str = ""
    line: int | None = None  #: from 1
    column: int | None = None  #: from 1

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        at = f" (at {self.path})" if self.path else ""
        return f"{where}: {self.message}{at}" if where else f"{self.message}{at}"


class InvalidTemplate(Misuse):
    """A template is invalid; `problems` lists all problems."""

    code = "invalid_template"

    def __init__(self, *problems: DocumentProblem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class InvalidPolicy(Misuse):
    """A namespace policy is invalid; `problems` lists all problems."""

    code = "invalid_policy"

    def __init__(self, *problems: DocumentProblem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Violation(NamedTuple):
    """One part of a value that is invalid."""

    path: str  #: a JSON path: `$.refund_amount`
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidInput(Misuse):
    """A value is not allowed.

    Attributes:
        path: JSON path of the first invalid part (`$.refund_amount`).
        violations: All invalid parts; for a value with a schema, the first 10.
    """

    code = "invalid_input"

    def __init__(
        self, message: str, *, path: str = "$", violations: Iterable[Violation] = ()
    ) -> None:
        super().__init__(message)
        self.path = path
        self.violations = tuple(violations) or (Violation(path, message),)


class InvalidExpression(InvalidInput):
    """An expression is invalid or cannot be evaluated with the given values.

    Args:
        text: The expression.
        message: What is wrong with it.
        path: JSON path of the invalid value among its names (`$.input.amount`).
    """

    code = "invalid_expression"

    def __init__(self, text: str, message: str, *, path: str = "$") -> None:
        shown = text if len(text) <= 100 else f"{text[:100]}..."
        super().__init__(f"invalid expression {shown!r}: {message}", path=path)
        self.text, self.message = text, message


class InvalidSettings(Misuse):
    """A setting is unknown or out of bounds."""

    code = "invalid_settings"


class HandlerNotFound(Misuse):
    """No handler has the name that a template specifies."""

    code = "handler_not_found"


class HandlerImportError(Misuse):
    """A module with handlers could not be imported."""

    code = "handler_import_failed"


class TooLarge(Misuse):
    """A context, result or template exceeds its size limit. It is rejected, never truncated."""

    code = "too_large"
    members: ClassVar[Mapping[str, str]] = {"size": "size", "limit": "limit"}

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} is {size:,} bytes; the limit is {limit:,}")
        self.size, self.limit = size, limit


class TooManyInstances(Misuse):
    """A step would have more instances than are allowed."""

    code = "too_many_instances"
    members: ClassVar[Mapping[str, str]] = {"instances": "instances", "limit": "limit"}

    def __init__(self, instances: int, limit: int) -> None:
        super().__init__(f"a step may have at most {limit:,} instances, not {instances:,}")
        self.instances, self.limit = instances, limit


# -------------------------------------------------------------------- rejections


class Rejected(TaskerError):
    """The stored state does not allow the action."""

    code = "rejected"


class NotFound(Rejected):
    """A task, step, template, policy or key does not exist."""

    code = "not_found"


class TaskRegistrationError(Rejected):
    """The same namespace, name and version is registered with different content."""

    code = "template_conflict"


class IdempotencyConflict(Rejected):
    """The idempotency key was used before, with a different template or context."""

    code = "idempotency_conflict"


class TaskExists(Rejected):
    """Another task already has the idempotency key, and `if_exists` is `reject`.

    Args:
        key: The idempotency key in use.
        task_id: The task that has it.
    """

    code = "task_exists"
    members: ClassVar[Mapping[str, str]] = {"key": "key", "task_id": "task_id"}

    def __init__(self, key: str, task_id: str) -> None:
        super().__init__(f"the idempotency key {key!r} already belongs to task {task_id}")
        self.key, self.task_id = key, task_id


class WebhookExists(Rejected):
    """The namespace already has a webhook or a subscriber with this name."""

    code = "webhook_exists"


class TaskChanged(Rejected):
    """The task's ETag differs from the action's `if_match`: it has changed since it was read.

    Args:
        task_id: The task.
        etag: Its current ETag.
    """

    code = "task_changed"
    members: ClassVar[Mapping[str, str]] = {"task_id": "task_id", "etag": "etag"}

    def __init__(self, task_id: str, etag: str) -> None:
        super().__init__(
            f"task {task_id} changed since it was read: its ETag is now {etag}; read it again"
        )
        self.task_id, self.etag = task_id, etag


class ScheduleExists(Rejected):
    """The namespace already has a schedule with this name."""

    code = "schedule_exists"


class ScheduleChanged(Rejected):
    """The schedule's ETag differs from the action's `if_match`: it was changed after it was read.

    Args:
        schedule: Its full name.
        etag: Its current ETag.
    """

    code = "schedule_changed"
    members: ClassVar[Mapping[str, str]] = {"schedule": "schedule", "etag": "etag"}

    def __init__(self, schedule: str, etag: str) -> None:
        super().__init__(
            f"schedule {schedule} changed since it was read: its ETag is now {etag}; read it again"
        )
        self.schedule, self.etag = schedule, etag


class WrongStatus(Rejected):
    """The task, step, template version or key has a status that does not allow the action."""

    code = "wrong_status"
    members: ClassVar[Mapping[str, str]] = {
        "current_status": "status",
        "action": "action",
        "allowed": "allowed",
    }

    def __init__(self, what: str, status: str, action: str, allowed: Collection[str]) -> None:
        self.status, self.action, self.allowed = status, action, tuple(sorted(allowed))
        act, others = action.removesuffix("_step"), " or ".join(self.allowed)
        super().__init__(f"cannot {act} {what}: it is {status}, not {others}")


class ChildrenAlreadyRan(WrongStatus):
    """A failed step cannot be retried because its children have already run without it.

    Args:
        step: The step's name.
    """

    def __init__(self, step: str) -> None:
        super().__init__(f"step {step}", "error", "retry", ())
        self.step = step

    def __str__(self) -> str:
        return (
            f"cannot retry step {self.step}: steps that depend on it have already run without its"
            " result"
        )


class CompensationStarted(Rejected):
    """The completed steps of a task are being undone or were undone.

    Args:
        task_id: The task's id.
        action: The rejected action.
    """

    code = "compensating"
    members: ClassVar[Mapping[str, str]] = {"task_id": "task_id"}

    def __init__(self, task_id: str, action: str) -> None:
        super().__init__(
            f"cannot {action.removesuffix('_step')} task {task_id}: its compensation has begun."
            " Only compensating steps can still be retried, resolved, skipped or completed."
            " To repeat the work of a compensated task, create a new task"
        )
        self.task_id = task_id


class TooManyOpenTasks(Rejected):
    """The maximum number of tasks with a key is open.

    Args:
        key: The key.
        tasks: How many may be open.
    """

    code = "too_many_open_tasks"
    members: ClassVar[Mapping[str, str]] = {"key": "key"}

    def __init__(self, key: str, tasks: int) -> None:
        super().__init__(
            f"at most {format_count('task', tasks)} with the key {key!r} may be open at the same"
            " time; try again after one of them has ended"
        )
        self.key = key


class TemplateNotApproved(Rejected):
    """The template version accepts no new tasks: it is pending review, rejected or retired.

    Args:
        template: Its full name.
        status: A `TemplateStatus` other than approved.
        approvers: The people who may approve it.
    """

    code = "template_not_approved"
    members: ClassVar[Mapping[str, str]] = {
        "current_status": "status",
        "template": "template",
        "allowed": "approvers",
    }

    def __init__(self, template: str, status: str, approvers: Collection[str] = ()) -> None:
        who = " or ".join(approvers) or "a principal with the permission templates:approve"
        super().__init__(
            {
                "pending_review": f"template {template} is pending_review:"
                f" no tasks can be created from it until {who} approves it",
                "rejected": f"template {template} is rejected:"
                " change it and register it again, or use another version",
                "retired": f"template {template} is retired:"
                " no tasks can be created from it; use another version, or restore it",
            }.get(status, f"template {template} is {status}: it accepts no new tasks")
        )
        self.template, self.status, self.approvers = template, status, tuple(approvers)


class HttpHostNotAllowed(Rejected):
    """A template calls a host that its namespace's policy does not list.

    Args:
        template: Its full name.
        namespace: The namespace.
        step: The step that calls the host.
        host: The host, with its port.
        allowed: The policy's `http_hosts`.
    """

    code = "http_host_not_allowed"
    members: ClassVar[Mapping[str, str]] = {"step": "step", "host": "host", "allowed": "allowed"}

    def __init__(
        self, template: str, namespace: str, step: str, host: str, allowed: Collection[str]
    ) -> None:
        name = host.removesuffix(":443").removesuffix(":80")
        super().__init__(
            f"step {step!r} of template {template} calls {host}, which is not allowed: the"
            f" http_hosts of namespace {namespace!r} are {', '.join(allowed) or 'empty'};"
            f" allow it with `tasker namespace put {namespace} --http-host {name}`"
        )
        self.step, self.host, self.allowed = step, host, tuple(allowed)


class NotAnApprover(Rejected):
    """The namespace's policy does not allow the actor to review the template version."""

    code = "not_an_approver"


class Unauthenticated(Rejected):
    """The caller is not authenticated: the key or token is missing or invalid."""

    code = "unauthenticated"


class Forbidden(Rejected):
    """The caller lacks the permission for the action."""

    code = "forbidden"


# ----------------------------------------------------------------------- stores


class StoreError(TaskerError):
    """A store call failed without changes, unless the subclass says otherwise."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The store cannot be reached. It is unknown whether the last call took effect."""

    code = "store_unavailable"


class ServerUnavailable(StoreUnavailable):
    """The server cannot be reached, or a proxy in front of it responded instead."""


class LeaseLost(StoreError):
    """The worker's lease expired; other workers have taken over its steps."""

    code = "lease_lost"


class SchemaMismatch(StoreError):
    """The schema of the database does not match this release."""

    code = "schema_mismatch"


# --------------------------------------------------------------------- attempts


class AttemptCancelled(TaskerError):
    """The attempt must stop: it has timed out, its task was cancelled, or its lease was lost.

    Raised inside the handler by `Context.heartbeat` and `Context.checkpoint`.
    It is an ordinary exception, so `finally` and `with` clean up. If a handler suppresses it, the
    next call raises it again, and the handler's result is discarded.
    """

    code = "attempt_cancelled"


# ----------------------------------------------------------------------- waiting


class TaskFailed(TaskerError):
    """An awaited task ended in `error` or `cancelled`.

    Attributes:
        task: The task; its `failure` has the failed step, with the type, message and code of its
            error.
        details: The same information as JSON, stored with the error of a step that waited for the
            task.
    """

    code = "task_failed"

    def __init__(self, task: "Task") -> None:
        failure = task.failure
        reason = (task.error or {}).get("message")
        self.details: dict[str, str | None] = {"task_id": task.id, "template": str(task.template)}
        if failure is not None:
            code = f" ({failure.code})" if failure.code else ""
            reason = f"step {failure.step!r} failed: {failure.type}: {failure.message}{code}"
            self.details |= {
                "step": failure.step,
                "type": failure.type,
                "message": failure.message,
                "code": failure.code,
            }
        ended = f"task {task.id} of {task.template} ended as {task.status}"
        super().__init__(f"{ended}: {reason}" if reason else ended)
        self.task = task


class WaitTimeout(TaskerError):
    """The task did not end within the timeout; it continues."""

    code = "wait_timeout"


# ------------------------------------------------------ raised by handlers to control a step


class StepParked(BaseException):
    """Ends an attempt whose step waits. When the wait is over, the handler runs again.

    Raised for the worker by calls that wait. It is not an Exception, so handlers do not catch it by
    accident. The handler then runs again from the start, and the same call returns immediately.
    """


class ParkedForTask(StepParked):
    """The step waits until the task `task_id` has ended."""

    def __init__(self, task_id: "TaskId") -> None:
        super().__init__(f"waits for task {task_id}")
        self.task_id = task_id


class ParkedForTime(StepParked):
    """The step sleeps for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"sleeps for {human_duration(seconds)}")
        self.seconds = seconds


class StepReleased(StepParked):
    """The step returns to its queue with its checkpoint."""


class StepError(Exception):
    """Base class of exceptions with which handlers control the outcome of their step.

    Args:
        message: A description for people.
        code: A code for programs, such as "MISSING_EMAIL".
        error_code: The older name of `code`.
        details: Additional JSON data to store with the error.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        error_code: str | None = None,
        details: "JsonObject | None" = None,
    ) -> None:
        super().__init__(message)
        self.code = code if code is not None else error_code
        self.details = details


class PermanentError(StepError):
    """The step cannot succeed: it ends in `error` without another attempt."""


class RetryableError(StepError):
    """Another attempt may succeed.

    Args:
        retry_after: The delay before the next attempt: seconds as a number or text, a timedelta, or
            an HTTP date, so that a `Retry-After` header can be passed unchanged. At most a day.
            None means the template's backoff.

    Raises:
        ValueError: `retry_after` has another type or form; the error's message contains `message`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | str | timedelta | None = None,
        code: str | None = None,
        error_code: str | None = None,
        details: "JsonObject | None" = None,
    ) -> None:
        super().__init__(message, code=code, error_code=error_code, details=details)
        try:
            self.retry_after = parse_retry_after(retry_after)
        except ValueError as error:
            raise ValueError(f"{error}; the message was: {message}" if message else error) from None

"""Operations on many tasks at once: cancel, retry or resolve all that match a filter.

Operations are stored, so any worker or server can continue them. Tasks are handled from the newest
to the oldest. The transaction that changes a task also stores the operation's progress, so each
task is handled once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from tasker import codec
from tasker.codec import lowest_task_id_at
from tasker.errors import InvalidInput
from tasker.limits import BULK_IDS, BULK_RATE, BULK_REJECTIONS
from tasker.model import (
    AccessChannel,
    CompensationStatus,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
    TemplateName,
)

COUNTED = 10_000  #: tasks of each status that a preview counts
SAMPLE = 10  #: tasks that a preview names
DEFAULT_RATE = 100.0  #: tasks per second
LEAST_RATE = 0.01
LARGEST_BATCH = 100  #: tasks that one process handles before others may continue
_BATCH_SECONDS = 0.5  #: length of a batch at its operation's rate; it has at least one task
_TOKEN_VALID = timedelta(hours=1)
_CLOCKS = timedelta(minutes=5)  #: how far the clocks of servers may be off


class BulkAction(StrEnum):
    """What a bulk operation does with each of its tasks."""

    CANCEL = "cancel"  #: of open tasks
    RETRY = "retry"  #: of failed tasks
    RESOLVE = "resolve"  #: of failed tasks


BulkActionName: TypeAlias = Literal["cancel", "retry", "resolve"]

STATUSES: Mapping[BulkAction, tuple[TaskStatus, ...]] = {
    BulkAction.CANCEL: (TaskStatus.PENDING, TaskStatus.IN_PROGRESS),
    BulkAction.RETRY: (TaskStatus.ERROR,),
    BulkAction.RESOLVE: (TaskStatus.ERROR,),
}
"""Statuses of the tasks that an action changes."""


class BulkStatus(StrEnum):
    """The status of a bulk operation."""

    RUNNING = "running"
    COMPLETE = "complete"  #: no task is left
    STOPPED = "stopped"  #: by an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequest:
    """What a bulk operation does, and with which tasks.

    Raises:
        InvalidInput: The request has neither a filter nor ids, or both, or too many ids, or options
            of a retry with another action.
    """

    action: BulkAction
    filter: TaskFilter | None = None
    ids: tuple[str, ...] | None = None
    steps: tuple[str, ...] | None = None
    """Names of the steps to retry; None means all failed steps."""

    reset_attempts: bool = False
    """Whether retried steps get as many attempts as their retry policies allow instead of only one
    more."""

    fresh: bool = False
    """Whether the records of the retried steps' durable calls are deleted."""

    templates: frozenset[TemplateName] | None = None
    """Templates whose tasks the caller may change, in all versions; None means all templates."""

    def __post_init__(self) -> None:
        if (self.filter is None) == (self.ids is None):
            raise InvalidInput("a bulk operation must have exactly one of 'filter' and 'ids'")
        if self.filter == TaskFilter():
            raise InvalidInput("the filter must have at least one field", path="$.filter")
        if self.ids is not None and not 1 <= len(self.ids) <= BULK_IDS:
            raise InvalidInput(
                f"ids must contain 1 to {BULK_IDS:,} task ids, not {len(self.ids):,}", path="$.ids"
            )
        if self.action is not BulkAction.RETRY and (
            self.steps or self.reset_attempts or self.fresh
        ):
            raise InvalidInput("steps, reset_attempts and fresh are allowed only for a retry")

    @property
    def filters_by_status(self) -> list[TaskFilter]:
        """The filters that find its tasks, one for each status; none if it has ids."""
        if self.filter is None:
            return []
        wanted = STATUSES[self.action]
        if self.filter.status is not None:
            wanted = tuple({*wanted} & {self.filter.status})
        return [replace(self.filter, status=status) for status in wanted]

    def caller_may_change_task(self, task: Task) -> bool:
        """Return whether the caller of the request may change a task that matches it."""
        return self.templates is None or task.template in self.templates

    @property
    def digest(self) -> str:
        """A digest of the request without the caller's permissions."""
        document = encode_request(self)
        del document["templates"]
        if document["filter"] is not None:
            del document["filter"]["visible"]
        return sha256(codec.dumps(document).encode()).hexdigest()[:16]


def encode_request(request: BulkRequest) -> dict[str, Any]:
    """Return a request as JSON."""
    return {
        "action": request.action.value,
        "filter": None if request.filter is None else _encode_filter(request.filter),
        "ids": request.ids and list(request.ids),
        "steps": request.steps and list(request.steps),
        "reset_attempts": request.reset_attempts,
        "fresh": request.fresh,
        "templates": None if request.templates is None else sorted(map(list, request.templates)),
    }


def decode_request(document: Mapping[str, Any]) -> BulkRequest:
    """Return the request of `encode_request`."""
    filter, templates = document["filter"], document["templates"]
    return BulkRequest(
        action=BulkAction(document["action"]),
        filter=None if filter is None else _decode_filter(filter),
        ids=document["ids"] and tuple(document["ids"]),
        steps=document["steps"] and tuple(document["steps"]),
        reset_attempts=document["reset_attempts"],
        fresh=document["fresh"],
        templates=None
        if templates is None
        else frozenset(TemplateName(*template) for template in templates),
    )


_INSTANTS = ("created_after", "created_before")


def _encode_filter(filter: TaskFilter) -> dict[str, Any]:
    document = asdict(filter)
    if filter.visible is not None:
        document["visible"] = sorted(filter.visible)
    for name in _INSTANTS:
        document[name] = document[name] and document[name].isoformat()
    return document


def _decode_filter(document: Mapping[str, Any]) -> TaskFilter:
    fields = dict(document)
    for name in _INSTANTS:
        fields[name] = fields[name] and datetime.fromisoformat(fields[name])
    status, compensation, visible = (
        fields.pop(name) for name in ("status", "compensation", "visible")
    )
    return TaskFilter(
        **fields,
        status=status and TaskStatus(status),
        compensation=compensation and CompensationStatus(compensation),
        visible=None if visible is None else frozenset(visible),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPreview:
    """What a bulk operation would change, before it is started."""

    action: BulkAction
    matches: int
    exact: bool
    """Whether `matches` is exact. If not, some status has more than 10,000 matching tasks, of which
    only the newest 10,000 were counted."""

    by_status: Mapping[str, int]
    by_template: Mapping[str, int]
    """Matches by `namespace.name`."""

    rejected: Mapping[str, int]
    """Number of matching tasks that could not be changed, by error code."""

    sample: Sequence[str]
    """Ids of the newest 10 matching tasks."""

    token: str
    """A token that starts the operation for the tasks created before the preview; it is valid for
    an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRejection:
    """A task that a bulk operation could not change, and why."""

    id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOperation:
    """A bulk operation on tasks, and its progress."""

    id: str
    action: BulkAction
    status: BulkStatus
    per_second: float
    """Maximum number of tasks that the operation changes per second."""

    matches: int
    """Number of tasks that matched when the operation started."""

    exact: bool
    """Whether `matches` is exact; if not, it is a lower bound."""

    changed: int = 0
    rejected: Mapping[str, int]
    """Number of tasks that could not be changed, by error code."""

    rejections: Sequence[BulkRejection]
    """The first 100 tasks that could not be changed."""

    reason: str
    created_by: str
    via: AccessChannel | None
    created_at: datetime
    updated_at: datetime
    """When the operation last made progress."""

    ended_at: datetime | None = None
    stopped_by: str | None = None

    @property
    def handled_count(self) -> int:
        """Tasks changed and rejected."""
        return self.changed + sum(self.rejected.values())


class NewBulkOperation(NamedTuple):
    """A bulk operation to store."""

    id: TaskId
    request: BulkRequest
    per_second: float
    matches: int
    exact: bool
    namespaces: frozenset[str] | None
    """Namespaces whose tasks the operation may change; None means all."""


class StoredBulkOperation(NamedTuple):
    """A bulk operation as a store holds it: with its request and its position among the tasks."""

    operation: BulkOperation
    request: BulkRequest
    namespaces: frozenset[str] | None
    last_task: TaskId
    """The last task that was handled; the operation continues with tasks that have lower ids."""

    @property
    def batch_size(self) -> int:
        """How many tasks to handle before others may continue."""
        return max(1, min(LARGEST_BATCH, int(self.operation.per_second * _BATCH_SECONDS)))


def new_start_token(request: BulkRequest) -> str:
    """Return a token that starts an operation: its id and a digest of its request."""
    return f"{codec.new_task_id()}.{request.digest}"


def operation_id_from_start_token(token: str, request: BulkRequest) -> TaskId:
    """Return the id of the operation that a token starts.

    Raises:
        InvalidInput: The token belongs to another request, or is too old.
    """
    text, _, digest = token.partition(".")
    if digest != request.digest:
        message = "the token belongs to another request; get a new one with a dry run"
        raise InvalidInput(message, path="$.token")
    now = datetime.now(UTC)
    try:
        id = TaskId(str(UUID(text)))
    except ValueError:
        message = "the token is malformed; get a new one with a dry run"
        raise InvalidInput(message, path="$.token") from None
    if not lowest_task_id_at(now - _TOKEN_VALID) <= id <= lowest_task_id_at(now + _CLOCKS):
        message = "the token has expired; get a new one with a dry run"
        raise InvalidInput(message, path="$.token")
    return id


def require_valid_bulk_rate(per_second: float) -> float:
    """Return the rate of an operation. Raises InvalidInput."""
    if not LEAST_RATE <= per_second <= BULK_RATE:
        message = f"per_second must be {LEAST_RATE:g} to {BULK_RATE:,}, not {per_second:g}"
        raise InvalidInput(message, path="$.per_second")
    return per_second


def append_rejection(
    rejections: Sequence[Mapping[str, str]], rejection: BulkRejection
) -> Sequence[Mapping[str, str]]:
    """Return rejections with another one added, up to the number that is kept."""
    if len(rejections) >= BULK_REJECTIONS:
        return rejections
    kept = {"id": rejection.id, "code": rejection.code, "message": rejection.message[:1_000]}
    return [*rejections, kept]


def sort_ids_newest_first(ids: Collection[str]) -> list[TaskId]:
    """Return ids in the order in which an operation handles their tasks."""
    return sorted({TaskId(one) for one in ids}, reverse=True)

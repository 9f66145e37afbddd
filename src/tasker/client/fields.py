"""Checks that every store can store the fields of a new task."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tasker.codec import UNSTORABLE
from tasker.durations import Duration, human_duration, parse_duration
from tasker.errors import InvalidInput, TooLarge
from tasker.model import PRIORITIES, ExistingTaskAction, IdempotencyKeyLifetime, TaskFilter

LONGEST_NAME = 1_000  #: bytes of a key, a tag, ...; the limit of an index
LONGEST_TEXT = 10_000  #: bytes of a reason
LONGEST_DELAY = LONGEST_DEADLINE = timedelta(days=3650)
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def check_indexable_strings(**named: Any) -> None:
    """Raise InvalidInput or TooLarge unless the strings can be indexed: short and not empty.

    None is allowed.
    """
    for name, value in named.items():
        if value is None:
            continue
        check_storable_strings(LONGEST_NAME, **{name: value})
        if not value:
            raise _invalid_field_error(name, "must not be empty")


def check_storable_strings(limit: int = LONGEST_TEXT, **named: Any) -> None:
    """Raise InvalidInput or TooLarge unless the strings can be stored; None is allowed."""
    for name, value in named.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise _invalid_field_error(name, f"must be a string, not {type(value).__name__}")
        if UNSTORABLE.search(value):
            raise _invalid_field_error(name, "contains a NUL character or an unpaired surrogate")
        if (size := len(value.encode())) > limit:
            raise TooLarge(name, size, limit)


def check_tags(tags: Any) -> None:
    """Raise InvalidInput or TooLarge unless the value is a list of tags that can be indexed."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise _invalid_field_error("tags", f"must be a list of strings, not {tags!r:.100}")
    for tag in tags:
        check_indexable_strings(tags=tag)
        if tag is None:
            raise _invalid_field_error("tags", "must contain only strings, not None")


def check_start_and_deadline(run_at: Any, delay: Any, deadline: Any) -> None:
    """Raise InvalidInput unless a start time or delay, and a deadline, are valid or None."""
    if run_at is not None and delay is not None:
        raise _invalid_field_error("delay", "cannot be combined with run_at: give only one of them")
    if run_at is not None:
        if not isinstance(run_at, datetime) or run_at.tzinfo is None:
            raise _invalid_field_error(
                "run_at", f"must be a datetime with a time zone, not {run_at!r}"
            )
        if not EARLIEST <= run_at <= LATEST:
            message = f"must be between the years {EARLIEST.year} and {LATEST.year}, not {run_at}"
            raise _invalid_field_error("run_at", message)
    if (length := parse_duration_field("delay", delay)) is not None and length > LONGEST_DELAY:
        most = f"{LONGEST_DELAY.days:,} days"
        raise _invalid_field_error("delay", f"must be at most {most}, not {human_duration(length)}")
    length = parse_duration_field("deadline", deadline)
    if length is not None and not timedelta(0) < length <= LONGEST_DEADLINE:
        most = f"at most {LONGEST_DEADLINE.days:,} days"
        raise _invalid_field_error(
            "deadline", f"must be greater than 0 and {most}, not {human_duration(length)}"
        )


def check_priority(priority: Any) -> None:
    """Raise InvalidInput unless the value is a priority of a task."""
    if type(priority) is not int or not 0 <= priority < PRIORITIES:
        message = f"must be an integer from 0 to {PRIORITIES - 1}, not {priority!r:.100}"
        raise _invalid_field_error("priority", message)


def check_idempotency_options(key: str | None, unique_while: Any, if_exists: Any) -> None:
    """Raise InvalidInput unless the options of an idempotency key are valid; they need a key."""
    for name, value, words in (
        ("unique_while", unique_while, IdempotencyKeyLifetime),
        ("if_exists", if_exists, ExistingTaskAction),
    ):
        if value is None:
            continue
        if value not in [word.value for word in words]:
            allowed = ", ".join(words)
            raise _invalid_field_error(name, f"must be one of {allowed}, not {value!r:.100}")
        if key is None:
            raise _invalid_field_error(name, "needs an idempotency_key")


def parse_duration_field(name: str, value: Duration | None) -> timedelta | None:
    """Return a duration, or None if none is given. Raises InvalidInput."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise _invalid_field_error(name, str(error)) from None


def parse_task_id(name: str, value: Any) -> str:
    """Return a task's id in canonical form. Raises InvalidInput."""
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise _invalid_field_error(name, f"must be the id of a task, not {value!r:.100}") from None


def _invalid_field_error(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"{name} {message}", path=f"$.{name}")


def filter_to_query(filter: TaskFilter) -> dict[str, Any]:
    """Return a filter as the query parameters of the request that lists tasks."""
    return {
        "namespace": filter.namespace,
        "name": filter.name,
        "version": filter.version,
        "status": filter.status and filter.status.value,
        "correlation_id": filter.correlation_id,
        "parent_id": filter.parent_id,
        "schedule_id": filter.schedule_id,
        "tag": filter.tag,
        "created_by": filter.created_by,
        "idempotency_key": filter.idempotency_key,
        "failed_step": filter.failed_step,
        "error_code": filter.error_code,
        "compensation": filter.compensation and filter.compensation.value,
        "attribute": [f"{name}={value}" for name, value in filter.attributes.items()] or None,
        "created_after": filter.created_after and filter.created_after.isoformat(),
        "created_before": filter.created_before and filter.created_before.isoformat(),
    }


def filter_to_body(filter: TaskFilter) -> dict[str, Any]:
    """Return a filter as it appears in the body of a request."""
    given = {**filter_to_query(filter), "attributes": dict(filter.attributes) or None}
    del given["attribute"]
    return {name: value for name, value in given.items() if value is not None}

"""Fields of requests that clients of earlier Taskers send."""

from enum import StrEnum

from tasker.api.fields import Line
from tasker.api.task_requests import NewTaskBody, NewTaskFields
from tasker.model import Task, TaskStatus

_SOURCE, _PARENT = "source_system:", "parent_correlation_id:"
"""Prefixes of the tags that store values for which Tasker has no field."""


class CompatTaskFields(NewTaskFields):
    """A new task's fields, plus fields that only earlier clients send."""

    initiator: Line | None = None
    """`created_by`."""

    source_system: Line | None = None
    """Stored as the tag `source_system:...`."""

    parent_correlation_id: Line | None = None
    """Stored as the tag `parent_correlation_id:...`."""

    priority: int | None = None
    """Accepted and ignored."""

    options: None = None
    """Accepted if null."""

    requested_at: str | None = None
    """Accepted but ignored: the server uses its own clock."""

    def to_new_task_fields(self) -> NewTaskFields:
        """Return the task's fields as Tasker names them."""
        tags = list(self.tags)
        if self.source_system:
            tags.append(_SOURCE + self.source_system)
        if self.parent_correlation_id:
            tags.append(_PARENT + self.parent_correlation_id)
        return self.model_copy(
            update={
                "tags": tags,
                "created_by": self.created_by or self.initiator,
                "priority": None,
            }
        )


class CompatTaskBody(CompatTaskFields, NewTaskBody):
    """A task to create."""


class CompatTaskStatus(StrEnum):
    """Statuses of tasks in filters, with the words of earlier clients."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
    COMPLETED = "completed"
    ERROR = "error"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESOLVED_MANUALLY = "resolved_manually"

    @property
    def status(self) -> TaskStatus:
        """Tasker's name of the status."""
        return _WORDS.get(self) or TaskStatus(self.value)


_WORDS = {
    CompatTaskStatus.COMPLETED: TaskStatus.COMPLETE,
    CompatTaskStatus.FAILED: TaskStatus.ERROR,
}


def source_tag(source_system: str) -> str:
    """Return the tag that stores a source system."""
    return _SOURCE + source_system


def source_system(task: Task) -> str:
    """Return a task's source system, or `unknown`."""
    return _find_tag_value(task, _SOURCE) or "unknown"


def parent_correlation_id(task: Task) -> str | None:
    """Return a task's parent correlation id, or None if it has none."""
    return _find_tag_value(task, _PARENT)


def _find_tag_value(task: Task, prefix: str) -> str | None:
    return next((tag.removeprefix(prefix) for tag in task.tags if tag.startswith(prefix)), None)

"""Values of the client as JSON data of bounded size."""

from typing import Any

from tasker.codec import dumps, loads
from tasker.model import Step, Task

_LONGEST = 4_000  #: characters of one value; assistants read little at once


def to_shortened_json(value: Any) -> Any:
    """Return a value as JSON data; long strings are shortened."""
    return _shorten_strings_and_lists(loads(dumps(value, limit=64 << 20)))


def summarize_task(task: Task) -> dict[str, Any]:
    """Return the fields of a task that a list shows."""
    return {
        "id": task.id,
        "template": task.full_name,
        "status": task.status.value,
        "title": task.title,
        "created_at": task.created_at.isoformat(),
        "ended_at": task.ended_at.isoformat() if task.ended_at else None,
    }


def summarize_step(step: Step) -> dict[str, Any]:
    """Return the fields of a step in the view of a task."""
    line: dict[str, Any] = {"name": step.name, "status": step.status.value}
    if step.attempts:
        line["attempts"] = step.attempts
    if step.error:
        line["error"] = _shorten_strings_and_lists(step.error)
    if step.result is not None:
        line["result"] = _shorten_strings_and_lists(step.result)
    return line


def _shorten_strings_and_lists(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value if len(value) <= _LONGEST else f"{value[:_LONGEST]}... ({len(value)} characters)"
        )
    if isinstance(value, dict):
        return {key: _shorten_strings_and_lists(part) for key, part in value.items()}
    if isinstance(value, list):
        shown = [_shorten_strings_and_lists(part) for part in value[:100]]
        return shown if len(value) <= 100 else [*shown, f"... {len(value) - 100} more"]
    return value

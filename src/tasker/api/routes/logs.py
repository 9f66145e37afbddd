"""Log records of handlers and what they print."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from tasker.api.authorization import masker_of
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import Instant, Line, TaskPath
from tasker.api.responses import LARGE, JsonResponse
from tasker.api.routes.steps import find_step_number_and_name
from tasker.api.routes.tasks import read_authorized_task, read_template_of_task
from tasker.api.routing import Routes
from tasker.api.views.logs import log_page_view
from tasker.model import Task
from tasker.step_logs import LogFilter, LogPage, LogPosition, LogRecord, log_level_number
from tasker.teams.permissions import STEPS_READ

routes = Routes("tasks", "/v1/tasks/{task_id}/logs")

MOST = 1_000  #: records in one response


class LogQuery(BaseModel):
    """Selects the log records of a task."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    step: Line | None = None
    """Name or number of a step."""
    attempt: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    level: Literal["debug", "info", "warning", "error", "critical"] | None = None
    """Minimum level of the records."""
    text: Line | None = None
    """Text that the message must contain; ASCII letters match in either case."""
    since: Instant | None = None
    """Earliest time of the records, by the worker's clock."""
    order: Literal["oldest", "newest"] = "oldest"
    """Which records come first."""
    cursor: Annotated[str, Field(max_length=100)] | None = None
    """The `next_cursor` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=MOST)] = 200


@routes.add("GET", "", STEPS_READ, response=LogPage, error_codes=("not_found", "invalid_input"))
async def list_logs(
    request: Request, api: ApiServicesOf, task_id: TaskPath, query: Annotated[LogQuery, Query()]
) -> JsonResponse:
    """List what a task's handlers logged and printed.

    `text` is searched for in the messages as shown to the caller. If some of the task's data is
    masked, a page may have fewer records than `limit`, or none, although others follow.
    """
    task = await read_authorized_task(request, api, task_id, STEPS_READ)
    no, step = None, query.step
    if step is not None:
        no, step = await find_step_number_and_name(
            api, await read_template_of_task(api, task.id), task.id, step
        )
    masker, text = masker_of(request), query.text
    searched_later = text is not None and not await masker.sees_task_unmasked()
    records = await api.store.list_logs(
        task.id,
        LogFilter(
            no=no,
            attempt=query.attempt,
            level=None if query.level is None else log_level_number(query.level),
            text=None if searched_later else text,
            since=query.since,
        ),
        after=None if query.cursor is None else LogPosition.from_cursor(query.cursor),
        newest_first=query.order == "newest",
        limit=query.limit,
    )
    link = _log_store_link(api.settings.log_url, task, step, query.attempt)
    last = records[-1] if len(records) == query.limit else None
    if text is not None and searched_later:
        shown: Sequence[LogRecord] = await masker.mask(records, large=len(records) > LARGE)
        records = [
            record
            for record, seen in zip(records, shown, strict=True)
            if _message_contains(seen.message, text)
        ]
    return JsonResponse(log_page_view(records, last=last, link=link))


def _message_contains(message: str, text: str) -> bool:
    """Return whether a message contains a text; ASCII letters match in either case."""
    return text.encode().lower() in message.encode().lower()


def _log_store_link(
    template: str | None, task: Task, step: str | None, attempt: int | None
) -> str | None:
    """Return the URL of the same logs in the team's own log store."""
    if template is None:
        return None
    values = {
        "task_id": task.id,
        "correlation_id": task.correlation_id,
        "namespace": task.namespace,
        "template": task.name,
        "version": task.version,
        "step": step or "",
        "attempt": "" if attempt is None else str(attempt),
        "from": task.created_at.isoformat(),
        "to": (task.ended_at or datetime.now(UTC)).isoformat(),
    }
    return template.format_map({name: quote(value, safe="") for name, value in values.items()})

"""Operators' actions on many tasks at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from fastapi import Depends
from pydantic import Field, model_validator
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.authorization import authorize, is_allowed, visible_namespaces
from tasker.api.dependencies import Api, ApiOf
from tasker.api.fields import AttributeName, Line, Text, Uuid
from tasker.api.problems import Fault, Problem
from tasker.api.requests import Body, JsonBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import TaskCriteria, allowed_task, operator_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views import documented
from tasker.client import LocalClient
from tasker.errors import Refused
from tasker.model import Task, TaskId, TaskStatus
from tasker.teams.permissions import (
    TASKS_CANCEL,
    TASKS_LIST,
    TASKS_RESOLVE,
    TASKS_RETRY,
    Permission,
)

routes = Routes("tasks", "/v1/bulk")

MAX_MATCHES = 1_000  #: tasks that one request acts on


class BulkAction(StrEnum):
    """An action on tasks."""

    CANCEL = "cancel"
    RETRY = "retry"
    RESOLVE = "resolve"


_PERMISSIONS = {
    BulkAction.CANCEL: TASKS_CANCEL,
    BulkAction.RETRY: TASKS_RETRY,
    BulkAction.RESOLVE: TASKS_RESOLVE,
}
_STATUSES = {
    BulkAction.CANCEL: (TaskStatus.PENDING, TaskStatus.IN_PROGRESS),
    BulkAction.RETRY: (TaskStatus.ERROR,),
    BulkAction.RESOLVE: (TaskStatus.ERROR,),
}
"""Statuses of the tasks that a filter finds for an action."""


class BulkFilter(Body, TaskCriteria):
    """Tasks that match every given field; at least one is required."""

    attributes: Annotated[dict[AttributeName, Line], Field(min_length=1, max_length=20)] | None = (
        None
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "BulkFilter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("needs at least one field")
        return self


class BulkActionBody(Body):
    """An action on listed tasks, or on the tasks that match a filter."""

    action: BulkAction
    filter: BulkFilter | None = None
    """Finds open tasks to cancel, failed ones to retry or resolve."""
    ids: Annotated[list[Uuid], Field(min_length=1, max_length=MAX_MATCHES)] | None = None
    reset_attempts: bool = False
    """Whether retried steps get all their attempts again instead of one more."""
    reason: Text = ""
    dry_run: bool = False
    """Whether to count the tasks without changing any."""

    @model_validator(mode="after")
    def _one_source(self) -> "BulkActionBody":
        if (self.filter is None) == (self.ids is None):
            raise ValueError("needs either filter or ids")
        return self


class BulkRefusal(TypedDict):
    """A task that the action did not change."""

    id: str
    code: str
    message: str


@documented
class BulkView(TypedDict):
    """The outcome of an action on many tasks."""

    matches: int
    by_status: dict[str, int]
    """How many had each status before."""
    dry_run: bool
    changed: list[str]
    """Ids of the tasks that changed; empty in a dry run."""
    refused: list[BulkRefusal]
    """Tasks whose status does not allow the action (any more)."""


@routes.add(
    "POST",
    "",
    TASKS_CANCEL,
    TASKS_RETRY,
    TASKS_RESOLVE,
    response=BulkView,
    refuses=(*READS_BODY, "not_found"),
)
async def act_in_bulk(
    request: Request,
    api: ApiOf,
    body: Annotated[BulkActionBody, Depends(JsonBody(BulkActionBody))],
) -> JsonResponse:
    """Cancel, retry or resolve at most 1,000 tasks, or count them in a dry run."""
    tasks = await _tasks(request, api, body)
    view: BulkView = {
        "matches": len(tasks),
        "by_status": dict(Counter(task.status.value for task in tasks)),
        "dry_run": body.dry_run,
        "changed": [],
        "refused": [],
    }
    client = operator_client(request, api)
    for task in () if body.dry_run else tasks:
        try:
            await _apply_action(client, task.id, body)
        except Refused as error:
            view["refused"].append({"id": task.id, "code": error.code, "message": str(error)})
        else:
            view["changed"].append(task.id)
    return JsonResponse(view)


async def _tasks(request: Request, api: Api, body: BulkActionBody) -> Sequence[Task]:
    """Return the tasks of a request. Raises Problem, NotFound."""
    permission = _PERMISSIONS[body.action]
    if body.filter is None:
        ids = dict.fromkeys(body.ids or ())
        return [await allowed_task(request, api, TaskId(one), permission) for one in ids]
    await authorize(request, permission)
    visible = await _visible(request, permission)
    statuses = _STATUSES[body.action]
    if body.filter.status is not None:
        statuses = tuple({*statuses} & {body.filter.status})
    tasks: list[Task] = []
    for status in statuses:
        matching = replace(body.filter.filter(visible, body.filter.attributes or {}), status=status)
        tasks += await api.store.list_tasks(matching, limit=MAX_MATCHES + 1)
    if len(tasks) > MAX_MATCHES:
        message = f"matches more than {MAX_MATCHES:,} tasks; narrow it"
        fault: Fault = {"path": "$.filter", "message": message}
        raise Problem("invalid_request", f"$.filter {message}", errors=[fault])
    allowed = {
        template: await is_allowed(request, permission, template)
        for template in {task.template for task in tasks}
    }
    return [task for task in tasks if allowed[task.template]]


async def _visible(request: Request, permission: Permission) -> frozenset[str] | None:
    """Return the namespaces in which the caller may both list tasks and act; None: all."""
    listed = await visible_namespaces(request, TASKS_LIST)
    acted = await visible_namespaces(request, permission)
    if listed is None or acted is None:
        return acted if listed is None else listed
    return listed & acted


async def _apply_action(client: LocalClient, task_id: TaskId, body: BulkActionBody) -> None:
    if body.action is BulkAction.CANCEL:
        await client.cancel(task_id, reason=body.reason)
    elif body.action is BulkAction.RETRY:
        await client.retry(task_id, reset_attempts=body.reset_attempts, reason=body.reason)
    else:
        await client.resolve(task_id, reason=body.reason)

"""Operator actions on many tasks at once."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends
from pydantic import Field, model_validator
from starlette.requests import Request

from tasker.api.authorization import authorize, is_allowed, visible_namespaces
from tasker.api.dependencies import Api, ApiOf
from tasker.api.fields import AttributeName, Line, Text, Uuid
from tasker.api.requests import Body, JsonBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import TaskCriteria, operator_client, read_authorized_task
from tasker.api.routing import READS_BODY, Routes
from tasker.client import LocalClient
from tasker.model import MAX_BULK, BulkAction, BulkOutcome, Task, TaskId
from tasker.teams.permissions import (
    TASKS_CANCEL,
    TASKS_LIST,
    TASKS_RESOLVE,
    TASKS_RETRY,
    Permission,
)

routes = Routes("tasks", "/v1/bulk")

_PERMISSIONS = {
    BulkAction.CANCEL: TASKS_CANCEL,
    BulkAction.RETRY: TASKS_RETRY,
    BulkAction.RESOLVE: TASKS_RESOLVE,
}


class BulkFilter(Body, TaskCriteria):
    """Tasks that match every given field; at least one is required."""

    attributes: Annotated[dict[AttributeName, Line], Field(min_length=1, max_length=20)] | None = (
        None
    )

    @model_validator(mode="after")
    def _require_any_field(self) -> "BulkFilter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("must have at least one field")
        return self


class BulkActionBody(Body):
    """An action on listed tasks, or on the tasks that match a filter."""

    action: BulkAction
    filter: BulkFilter | None = None
    """Finds open tasks to cancel, failed ones to retry or resolve."""
    ids: Annotated[list[Uuid], Field(min_length=1, max_length=MAX_BULK)] | None = None
    reset_attempts: bool = False
    """Whether retried steps get all their attempts again instead of one more."""
    reason: Text = ""
    dry_run: bool = False
    """Whether to count the tasks without changing any."""

    @model_validator(mode="after")
    def _require_one_source(self) -> "BulkActionBody":
        if (self.filter is None) == (self.ids is None):
            raise ValueError("must have either filter or ids")
        return self


@routes.add(
    "POST",
    "",
    TASKS_CANCEL,
    TASKS_RETRY,
    TASKS_RESOLVE,
    response=BulkOutcome,
    refuses=(*READS_BODY, "invalid_input", "not_found"),
)
async def act_in_bulk(
    request: Request,
    api: ApiOf,
    body: Annotated[BulkActionBody, Depends(JsonBody(BulkActionBody))],
) -> JsonResponse:
    """Cancel, retry or resolve at most 1,000 tasks, or count them in a dry run."""
    client = operator_client(request, api)
    tasks = await _requested_tasks(request, api, client, body)
    outcome = await client.act_on_tasks(
        body.action,
        tasks,
        reset_attempts=body.reset_attempts,
        reason=body.reason,
        dry_run=body.dry_run,
    )
    return JsonResponse(outcome)


async def _requested_tasks(
    request: Request, api: Api, client: LocalClient, body: BulkActionBody
) -> Sequence[Task]:
    """Return the tasks of a request. Raises Problem, InvalidInput, NotFound."""
    permission = _PERMISSIONS[body.action]
    if body.filter is None:
        ids = dict.fromkeys(body.ids or ())
        return [await read_authorized_task(request, api, TaskId(one), permission) for one in ids]
    await authorize(request, permission)
    visible = await _actionable_namespaces(request, permission)
    filter = body.filter.to_task_filter(visible, body.filter.attributes or {})
    tasks = await client.find_bulk_tasks(body.action, filter)
    allowed = {
        template: await is_allowed(request, permission, template)
        for template in {task.template for task in tasks}
    }
    return [task for task in tasks if allowed[task.template]]


async def _actionable_namespaces(request: Request, permission: Permission) -> frozenset[str] | None:
    """Return the namespaces in which the caller may both list tasks and act, or None for all."""
    listed = await visible_namespaces(request, TASKS_LIST)
    acted = await visible_namespaces(request, permission)
    if listed is None or acted is None:
        return acted if listed is None else listed
    return listed & acted

"""Snapshots of a task for pictures, reasons why it does not run, and previews of actions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from tasker.api.authorization import visible_namespaces
from tasker.api.conditions import IfNoneMatch
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import Line, TaskPath
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.tasks import MOST_ATTEMPTS, read_authorized_task, read_template_and_steps
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.api.views.snapshots import SnapshotView, snapshot_view
from tasker.model import Task, TaskFilter
from tasker.preview import ActionPreview, TaskAction, make_action_preview
from tasker.teams.permissions import TASKS_LIST, TASKS_READ
from tasker.why import Reason

routes = Routes("tasks", "/v1/tasks/{task_id}")

_MOST_CHILDREN = 100


@routes.add(
    "GET",
    "/snapshot",
    TASKS_READ,
    response=SnapshotView,
    extra_responses={304: ExtraResponse(None, "The snapshot's ETag still matches the request's.")},
    error_codes=("not_found",),
)
async def get_task_snapshot(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    if_none_match: IfNoneMatch,
    grouped: Annotated[
        bool,
        Query(description="Whether many steps with the same structure are shown as one group."),
    ] = True,
    open: Annotated[  # noqa: A002 - the parameter's name
        list[Line] | None, Query(description="Groups whose steps are listed.", max_length=100)
    ] = None,
) -> Response:
    """Read a task and its steps in columns, without contexts and results, to draw the task."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    visible = await visible_namespaces(request, TASKS_LIST)
    of_task = TaskFilter(parent_id=task.id, visible=visible)
    children = await api.store.list_tasks(of_task, limit=_MOST_CHILDREN)
    etag = _snapshot_etag(task, children)
    headers = {"ETag": f'"{etag}"'}
    if etag in if_none_match:
        return Response(status_code=304, headers=headers)
    loaded, steps = await read_template_and_steps(api, task)
    history = await api.store.list_attempts(task.id, limit=MOST_ATTEMPTS)
    now = datetime.now(UTC)

    def build_snapshot() -> SnapshotView:
        described = loaded.fill_derived_step_fields(steps, now)
        return snapshot_view(
            task, described, history, children, now, grouped=grouped, opened=open or ()
        )

    return await build_response(len(steps), build_snapshot, headers=headers, compressible=True)


def _snapshot_etag(task: Task, children: Sequence[Task]) -> str:
    """Return a string that changes whenever a snapshot changes, apart from its time."""
    facts = (task.etag, [(child.id, child.status.value) for child in children])
    return sha256(repr(facts).encode()).hexdigest()[:20]


@routes.add("GET", "/why", TASKS_READ, response=list[Reason], error_codes=("not_found",))
async def explain_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    step: Annotated[
        Line | None,
        Query(description="Name of a step. By default, the whole task is explained."),
    ] = None,
) -> JsonResponse:
    """Explain why a task or a step does not run, most important reason first."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    reasons = await api.client.why(task.id, step=step)
    return JsonResponse(reasons)


class ActionPreviewBody(RequestBody):
    """An action on a task."""

    action: TaskAction
    steps: Annotated[list[Line], Field(max_length=1000)] | None = None
    """Names of the steps. By default, all steps to which the action applies."""
    reset_attempts: bool = False
    """Whether retried steps get as many attempts as their retry policies allow instead of only one
    more."""

    @model_validator(mode="after")
    def _require_one_step(self) -> "ActionPreviewBody":
        if (
            self.action in (TaskAction.COMPLETE_STEP, TaskAction.SKIP_STEP)
            and len(self.steps or ()) != 1
        ):
            raise ValueError(f"{self.action.value} needs one step")
        return self


@routes.add(
    "POST",
    "/preview",
    TASKS_READ,
    response=ActionPreview,
    error_codes=(*READS_BODY, "not_found"),
)
async def preview_action(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[ActionPreviewBody, Depends(JsonBodyParser(ActionPreviewBody))],
) -> JsonResponse:
    """Preview what an action on a task would do, without performing it.

    Send the preview's `etag` as `If-Match` with the action, and it is rejected if the task has
    changed since.
    """
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded, steps = await read_template_and_steps(api, task)
    children = []
    if body.action is TaskAction.CANCEL:
        children = await api.store.list_attached_tasks(task.id, limit=_MOST_CHILDREN)
    described = loaded.fill_derived_step_fields(steps, datetime.now(UTC))
    return JsonResponse(
        make_action_preview(
            body.action,
            task,
            described,
            names=body.steps,
            children=children,
            reset_attempts=body.reset_attempts,
        )
    )

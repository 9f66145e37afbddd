"""A task as a picture, and why it does not run."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from starlette.requests import Request

from tasker.api.authorization import visible_namespaces
from tasker.api.dependencies import ApiOf
from tasker.api.fields import Line, TaskPath
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.tasks import MOST_ATTEMPTS, read_authorized_task, template_and_steps
from tasker.api.routing import Routes
from tasker.api.views.snapshots import SnapshotView, snapshot_view
from tasker.model import TaskFilter
from tasker.teams.permissions import TASKS_LIST, TASKS_READ
from tasker.why import Reason

routes = Routes("tasks", "/v1/tasks/{task_id}")

_MOST_CHILDREN = 100


@routes.add("GET", "/snapshot", TASKS_READ, response=SnapshotView, refuses=("not_found",))
async def get_task_snapshot(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    grouped: Annotated[
        bool, Query(description="Whether many steps of one shape are shown as a group.")
    ] = True,
    open: Annotated[  # noqa: A002 - the parameter's name
        list[Line] | None, Query(description="Groups whose steps are listed.", max_length=100)
    ] = None,
) -> JsonResponse:
    """Read a task and its steps in columns, without contexts and results, as a picture needs."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded, steps = await template_and_steps(api, task)
    history = await api.store.history(task.id, limit=MOST_ATTEMPTS)
    visible = await visible_namespaces(request, TASKS_LIST)
    of_task = TaskFilter(parent_id=task.id, visible=visible)
    children = await api.store.list_tasks(of_task, limit=_MOST_CHILDREN)
    now = datetime.now(UTC)

    def build() -> SnapshotView:
        described = loaded.described(steps, now)
        return snapshot_view(
            task, described, history, children, now, grouped=grouped, opened=open or ()
        )

    return await build_response(len(steps), build)


@routes.add("GET", "/why", TASKS_READ, response=list[Reason], refuses=("not_found",))
async def explain_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: Annotated[Line | None, Query(description="Name of a step; absent: the task.")] = None,
) -> JsonResponse:
    """Explain why a task or a step does not run, the most important reason first."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    reasons = await api.client.why(task.id, step=step)
    return JsonResponse(reasons)

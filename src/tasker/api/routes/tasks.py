"""Tasks: created, listed, read, and acted on."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.bodies import Body, JsonBody
from tasker.api.dependencies import Instant, Line, Namespace, TaskPath, Text, Uuid, Version
from tasker.api.problems import Problem
from tasker.api.responses import JsonReply
from tasker.api.routing import READS_BODY, Answer, Routes
from tasker.api.scope import CORRELATION, is_correlation_id
from tasker.api.state import Api, ApiOf
from tasker.api.submissions import BulkBody, NewTaskBody, create_many, create_one, template_of
from tasker.api.views.steps import (
    AttemptAnswer,
    AuditAnswer,
    StepReadiness,
    attempt_answer,
    audit_answer,
    readiness_of,
)
from tasker.api.views.summary import SummaryAnswer, summary_answer
from tasker.api.views.tasks import (
    SOURCE_TAG,
    TaskAnswer,
    TaskList,
    TasksCreated,
    task_answer,
)
from tasker.client import LocalClient
from tasker.client.templates import LoadedTemplate
from tasker.errors import NotFound
from tasker.model import Task, TaskFilter, TaskId, TaskStatus
from tasker.teams.permissions import (
    TASKS_CANCEL,
    TASKS_CREATE,
    TASKS_LIST,
    TASKS_READ,
    TASKS_RESOLVE,
    TASKS_RETRY,
    Permission,
)

routes = Routes("tasks", "/v1/tasks")


class TaskQuery(BaseModel):
    """Which tasks a list shows: those that fit everything said."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    namespace: Namespace | None = None
    name: Annotated[str, Field(max_length=128)] | None = None
    version: Version | None = None
    status: TaskStatus | None = None
    correlation_id: Line | None = None
    parent_id: Uuid | None = None
    tag: Line | None = None
    initiator: Line | None = None
    created_by: Line | None = None
    """The same as `initiator`."""
    source_system: Line | None = None
    created_after: Instant | None = None
    """Created then or later."""
    created_before: Instant | None = None
    """Created earlier."""
    cursor: Uuid | None = None
    """`next_cursor` of the answer that this one follows."""
    limit: int = Field(25, ge=1, le=100)
    """Most tasks of the answer."""


class CancelBody(Body):
    """Why a task is cancelled."""

    reason: Text = ""


class RetryBody(Body):
    """Which failed steps get another attempt, and why."""

    steps: list[Line] | None = None
    """Names; absent: all that failed."""
    reset_attempts: bool = False
    """Whether they get all their attempts again, rather than one more."""
    reason: Text = ""


class ResolveBody(Body):
    """Why a failed task counts as done."""

    reason: Text = ""


# --------------------------------------------------------------------- creating


@routes.add(
    "POST",
    "",
    TASKS_CREATE,
    answer=TaskAnswer,
    status=201,
    told="The task was created; `Location` tells where it is.",
    also={200: Answer(TaskAnswer, "The idempotency key had made this task before.")},
    refuses=(
        *READS_BODY,
        "not_found",
        "invalid_input",
        "idempotency_conflict",
        "template_not_approved",
    ),
)
async def create_task(
    request: Request, api: ApiOf, body: Annotated[NewTaskBody, Depends(JsonBody(NewTaskBody))]
) -> JsonReply:
    """Create a task."""
    template = template_of(body.name, body.namespace, body.version)
    return created(await create_one(api, request, body, template))


@routes.add(
    "POST",
    "/bulk",
    TASKS_CREATE,
    answer=TasksCreated,
    status=201,
    told="All were created, or found by their idempotency keys.",
    also={200: Answer(TasksCreated, "Idempotency keys had made all of these tasks before.")},
    refuses=(
        *READS_BODY,
        "not_found",
        "invalid_input",
        "idempotency_conflict",
        "template_not_approved",
    ),
)
async def create_tasks(
    request: Request, api: ApiOf, body: Annotated[BulkBody, Depends(JsonBody(BulkBody))]
) -> JsonReply:
    """Create tasks, all or none."""
    most = api.settings.bulk_tasks
    if len(body.tasks) > most:
        told = f"{len(body.tasks)} tasks are more than the {most:,} that one request may create"
        raise Problem("invalid_request", told, errors=[{"path": "$.tasks", "message": told}])
    tasks = await create_many(api, request, body.tasks)
    new = sum(task.created for task in tasks)
    answer: TasksCreated = {"tasks": [task_answer(task) for task in tasks], "created": new}
    return JsonReply(answer, 201 if new else 200)


def created(task: Task) -> JsonReply:
    """Answer with a task that was created, or found by its key."""
    return JsonReply(task_answer(task), 201 if task.created else 200, created_headers(task))


def created_headers(task: Task) -> dict[str, str]:
    """Tell where a task is, and what it is tied to."""
    headers = {"Location": f"/v1/tasks/{task.id}"}
    if is_correlation_id(task.correlation_id):
        headers[CORRELATION] = task.correlation_id
    return headers


# ---------------------------------------------------------------------- reading


@routes.add("GET", "", TASKS_LIST, answer=TaskList, refuses=("invalid_request",))
async def list_tasks(
    request: Request, api: ApiOf, query: Annotated[TaskQuery, Query()]
) -> JsonReply:
    """List tasks, newest first.

    Tasks that are created while a caller walks through the pages do not move them.
    """
    tags = [tag for tag in (query.tag, _source(query.source_system)) if tag]
    if len(tags) > 1:
        raise Problem("invalid_request", "A list is filtered by tag or by source_system, not both.")
    found = await api.store.list_tasks(
        TaskFilter(
            namespace=query.namespace,
            name=query.name,
            version=query.version,
            status=query.status,
            correlation_id=query.correlation_id,
            parent_id=TaskId(query.parent_id) if query.parent_id else None,
            tag=tags[0] if tags else None,
            created_by=query.created_by or query.initiator,
            created_after=query.created_after,
            created_before=query.created_before,
            visible=await visible_namespaces(request, TASKS_LIST),
        ),
        after=TaskId(query.cursor) if query.cursor else None,
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    more = len(found) > len(shown)
    answer: TaskList = {
        "tasks": [task_answer(task) for task in shown],
        "pagination": {
            "next_cursor": shown[-1].id if more else None,
            "has_next": more,
            "limit": query.limit,
        },
    }
    return JsonReply(answer)


def _source(name: str | None) -> str | None:
    return None if name is None else SOURCE_TAG + name


@routes.add(
    "GET", "/{task_id}", TASKS_READ, answer=TaskAnswer, refuses=("invalid_request", "not_found")
)
async def get_task(request: Request, api: ApiOf, task_id: TaskPath) -> JsonReply:
    """Read a task."""
    return await answer_of(api, await allowed_task(request, api, task_id, TASKS_READ))


@routes.add(
    "GET",
    "/{task_id}/summary",
    TASKS_READ,
    answer=SummaryAnswer,
    refuses=("invalid_request", "not_found"),
)
async def get_task_summary(request: Request, api: ApiOf, task_id: TaskPath) -> JsonReply:
    """Read how a task stands, without its context and results."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    shape, steps = await shape_of(api, task.id), await api.store.list_steps(task.id)
    return JsonReply(summary_answer(task, shape, steps, datetime.now(UTC)))


@routes.add(
    "GET",
    "/{task_id}/history",
    TASKS_READ,
    answer=list[AttemptAnswer],
    refuses=("invalid_request", "not_found"),
)
async def get_task_history(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> JsonReply:
    """List the attempts of all its steps that ended, oldest first."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    found = await api.store.history(task.id, limit=limit)
    return JsonReply([attempt_answer(attempt) for attempt in found])


@routes.add(
    "GET",
    "/{task_id}/audit",
    TASKS_READ,
    answer=list[AuditAnswer],
    refuses=("invalid_request", "not_found"),
)
async def get_task_audit(request: Request, api: ApiOf, task_id: TaskPath) -> JsonReply:
    """List what operators did to it, oldest first."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    return JsonReply([audit_answer(entry) for entry in await api.store.audit(task.id)])


# ----------------------------------------------------------------------- acting


@routes.add(
    "DELETE",
    "/{task_id}",
    TASKS_CANCEL,
    answer=TaskAnswer,
    refuses=("invalid_request", "not_found", "wrong_state"),
)
async def delete_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    reason: Annotated[Text, Query(description="For the audit.")] = "",
) -> JsonReply:
    """Cancel a task: it is kept, and none of its steps runs any more."""
    return await _cancel(request, api, task_id, reason)


@routes.add(
    "POST",
    "/{task_id}/cancel",
    TASKS_CANCEL,
    answer=TaskAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def cancel_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    body: Annotated[CancelBody, Depends(JsonBody(CancelBody, optional=True))],
) -> JsonReply:
    """Cancel a task, with a reason."""
    return await _cancel(request, api, task_id, body.reason)


async def _cancel(request: Request, api: Api, task_id: TaskId, reason: str) -> JsonReply:
    task = await allowed_task(request, api, task_id, TASKS_CANCEL)
    return await answer_of(api, await acting(request, api).cancel(task.id, reason=reason))


@routes.add(
    "POST",
    "/{task_id}/retry",
    TASKS_RETRY,
    answer=TaskAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def retry_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    body: Annotated[RetryBody, Depends(JsonBody(RetryBody, optional=True))],
) -> JsonReply:
    """Give failed steps another attempt; a task that failed is open again."""
    task = await allowed_task(request, api, task_id, TASKS_RETRY)
    retried = await acting(request, api).retry(
        task.id, steps=body.steps, reset_attempts=body.reset_attempts, reason=body.reason
    )
    return await answer_of(api, retried)


@routes.add(
    "POST",
    "/{task_id}/resolve",
    TASKS_RESOLVE,
    answer=TaskAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def resolve_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    body: Annotated[ResolveBody, Depends(JsonBody(ResolveBody, optional=True))],
) -> JsonReply:
    """Declare a failed task done."""
    task = await allowed_task(request, api, task_id, TASKS_RESOLVE)
    return await answer_of(api, await acting(request, api).resolve(task.id, reason=body.reason))


# ---------------------------------------------------------------------- inwards


async def allowed_task(request: Request, api: Api, task_id: TaskId, permission: Permission) -> Task:
    """Read a task on which the caller may use `permission`. Raises NotFound, Problem."""
    task = await api.store.get_task(TaskId(task_id.lower()))
    namespace, name, version = task.template
    await authorize(
        request,
        permission,
        namespace=namespace,
        name=name,
        version=version,
        missing=f"there is no task {task.id}",
    )
    return task


async def shape_of(api: Api, task_id: TaskId) -> LoadedTemplate:
    """Tell the template of a task, as it was when the task was created."""
    found = await api.store.load_tasks([task_id])
    if not found:
        raise NotFound(f"there is no task {task_id}")
    return await api.catalogue.shape(found[0].template_id)


def acting(request: Request, api: Api) -> LocalClient:
    """Tell the client by which the caller acts."""
    return api.client.acting_as(request.state.principal.name)


async def answer_of(api: Api, task: Task, status: int = 200) -> JsonReply:
    """Answer with a task and how its steps stand."""
    return JsonReply(task_answer(task, await readiness(api, task)), status)


async def readiness(api: Api, task: Task) -> list[StepReadiness]:
    """Tell how the steps of a task stand."""
    shape, steps = await shape_of(api, task.id), await api.store.list_steps(task.id)
    return readiness_of(task, shape, steps, datetime.now(UTC))

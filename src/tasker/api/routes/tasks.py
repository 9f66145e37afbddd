"""Tasks: creating, listing, reading, and operator actions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse

from tasker.api.authorization import (
    access_channel_of,
    audit_actor_of,
    authorize,
    listable_task_namespaces,
    masker_of,
    principal_of,
)
from tasker.api.conditions import IfMatch, IfNoneMatch, etag_headers
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import Attribute, Instant, Line, Namespace, TaskPath, Text, Uuid, Version
from tasker.api.headers import CORRELATION, is_valid_correlation_id
from tasker.api.problems import Problem, RequestFault
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.api.task_requests import (
    NewTaskBody,
    NewTasksBody,
    create_requested_task,
    create_requested_tasks,
    template_reference_of,
)
from tasker.api.views.tasks import (
    TaskList,
    TasksCreated,
    TaskView,
    TaskWithStepsSummaryView,
    task_and_step_summaries_view,
    task_view,
)
from tasker.client import LocalClient
from tasker.client.templates import LoadedTemplate
from tasker.limits import STEPS_PAGE
from tasker.masking import DataOwner
from tasker.model import (
    Attempt,
    AuditEntry,
    CompensationStatus,
    CurrentStep,
    RevealedTask,
    Step,
    Task,
    TaskCounts,
    TaskFilter,
    TaskId,
    TaskStatus,
)
from tasker.store.operator_rules import unknown_task_error
from tasker.teams.permissions import (
    PAYLOADS_REVEAL,
    TASKS_CANCEL,
    TASKS_CREATE,
    TASKS_LIST,
    TASKS_PAUSE,
    TASKS_READ,
    TASKS_RESOLVE,
    TASKS_RETRY,
    Permission,
)
from tasker.times import TaskTimes, compute_task_times

routes = Routes("tasks", "/v1/tasks")

CREATES = (
    *READS_BODY,
    "not_found",
    "invalid_input",
    "idempotency_conflict",
    "task_exists",
    "template_not_approved",
)
MOST_ATTEMPTS = 10_000  #: attempts of a task in one response
_MISSING = ("not_found",)
_ACTS = (*READS_BODY, "not_found", "task_exists", "wrong_status", "task_changed")


class TaskCriteriaWithoutStatus(BaseModel):
    """Criteria for tasks of every status, combined with AND."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    namespace: Namespace | None = None
    name: Annotated[str, Field(max_length=128)] | None = None
    version: Version | None = None
    correlation_id: Line | None = None
    parent_id: Uuid | None = None
    schedule_id: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    """The schedule that created the tasks."""
    tag: Line | None = None
    created_by: Line | None = None
    idempotency_key: Line | None = None
    failed_step: Line | None = None
    """Name of a step that failed permanently."""
    error_code: Line | None = None
    """The `code` of a failed step's error."""
    compensation: CompensationStatus | None = None
    """Status of the compensation of failed and cancelled tasks."""
    created_after: Instant | None = None
    """Earliest time of creation."""
    created_before: Instant | None = None
    """Time before which the tasks were created."""

    def to_task_filter(
        self, visible: frozenset[str] | None, attributes: Mapping[str, str]
    ) -> TaskFilter:
        """Return the store's filter, restricted to the namespaces that the caller may see."""
        fields = {name: getattr(self, name, None) for name in TaskCriteria.model_fields}
        return TaskFilter(visible=visible, attributes=attributes, **fields)


class TaskCriteria(TaskCriteriaWithoutStatus):
    """Criteria for tasks, combined with AND."""

    status: TaskStatus | None = None


class AttributeQuery(BaseModel):
    """Filters by attributes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    attribute: Annotated[list[Attribute], Field(max_length=20)] = Field(default_factory=list)
    """An attribute as `NAME=VALUE`. The parameter may be repeated, but each name may occur only
    once."""

    @field_validator("attribute")
    @classmethod
    def _reject_repeated_names(cls, attribute: list[str]) -> list[str]:
        names = [pair.partition("=")[0] for pair in attribute]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"has {sorted(twice)[0]} twice")
        return attribute

    @property
    def attributes(self) -> Mapping[str, str]:
        """The attributes by name."""
        return dict(pair.split("=", 1) for pair in self.attribute)


class TaskQuery(AttributeQuery, TaskCriteria):
    """Filters of a task list, combined with AND."""

    cursor: Uuid | None = None
    """`next_cursor` of the previous page."""
    limit: int = Field(25, ge=1, le=100)
    """Maximum number of tasks in a page."""
    current: bool = False
    """Whether each task includes its `current` step."""


class TaskCountQuery(AttributeQuery, TaskCriteriaWithoutStatus):
    """Filters of counted tasks, combined with AND."""


class CancelBody(RequestBody):
    """Cancels a task."""

    reason: Text = ""


class RetryBody(RequestBody):
    """Gives failed steps another attempt."""

    steps: Annotated[list[Line], Field(max_length=STEPS_PAGE)] | None = None
    """Names of the steps to retry. By default, all failed steps."""
    reset_attempts: bool = False
    """Whether the steps get as many attempts as their retry policies allow instead of only one
    more."""
    fresh: bool = False
    """Whether the records of the steps' durable calls are deleted, so that the calls are
    repeated."""
    reason: Text = ""


class PauseBody(RequestBody):
    """Pauses or resumes something."""

    reason: Text = ""


PauseReason = Annotated[PauseBody, Depends(JsonBodyParser(PauseBody, optional=True))]


class ResolveBody(RequestBody):
    """Marks a failed task as done."""

    reason: Text = ""


# --------------------------------------------------------------------- creating


@routes.add(
    "POST",
    "",
    TASKS_CREATE,
    response=TaskView,
    status=201,
    description="The task was created; `Location` is its URL.",
    extra_responses={
        200: ExtraResponse(TaskView, "A task with this idempotency key already exists.")
    },
    error_codes=CREATES,
)
async def create_task(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[NewTaskBody, Depends(JsonBodyParser(NewTaskBody))],
) -> JsonResponse:
    """Create a task."""
    template = template_reference_of(body.name, body.namespace, body.version)
    return created_task_response(await create_requested_task(api, request, body, template))


@routes.add(
    "POST",
    "/bulk",
    TASKS_CREATE,
    response=TasksCreated,
    status=201,
    description="Each task was created or already existed under its idempotency key.",
    extra_responses={
        200: ExtraResponse(TasksCreated, "All tasks already existed under their idempotency keys.")
    },
    error_codes=CREATES,
)
async def create_tasks(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[NewTasksBody, Depends(JsonBodyParser(NewTasksBody))],
) -> JsonResponse:
    """Create several tasks in one transaction."""
    most = api.settings.bulk_tasks
    if len(body.tasks) > most:
        message = f"must have at most {most:,} tasks, not {len(body.tasks):,}"
        fault: RequestFault = {"path": "$.tasks", "message": message}
        raise Problem("invalid_request", f"$.tasks {message}", errors=[fault])
    tasks = await create_requested_tasks(api, request, body.tasks)
    new = sum(task.created for task in tasks)
    answer: TasksCreated = {"tasks": [task_view(task) for task in tasks], "created": new}
    return JsonResponse(answer, 201 if new else 200)


def created_task_response(task: Task) -> JsonResponse:
    """Respond with a new task, or with the one that already has the idempotency key."""
    return JsonResponse(task_view(task), 201 if task.created else 200, created_task_headers(task))


def created_task_headers(task: Task) -> dict[str, str]:
    """Return the headers with a task's URL and correlation id."""
    headers = {"Location": f"/v1/tasks/{task.id}"}
    if is_valid_correlation_id(task.correlation_id):
        headers[CORRELATION] = task.correlation_id
    return headers


# ---------------------------------------------------------------------- reading


@routes.add("GET", "", TASKS_LIST, response=TaskList)
async def list_tasks(
    request: Request, api: ApiServicesOf, query: Annotated[TaskQuery, Query()]
) -> JsonResponse:
    """List tasks, newest first.

    Tasks created in the meantime do not shift later pages.
    """
    visible = await listable_task_namespaces(request, TASKS_LIST, query.attributes)

    async def list_page() -> JsonResponse:
        tasks = await api.store.list_tasks(
            query.to_task_filter(visible, query.attributes),
            after=TaskId(query.cursor) if query.cursor else None,
            limit=query.limit + 1,
        )
        shown = [task.id for task in tasks[: query.limit]]
        current = await api.store.current_steps(shown) if query.current else {}
        return JsonResponse(build_task_page(tasks, query.limit, current))

    return await api.shared.respond(request, (query.model_dump_json(), visible), list_page)


@routes.add("GET", "/counts", TASKS_LIST, response=TaskCounts)
async def count_tasks(
    request: Request, api: ApiServicesOf, query: Annotated[TaskCountQuery, Query()]
) -> JsonResponse:
    """Count tasks by status, up to 10,000 of each status."""
    visible = await listable_task_namespaces(request, TASKS_LIST, query.attributes)

    async def build_task_counts() -> JsonResponse:
        filter = query.to_task_filter(visible, query.attributes)
        return JsonResponse(await api.client.count_tasks(filter))

    return await api.shared.respond(request, (query.model_dump_json(), visible), build_task_counts)


def build_task_page(
    tasks: Sequence[Task], limit: int, current: Mapping[TaskId, CurrentStep] | None = None
) -> TaskList:
    """Return a page of at most `limit` tasks from a list of up to `limit + 1`."""
    shown, more = tasks[:limit], len(tasks) > limit
    return {
        "tasks": [task_view(task, current=(current or {}).get(task.id)) for task in shown],
        "pagination": {
            "next_cursor": shown[-1].id if more else None,
            "has_next": more,
            "limit": limit,
        },
    }


@routes.add(
    "GET",
    "/{task_id}",
    TASKS_READ,
    response=TaskView,
    extra_responses={304: ExtraResponse(None, "The task's ETag still matches the request's.")},
    error_codes=_MISSING,
)
async def get_task(
    request: Request, api: ApiServicesOf, task_id: TaskPath, if_none_match: IfNoneMatch
) -> StarletteResponse:
    """Read a task."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    if task.etag in if_none_match:
        return StarletteResponse(status_code=304, headers=etag_headers(task))
    return await task_response(api, task)


@routes.add(
    "GET",
    "/{task_id}/summary",
    TASKS_READ,
    response=TaskWithStepsSummaryView,
    error_codes=_MISSING,
)
async def get_task_and_step_statuses(
    request: Request, api: ApiServicesOf, task_id: TaskPath
) -> JsonResponse:
    """Return the statuses of a task and its steps, without their data."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded, steps = await read_template_and_steps(api, task)
    now = datetime.now(UTC)
    return await build_response(
        len(steps),
        lambda: task_and_step_summaries_view(task, loaded.fill_derived_step_fields(steps, now)),
    )


@routes.add(
    "GET",
    "/{task_id}/attempts",
    TASKS_READ,
    response=list[Attempt],
    error_codes=_MISSING,
)
async def list_task_attempts(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    limit: Annotated[int, Query(ge=1, le=MOST_ATTEMPTS)] = 1000,
) -> JsonResponse:
    """List the ended attempts of all steps of a task, oldest first."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    return JsonResponse(await api.store.list_attempts(task.id, limit=limit))


@routes.add(
    "GET",
    "/{task_id}/audit",
    TASKS_READ,
    response=list[AuditEntry],
    error_codes=_MISSING,
)
async def get_task_audit(request: Request, api: ApiServicesOf, task_id: TaskPath) -> JsonResponse:
    """List operator actions on a task, oldest first."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    return JsonResponse(await api.store.list_audit_entries(task.id))


# ----------------------------------------------------------------------- acting


@routes.add(
    "POST",
    "/{task_id}/cancel",
    TASKS_CANCEL,
    response=TaskView,
    error_codes=_ACTS,
)
async def cancel_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[CancelBody, Depends(JsonBodyParser(CancelBody, optional=True))],
    if_match: IfMatch,
) -> JsonResponse:
    """Cancel a task: no further step starts, and the results of running attempts are discarded
    unless the task is compensated."""
    task = await read_authorized_task(request, api, task_id, TASKS_CANCEL)
    return await task_response(
        api,
        await operator_client(request, api).cancel(task.id, reason=body.reason, if_match=if_match),
    )


@routes.add(
    "POST",
    "/{task_id}/retry",
    TASKS_RETRY,
    response=TaskView,
    error_codes=_ACTS,
)
async def retry_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[RetryBody, Depends(JsonBodyParser(RetryBody, optional=True))],
    if_match: IfMatch,
) -> JsonResponse:
    """Give failed steps another attempt; a failed task is reopened."""
    task = await read_authorized_task(request, api, task_id, TASKS_RETRY)
    retried = await operator_client(request, api).retry(
        task.id,
        steps=body.steps,
        reset_attempts=body.reset_attempts,
        fresh=body.fresh,
        reason=body.reason,
        if_match=if_match,
    )
    return await task_response(api, retried)


@routes.add(
    "POST",
    "/{task_id}/resolve",
    TASKS_RESOLVE,
    response=TaskView,
    error_codes=_ACTS,
)
async def resolve_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[ResolveBody, Depends(JsonBodyParser(ResolveBody, optional=True))],
    if_match: IfMatch,
) -> JsonResponse:
    """Mark a failed task as done."""
    task = await read_authorized_task(request, api, task_id, TASKS_RESOLVE)
    return await task_response(
        api,
        await operator_client(request, api).resolve(task.id, reason=body.reason, if_match=if_match),
    )


class RevealBody(RequestBody):
    """Reveals masked data."""

    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00]*\S[^\x00]*$")
    ]
    """The reason, which the audit log records."""
    step: Line | None = None
    """Name of a step. By default, the task and its steps (at most 1,000) are revealed."""


@routes.add(
    "POST",
    "/{task_id}/reveal",
    PAYLOADS_REVEAL,
    response=RevealedTask,
    error_codes=(*READS_BODY, "not_found"),
)
async def reveal_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[RevealBody, Depends(JsonBodyParser(RevealBody))],
) -> JsonResponse:
    """Read the data of a task unmasked. The audit log of the task records who did it and why."""
    task = await read_authorized_task(request, api, task_id, PAYLOADS_REVEAL)
    client = operator_client(request, api)
    revealed = await client.reveal(task.id, reason=body.reason, step=body.step)
    return JsonResponse(revealed, revealed=True)


@routes.add("POST", "/{task_id}/pause", TASKS_PAUSE, response=TaskView, error_codes=_ACTS)
async def pause_task(
    request: Request, api: ApiServicesOf, task_id: TaskPath, body: PauseReason, if_match: IfMatch
) -> JsonResponse:
    """Pause a task: no new steps start; running attempts continue."""
    task = await read_authorized_task(request, api, task_id, TASKS_PAUSE)
    client = operator_client(request, api)
    await client.pause(task.id, reason=body.reason, if_match=if_match)
    return await task_response(api, await api.store.get_task(task.id))


@routes.add("POST", "/{task_id}/resume", TASKS_PAUSE, response=TaskView, error_codes=_ACTS)
async def resume_task(
    request: Request, api: ApiServicesOf, task_id: TaskPath, body: PauseReason, if_match: IfMatch
) -> JsonResponse:
    """Resume a task. It stays paused while its template, a queue or its namespace is."""
    task = await read_authorized_task(request, api, task_id, TASKS_PAUSE)
    client = operator_client(request, api)
    await client.resume(task.id, reason=body.reason, if_match=if_match)
    return await task_response(api, await api.store.get_task(task.id))


# ----------------------------------------------------------------------- shared


async def read_authorized_task(
    request: Request, api: ApiServices, task_id: TaskId, permission: Permission
) -> Task:
    """Read a task on which the caller may use `permission`. Raises NotFound, Problem."""
    task = await api.store.get_task(TaskId(task_id.lower()))
    namespace, name, version = task.template
    await authorize(
        request,
        permission,
        namespace=namespace,
        name=name,
        version=version,
        not_found_message=str(unknown_task_error(task.id)),
    )
    masker_of(request).owner = DataOwner(namespace, name, version, task.id, task.parent_id)
    return task


async def read_template_of_task(api: ApiServices, task_id: TaskId) -> LoadedTemplate:
    """Return a task's template as it was when the task was created."""
    inputs = await api.store.load_task_inputs([task_id])
    if not inputs:
        raise unknown_task_error(task_id)
    return await api.templates.load_by_id(inputs[0].template_id)


def caller_client(request: Request, api: ApiServices) -> LocalClient:
    """Return the client that acts under the caller's own name."""
    return api.client.acting_as(principal_of(request).name, access_channel_of(request))


def operator_client(request: Request, api: ApiServices) -> LocalClient:
    """Return the client for actions on tasks; its name includes the person on whose behalf the
    caller acts.
    """
    return api.client.acting_as(audit_actor_of(request), access_channel_of(request))


async def read_template_and_steps(
    api: ApiServices, task: Task
) -> tuple[LoadedTemplate, list[Step]]:
    """Return a task's template and its first 10,000 steps."""
    return (
        await read_template_of_task(api, task.id),
        await api.store.list_steps(task.id, limit=STEPS_PAGE),
    )


async def task_response(api: ApiServices, task: Task, status: int = 200) -> JsonResponse:
    """Respond with a task and its steps."""
    loaded, steps = await read_template_and_steps(api, task)
    history = await api.store.list_attempts(task.id, limit=MOST_ATTEMPTS)

    def build_task_view() -> TaskView:
        now = datetime.now(UTC)
        times = compute_task_times(task, steps, history, now)
        return task_view(task, loaded.fill_derived_step_fields(steps, now, times), times.task)

    return await build_response(len(steps), build_task_view, status, etag_headers(task))


async def read_task_phase_times(
    api: ApiServices, task: Task, steps: Sequence[Step], now: datetime, *, no: int | None = None
) -> TaskTimes:
    """Return the time of a task's steps by phase; `no` selects a single step."""
    history = await api.store.list_attempts(task.id, no=no, limit=MOST_ATTEMPTS)
    return compute_task_times(task, steps, history, now)

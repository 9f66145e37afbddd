"""Routes of the Rust core: `/compat/core` is the base URL of its clients."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field, RootModel
from starlette.requests import Request

from tasker import codec
from tasker.analytics.model import MOST_HOURS, AnalysisWindow
from tasker.api.auth.principal import Principal
from tasker.api.authorization import access_channel_of, authorize, principal_of, visible_namespaces
from tasker.api.compat.core_views import (
    CoreBottlenecks,
    CorePerformance,
    CoreStep,
    CoreStepAttempt,
    CoreTask,
    CoreTaskList,
    CoreTaskSummary,
    CoreTemplateDetail,
    CoreTemplateList,
    core_bottlenecks,
    core_performance,
    core_step,
    core_step_attempt,
    core_task,
    core_task_page,
    core_task_summary,
    core_template,
    core_template_list,
    step_uuid,
)
from tasker.api.compat.errors import CORE
from tasker.api.compat.requests import CompatTaskBody, CompatTaskStatus, source_tag
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import Line, NamePath, Namespace, NamespacePath, TaskPath, Text, VersionPath
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.steps import find_step_number_and_name
from tasker.api.routes.tasks import (
    CREATES,
    created_task_headers,
    operator_client,
    read_authorized_task,
    read_template_and_steps,
    read_template_of_task,
)
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.api.task_requests import create_requested_task, template_reference_of
from tasker.client.templates import LoadedTemplate
from tasker.errors import NotFound
from tasker.model import Task, TaskFilter, TaskId
from tasker.teams.permissions import (
    ANALYTICS_READ,
    STEPS_READ,
    STEPS_RESOLVE,
    STEPS_RETRY,
    TASKS_CANCEL,
    TASKS_CREATE,
    TASKS_LIST,
    TASKS_READ,
    TEMPLATES_LIST,
    TEMPLATES_READ,
)

routes = Routes("core", f"{CORE}/v1")

_MISSING = ("not_found",)
_STEPS = "/tasks/{task_id}/workflow_steps"
_STEP = _STEPS + "/{step_uuid}"
_MOST = 1000  #: tasks that can be reached by page

StepUuid = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]


class CoreTaskQuery(BaseModel):
    """Filters of a task list, combined with AND."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    page: int = Field(1, ge=1)
    per_page: int = Field(25, ge=1, le=100)
    namespace: Namespace | None = None
    status: CompatTaskStatus | None = None
    """`completed` stands for `complete`, and `failed` for `error`."""
    initiator: Line | None = None
    source_system: Line | None = None


class ManualCompletionData(RequestBody):
    """The result of a step that is completed by hand."""

    result: Any = None
    metadata: dict[str, Any] | None = None
    """Additional data, stored in the audit log together with the reason."""


class ResetForRetryBody(RequestBody):
    """Lets a failed step start over with all its attempts."""

    action_type: Literal["reset_for_retry"]
    reason: Text = ""
    reset_by: Line | None = None
    """Ignored if the caller is authenticated."""


class ResolveManuallyBody(RequestBody):
    """Marks a step as done by other means."""

    action_type: Literal["resolve_manually"]
    reason: Text = ""
    resolved_by: Line | None = None
    """Ignored if the caller is authenticated."""


class CompleteManuallyBody(RequestBody):
    """Completes a step with a result, as if its handler had returned it."""

    action_type: Literal["complete_manually"]
    completion_data: ManualCompletionData
    reason: Text = ""
    completed_by: Line | None = None
    """Ignored if the caller is authenticated."""


class StepActionBody(
    RootModel[
        Annotated[
            ResetForRetryBody | ResolveManuallyBody | CompleteManuallyBody,
            Field(discriminator="action_type"),
        ]
    ]
):
    """An operator's action on a step."""


# ------------------------------------------------------------------------ tasks


@routes.add(
    "POST",
    "/tasks",
    TASKS_CREATE,
    response=CoreTask,
    status=201,
    description="The task was created.",
    extra_responses={
        200: ExtraResponse(CoreTask, "A task with this idempotency key already exists.")
    },
    error_codes=CREATES,
)
async def create_core_task(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[CompatTaskBody, Depends(JsonBodyParser(CompatTaskBody))],
) -> JsonResponse:
    """Create a task."""
    template = template_reference_of(body.name, body.namespace, body.version)
    task = await create_requested_task(api, request, body.to_new_task_fields(), template)
    view = core_task(task)
    return JsonResponse(view, 201 if task.created else 200, created_task_headers(task))


@routes.add("GET", "/tasks", TASKS_LIST, response=CoreTaskList)
async def list_core_tasks(
    request: Request, api: ApiServicesOf, query: Annotated[CoreTaskQuery, Query()]
) -> JsonResponse:
    """List tasks, newest first, at most the first 1,000."""
    last = query.page * query.per_page
    if last > _MOST:
        raise Problem(
            "invalid_request",
            f"query.page: only the newest {_MOST:,} tasks can be listed; /v1/tasks lists more",
        )
    tasks = await api.store.list_tasks(
        TaskFilter(
            namespace=query.namespace,
            status=query.status.status if query.status else None,
            created_by=query.initiator,
            tag=source_tag(query.source_system) if query.source_system else None,
            visible=await visible_namespaces(request, TASKS_LIST),
        ),
        limit=last + 1,
    )
    return JsonResponse(core_task_page(tasks, query.page, query.per_page))


@routes.add("GET", "/tasks/{task_id}", TASKS_READ, response=CoreTask, error_codes=_MISSING)
async def get_core_task(request: Request, api: ApiServicesOf, task_id: TaskPath) -> JsonResponse:
    """Read a task."""
    return await _task_response(api, await read_authorized_task(request, api, task_id, TASKS_READ))


@routes.add(
    "DELETE",
    "/tasks/{task_id}",
    TASKS_CANCEL,
    response=CoreTask,
    error_codes=(*_MISSING, "wrong_status"),
)
async def cancel_core_task(request: Request, api: ApiServicesOf, task_id: TaskPath) -> JsonResponse:
    """Cancel a task."""
    task = await read_authorized_task(request, api, task_id, TASKS_CANCEL)
    return await _task_response(api, await operator_client(request, api).cancel(task.id))


@routes.add(
    "GET", "/tasks/{task_id}/summary", TASKS_READ, response=CoreTaskSummary, error_codes=_MISSING
)
async def get_core_task_summary(
    request: Request, api: ApiServicesOf, task_id: TaskPath
) -> JsonResponse:
    """Read the status of a task and its steps, without context and results."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded, steps = await read_template_and_steps(api, task)
    now = datetime.now(UTC)
    return await build_response(
        len(steps),
        lambda: core_task_summary(task, loaded, loaded.fill_derived_step_fields(steps, now)),
    )


async def _task_response(api: ApiServices, task: Task) -> JsonResponse:
    loaded, steps = await read_template_and_steps(api, task)
    now = datetime.now(UTC)
    return await build_response(
        len(steps), lambda: core_task(task, loaded.fill_derived_step_fields(steps, now))
    )


# ------------------------------------------------------------------------ steps


@routes.add("GET", _STEPS, STEPS_READ, response=list[CoreStep], error_codes=_MISSING)
async def list_core_steps(request: Request, api: ApiServicesOf, task_id: TaskPath) -> JsonResponse:
    """List a task's steps."""
    task = await read_authorized_task(request, api, task_id, STEPS_READ)
    loaded, steps = await read_template_and_steps(api, task)
    now = datetime.now(UTC)
    return await build_response(
        len(steps),
        lambda: [core_step(task, step) for step in loaded.fill_derived_step_fields(steps, now)],
    )


@routes.add("GET", _STEP, STEPS_READ, response=CoreStep, error_codes=_MISSING)
async def get_core_step(
    request: Request, api: ApiServicesOf, task_id: TaskPath, step_uuid: StepUuid
) -> JsonResponse:
    """Read a step."""
    task = await read_authorized_task(request, api, task_id, STEPS_READ)
    loaded = await read_template_of_task(api, task.id)
    no, _ = await _find_step_number_and_name(api, loaded, task.id, step_uuid)
    return await _step_response(api, task, loaded, no)


@routes.add(
    "GET", _STEP + "/audit", STEPS_READ, response=list[CoreStepAttempt], error_codes=_MISSING
)
async def list_core_attempts(
    request: Request, api: ApiServicesOf, task_id: TaskPath, step_uuid: StepUuid
) -> JsonResponse:
    """List a step's ended attempts, newest first."""
    task = await read_authorized_task(request, api, task_id, STEPS_READ)
    no, _ = await _find_step_number_and_name(
        api, await read_template_of_task(api, task.id), task.id, step_uuid
    )
    attempts = await api.store.list_attempts(task.id, no=no)
    step = (await api.store.list_steps(task.id, after=no - 1, limit=1))[0]
    return JsonResponse([core_step_attempt(task, step, attempt) for attempt in reversed(attempts)])


@routes.add(
    "PATCH",
    _STEP,
    STEPS_RESOLVE,
    STEPS_RETRY,
    response=CoreStep,
    error_codes=(*READS_BODY, "not_found", "wrong_status"),
)
async def perform_core_step_action(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    step_uuid: StepUuid,
    body: Annotated[StepActionBody, Depends(JsonBodyParser(StepActionBody))],
) -> JsonResponse:
    """Retry, resolve or complete a step manually; its task continues."""
    action = body.root
    permission = STEPS_RETRY if isinstance(action, ResetForRetryBody) else STEPS_RESOLVE
    task = await read_authorized_task(request, api, task_id, permission)
    loaded = await read_template_of_task(api, task.id)
    no, name = await _find_step_number_and_name(api, loaded, task.id, step_uuid)
    changed = await _perform_step_action(request, api, task.id, name, action)
    return await _step_response(api, changed, loaded, no)


async def _perform_step_action(
    request: Request,
    api: ApiServices,
    task_id: TaskId,
    step: str,
    action: ResetForRetryBody | ResolveManuallyBody | CompleteManuallyBody,
) -> Task:
    caller, reason = principal_of(request), action.reason
    if isinstance(action, ResetForRetryBody):
        client = api.client.acting_as(
            _resolve_actor(action.reset_by, caller), access_channel_of(request)
        )
        return await client.retry(task_id, steps=[step], reset_attempts=True, reason=reason)
    if isinstance(action, ResolveManuallyBody):
        client = api.client.acting_as(
            _resolve_actor(action.resolved_by, caller), access_channel_of(request)
        )
        return await client.resolve(task_id, step, reason=reason)
    client = api.client.acting_as(
        _resolve_actor(action.completed_by, caller), access_channel_of(request)
    )
    data = action.completion_data
    if data.metadata:
        reason = f"{reason} (metadata: {codec.dumps(data.metadata, what='the metadata')})".strip()
    return await client.complete_step(task_id, step, data.result, reason=reason)


def _resolve_actor(name: str | None, caller: Principal) -> str:
    """Return the actor: the caller if it is authenticated, otherwise the name in the body."""
    return name if name and not caller.known else caller.name


async def _find_step_number_and_name(
    api: ApiServices, loaded: LoadedTemplate, task_id: TaskId, step: str
) -> tuple[int, str]:
    """Return a step's number and name from its UUID, name or number. Raises NotFound."""
    if len(step) != 36:
        return await find_step_number_and_name(api, loaded, task_id, step)
    for no, name in enumerate(loaded.graph.names, start=1):
        if step_uuid(task_id, name) == step.lower():
            return no, name
    raise NotFound(f"task {task_id} has no step {step}")


async def _step_response(
    api: ApiServices, task: Task, loaded: LoadedTemplate, no: int
) -> JsonResponse:
    steps = await api.store.list_steps(task.id, after=no - 1, limit=1)
    (step,) = loaded.fill_derived_step_fields(steps, datetime.now(UTC))
    return JsonResponse(core_step(task, step))


# -------------------------------------------------------- templates and analytics


@routes.add("GET", "/templates", TEMPLATES_LIST, response=CoreTemplateList)
async def list_core_templates(
    request: Request, api: ApiServicesOf, namespace: Namespace | None = None
) -> JsonResponse:
    """List approved template versions."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    templates = [
        stored
        for stored in await api.store.list_approved_templates(namespace=namespace)
        if visible is None or stored.template.namespace in visible
    ]
    infos = await api.store.list_namespaces()
    descriptions = {info.name: info.policy.description for info in infos if info.policy}
    return JsonResponse(core_template_list(templates, descriptions))


@routes.add(
    "GET",
    "/templates/{namespace}/{name}/{version}",
    TEMPLATES_READ,
    response=CoreTemplateDetail,
    error_codes=(*_MISSING, "invalid_input", "template_not_approved"),
)
async def get_core_template(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    version: VersionPath,
) -> JsonResponse:
    """Read a template version."""
    await authorize(request, TEMPLATES_READ, namespace=namespace, name=name, version=version)
    loaded = await api.templates.load_by_name(name, namespace, version)
    return JsonResponse(core_template(loaded.stored))


@routes.add("GET", "/analytics/performance", ANALYTICS_READ, response=CorePerformance)
async def get_core_performance(
    request: Request, api: ApiServicesOf, hours: Annotated[float, Query(gt=0, le=MOST_HOURS)] = 24
) -> JsonResponse:
    """Report durations, rates and outcomes of the tasks of the last hours."""
    await authorize(request, ANALYTICS_READ)
    visible = await visible_namespaces(request, ANALYTICS_READ)
    figures = await api.store.performance(AnalysisWindow(hours=hours, visible=visible))
    return JsonResponse(core_performance(figures))


@routes.add("GET", "/analytics/bottlenecks", ANALYTICS_READ, response=CoreBottlenecks)
async def get_core_bottlenecks(
    request: Request,
    api: ApiServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    min_executions: Annotated[int, Query(ge=1, le=1_000_000)] = 5,
) -> JsonResponse:
    """Report slow steps and tasks of the last 24 hours."""
    await authorize(request, ANALYTICS_READ)
    visible = await visible_namespaces(request, ANALYTICS_READ)
    figures = await api.store.bottlenecks(
        AnalysisWindow(visible=visible), limit=limit, min_executions=min_executions
    )
    return JsonResponse(core_bottlenecks(figures))

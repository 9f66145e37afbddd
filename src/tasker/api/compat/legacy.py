"""Legacy routes, which keep clients of earlier designs of Tasker working.

They create tasks, and list templates, which these clients call handlers.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.compat.legacy_views import (
    DelegatedTask,
    LegacyNamespaceList,
    LegacyTask,
    LegacyTaskList,
    LegacyTemplateDetail,
    LegacyTemplatesOfNamespace,
    delegated_task_view,
    legacy_namespace,
    legacy_task,
    legacy_task_fields,
    legacy_template_detail,
)
from tasker.api.compat.requests import CompatTaskBody, CompatTaskFields, CompatTaskStatus
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import (
    NamePath,
    Namespace,
    NamespacePath,
    TaskPath,
    TemplateRef,
    Uuid,
    Version,
)
from tasker.api.headers import is_valid_correlation_id
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.tasks import (
    CREATES,
    created_task_headers,
    read_authorized_task,
    read_template_and_steps,
)
from tasker.api.routing import ExtraResponse, Routes
from tasker.api.task_requests import NewTaskFields, create_requested_task, template_reference_of
from tasker.errors import NotFound
from tasker.model import Task, TaskFilter, TaskId
from tasker.teams.model import NamespaceInfo
from tasker.teams.permissions import (
    TASKS_CREATE,
    TASKS_LIST,
    TASKS_READ,
    TEMPLATES_LIST,
    TEMPLATES_READ,
)

routes = Routes("legacy")

_MISSING = ("not_found",)
_FOUND = "A task with this idempotency key already exists."


class WrappedTaskBody(RequestBody):
    """A task to create, wrapped in `task`."""

    task: CompatTaskBody


class DelegatedTaskBody(CompatTaskFields):
    """A task that one team creates of another team's workflow, which the body names."""

    workflow_name: TemplateRef
    namespace: Namespace | None = None
    workflow_version: Version | None = None


class AnyTaskBodyParser(JsonBodyParser[BaseModel]):
    """Reads a body that creates a task, in any of its three forms: flat, wrapped, or delegated."""

    def __init__(self) -> None:
        super().__init__(CompatTaskBody)

    @property
    def possible_models(self) -> tuple[type[BaseModel], ...]:
        return (CompatTaskBody, WrappedTaskBody, DelegatedTaskBody)

    def choose_model(self, keys: Collection[str]) -> type[BaseModel]:
        if "task" in keys:
            return WrappedTaskBody
        return DelegatedTaskBody if "workflow_name" in keys else CompatTaskBody


AnyTask = Annotated[
    CompatTaskBody | WrappedTaskBody | DelegatedTaskBody, Depends(AnyTaskBodyParser())
]


class LegacyTaskQuery(BaseModel):
    """Filters of a task list, combined with AND."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    namespace: Namespace | None = None
    name: Annotated[str, Field(max_length=128)] | None = None
    version: Version | None = None
    status: CompatTaskStatus | None = None
    """`completed` stands for `complete`, and `failed` for `error`."""
    cursor: Uuid | None = None
    """`next_cursor` of the previous page."""
    limit: int = Field(20, ge=1, le=100)
    """Maximum number of tasks in a page."""


# ------------------------------------------------------------------------ tasks


@routes.add(
    "POST",
    "/tasker/tasks",
    TASKS_CREATE,
    response=LegacyTask | DelegatedTask,
    status=201,
    description="The task was created. If the request has a `workflow_name`, the response is a "
    "`DelegatedTask`.",
    extra_responses={200: ExtraResponse(LegacyTask | DelegatedTask, _FOUND)},
    error_codes=CREATES,
)
async def create_legacy_task(request: Request, api: ApiServicesOf, body: AnyTask) -> JsonResponse:
    """Create a task from a flat body, one wrapped in `task`, or one with `workflow_name`.

    Every request error is a 400, including an unknown template.
    """
    if isinstance(body, DelegatedTaskBody):
        task = await _create_legacy_task(
            request, api, body, body.workflow_name, body.workflow_version
        )
        return _created_task_response(task, delegated_task_view(legacy_task_fields(task)))
    flat = body.task if isinstance(body, WrappedTaskBody) else body
    task = await _create_legacy_task(request, api, flat, flat.name, flat.version)
    return _created_task_response(task, legacy_task(legacy_task_fields(task)))


@routes.add(
    "POST",
    "/workflows/execute",
    TASKS_CREATE,
    response=LegacyTask,
    status=201,
    description="The task was created, and workers will run it.",
    extra_responses={200: ExtraResponse(LegacyTask, _FOUND)},
    error_codes=CREATES,
)
async def create_legacy_task_of_workflow(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[CompatTaskBody, Depends(JsonBodyParser(CompatTaskBody))],
) -> JsonResponse:
    """Create a task of a workflow."""
    task = await _create_legacy_task(request, api, body, body.name, body.version)
    return _created_task_response(task, legacy_task(legacy_task_fields(task)))


async def _create_legacy_task(
    request: Request,
    api: ApiServices,
    body: CompatTaskBody | DelegatedTaskBody,
    name: str,
    version: str | None,
) -> Task:
    template = template_reference_of(name, body.namespace, version)
    try:
        return await create_requested_task(
            api, request, _add_correlation_id_from_context(body.to_new_task_fields()), template
        )
    except NotFound as error:
        raise Problem("not_found", str(error), status=400) from None


def _add_correlation_id_from_context(fields: NewTaskFields) -> NewTaskFields:
    """Use the context's correlation id, unless the body has one."""
    text = fields.context.get("correlation_id")
    if fields.correlation_id or not (isinstance(text, str) and is_valid_correlation_id(text)):
        return fields
    return fields.model_copy(update={"correlation_id": text})


def _created_task_response(task: Task, view: Any) -> JsonResponse:
    return JsonResponse(view, 201 if task.created else 200, created_task_headers(task))


@routes.add("GET", "/tasker/tasks", TASKS_LIST, response=LegacyTaskList)
async def list_legacy_tasks(
    request: Request, api: ApiServicesOf, query: Annotated[LegacyTaskQuery, Query()]
) -> JsonResponse:
    """List tasks, newest first."""
    tasks = await api.store.list_tasks(
        TaskFilter(
            namespace=query.namespace,
            name=query.name,
            version=query.version,
            status=query.status.status if query.status else None,
            visible=await visible_namespaces(request, TASKS_LIST),
        ),
        after=TaskId(query.cursor) if query.cursor else None,
        limit=query.limit + 1,
    )
    shown = tasks[: query.limit]
    view: LegacyTaskList = {
        "tasks": [legacy_task_fields(task) for task in shown],
        "next_cursor": shown[-1].id if len(tasks) > len(shown) else None,
    }
    return JsonResponse(view)


@routes.add("GET", "/tasker/tasks/{task_id}", TASKS_READ, response=LegacyTask, error_codes=_MISSING)
async def get_legacy_task(request: Request, api: ApiServicesOf, task_id: TaskPath) -> JsonResponse:
    """Read a task."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded, steps = await read_template_and_steps(api, task)
    now = datetime.now(UTC)
    return await build_response(
        len(steps),
        lambda: legacy_task(legacy_task_fields(task, loaded.fill_derived_step_fields(steps, now))),
    )


# -------------------------------------------------------------------- discovery


@routes.add("GET", "/tasker/handlers", TEMPLATES_LIST, response=LegacyNamespaceList)
async def list_legacy_templates(request: Request, api: ApiServicesOf) -> JsonResponse:
    """List all namespaces with their owners and templates."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    templates = await api.store.list_approved_templates()
    listed = [
        legacy_namespace(info, [one for one in templates if one.template.namespace == info.name])
        for info in await api.store.list_namespaces()
        if visible is None or info.name in visible
    ]
    answer: LegacyNamespaceList = {
        "namespaces": listed,
        "total_namespaces": len(listed),
        "generated_at": datetime.now(UTC),
    }
    return JsonResponse(answer)


@routes.add(
    "GET",
    "/tasker/handlers/{namespace}",
    TEMPLATES_LIST,
    response=LegacyTemplatesOfNamespace,
    error_codes=_MISSING,
)
async def list_legacy_templates_of_namespace(
    request: Request, api: ApiServicesOf, namespace: NamespacePath
) -> JsonResponse:
    """List the templates of one namespace."""
    await authorize(request, TEMPLATES_LIST, namespace=namespace)
    templates = await api.store.list_approved_templates(namespace=namespace)
    listed = legacy_namespace(await _get_namespace_info(api, namespace), templates)
    answer: LegacyTemplatesOfNamespace = {
        "namespace": namespace,
        "description": listed["description"],
        "owner_team": listed["owner_team"],
        "contact_email": listed["contact_email"],
        "requires_approval": listed["requires_approval"],
        "handlers": listed["handlers"],
        "total_handlers": listed["handler_count"],
    }
    return JsonResponse(answer)


async def _get_namespace_info(api: ApiServices, namespace: str) -> NamespaceInfo:
    for info in await api.store.list_namespaces():
        if info.name == namespace:
            return info
    raise NotFound(f"namespace {namespace} not found")


@routes.add(
    "GET",
    "/tasker/handlers/{namespace}/{name}",
    TEMPLATES_READ,
    response=LegacyTemplateDetail,
    error_codes=(*_MISSING, "invalid_input", "template_not_approved"),
)
async def get_legacy_template(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    version: Annotated[Version | None, Query()] = None,
) -> JsonResponse:
    """Read one template version: the latest, or the one that `version` selects."""
    await authorize(request, TEMPLATES_READ, namespace=namespace, name=name, version=version)
    loaded = await api.templates.load_by_name(name, namespace, version)
    siblings = await api.store.list_approved_templates(namespace=namespace, name=name)
    return JsonResponse(legacy_template_detail(loaded, siblings, datetime.now(UTC)))

"""Routes at which clients of earlier servers create tasks and discover templates."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.bodies import Body, JsonBody
from tasker.api.compat.views import (
    Delegated,
    EarlierTask,
    HandlerDetail,
    HandlerIndex,
    HandlersOfNamespace,
    delegated,
    earlier_task,
    handler_detail,
    handler_namespace,
)
from tasker.api.dependencies import (
    NamePath,
    Namespace,
    NamespacePath,
    TaskPath,
    TemplateRef,
    Version,
)
from tasker.api.problems import Problem
from tasker.api.responses import JsonReply
from tasker.api.routes.tasks import allowed_task, created_headers, readiness
from tasker.api.routing import READS_BODY, Answer, Routes
from tasker.api.scope import asked_correlation, is_correlation_id
from tasker.api.state import Api, ApiOf
from tasker.api.submissions import NewTaskBody, TaskFields, create_one, template_of
from tasker.api.views.tasks import task_answer
from tasker.errors import NotFound
from tasker.model import Task
from tasker.teams.model import NamespaceInfo
from tasker.teams.permissions import TASKS_CREATE, TASKS_READ, TEMPLATES_LIST, TEMPLATES_READ

routes = Routes("as earlier")
discovery = Routes("handlers", "/v1")

_CREATES = (
    *READS_BODY,
    "not_found",
    "invalid_input",
    "idempotency_conflict",
    "template_not_approved",
)
_MISSING = ("invalid_request", "not_found")


class WrappedBody(Body):
    """A task to be created, in a wrapper."""

    task: NewTaskBody


class DelegationBody(TaskFields):
    """A task that another team's workflow asks for."""

    workflow_name: TemplateRef
    namespace: Namespace | None = None
    workflow_version: Version | None = None


class AnyBody(JsonBody[BaseModel]):
    """Reads the three forms in which a task may be asked for."""

    def __init__(self) -> None:
        super().__init__(NewTaskBody)

    @property
    def models(self) -> tuple[type[BaseModel], ...]:
        return (NewTaskBody, WrappedBody, DelegationBody)

    def model_for(self, keys: Collection[str]) -> type[BaseModel]:
        if "task" in keys:
            return WrappedBody
        return DelegationBody if "workflow_name" in keys else NewTaskBody


AnyTask = Annotated[NewTaskBody | WrappedBody | DelegationBody, Depends(AnyBody())]


# ------------------------------------------------------------------------ tasks


@routes.add(
    "POST",
    "/tasker/tasks",
    TASKS_CREATE,
    answer=EarlierTask | Delegated,
    status=201,
    told="The task was created; a request with `workflow_name` is answered with a `Delegated`.",
    also={200: Answer(EarlierTask | Delegated, "The idempotency key had made this task before.")},
    refuses=_CREATES,
)
async def create_task_as_earlier(request: Request, api: ApiOf, body: AnyTask) -> JsonReply:
    """Create a task from a flat body, one wrapped in `task`, or one with `workflow_name`.

    What is wrong with a request is answered with 400, an unknown template too.
    """
    if isinstance(body, DelegationBody):
        task = await _create(
            request, api, _correlated(request, body), body.workflow_name, body.workflow_version
        )
        return _created(task, delegated(task_answer(task)))
    flat = body.task if isinstance(body, WrappedBody) else body
    task = await _create(request, api, flat, flat.name, flat.version)
    return _created(task, earlier_task(task_answer(task)))


@routes.add(
    "POST",
    "/workflows/execute",
    TASKS_CREATE,
    answer=EarlierTask,
    status=201,
    told="The task was created; workers run it.",
    also={200: Answer(EarlierTask, "The idempotency key had made this task before.")},
    refuses=_CREATES,
)
async def execute_workflow(
    request: Request, api: ApiOf, body: Annotated[NewTaskBody, Depends(JsonBody(NewTaskBody))]
) -> JsonReply:
    """Create a task."""
    task = await _create(request, api, body, body.name, body.version)
    return _created(task, earlier_task(task_answer(task)))


async def _create(
    request: Request,
    api: Api,
    body: NewTaskBody | DelegationBody,
    name: str,
    version: str | None,
) -> Task:
    try:
        template = template_of(name, body.namespace, version)
        return await create_one(api, request, body, template)
    except NotFound as error:
        raise Problem("not_found", str(error), status=400) from None


def _correlated(request: Request, body: DelegationBody) -> DelegationBody:
    """Take the correlation id from the context, where a delegating step puts it."""
    said = body.context.get("correlation_id")
    if body.correlation_id or asked_correlation(request.scope):
        return body
    if isinstance(said, str) and is_correlation_id(said):
        return body.model_copy(update={"correlation_id": said})
    return body


def _created(task: Task, answer: Any) -> JsonReply:
    return JsonReply(answer, 201 if task.created else 200, created_headers(task))


@routes.add("GET", "/tasker/tasks/{task_id}", TASKS_READ, answer=EarlierTask, refuses=_MISSING)
async def get_task_as_earlier(request: Request, api: ApiOf, task_id: TaskPath) -> JsonReply:
    """Read a task."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    return JsonReply(earlier_task(task_answer(task, await readiness(api, task))))


# -------------------------------------------------------------------- discovery


@routes.add("GET", "/tasker/handlers", TEMPLATES_LIST, answer=HandlerIndex)
@discovery.add("GET", "/handlers", TEMPLATES_LIST, answer=HandlerIndex)
async def list_handlers(request: Request, api: ApiOf) -> JsonReply:
    """List all namespaces, who owns them, and what templates they offer."""
    visible = await visible_namespaces(request, TEMPLATES_LIST)
    templates = await api.store.templates()
    found = [
        handler_namespace(info, [one for one in templates if one.template.namespace == info.name])
        for info in await api.store.namespaces()
        if visible is None or info.name in visible
    ]
    answer: HandlerIndex = {
        "namespaces": found,
        "total_namespaces": len(found),
        "generated_at": datetime.now(UTC),
    }
    return JsonReply(answer)


@routes.add(
    "GET",
    "/tasker/handlers/{namespace}",
    TEMPLATES_LIST,
    answer=HandlersOfNamespace,
    refuses=_MISSING,
)
@discovery.add(
    "GET", "/handlers/{namespace}", TEMPLATES_LIST, answer=HandlersOfNamespace, refuses=_MISSING
)
async def list_namespace_handlers(
    request: Request, api: ApiOf, namespace: NamespacePath
) -> JsonReply:
    """List the templates that one namespace offers."""
    await authorize(request, TEMPLATES_LIST, namespace=namespace)
    templates = await api.store.templates(namespace=namespace)
    found = handler_namespace(await _namespace(api, namespace), templates)
    answer: HandlersOfNamespace = {
        "namespace": namespace,
        "description": found["description"],
        "owner_team": found["owner_team"],
        "contact_email": found["contact_email"],
        "requires_approval": found["requires_approval"],
        "handlers": found["handlers"],
        "total_handlers": found["handler_count"],
    }
    return JsonReply(answer)


async def _namespace(api: Api, namespace: str) -> NamespaceInfo:
    for info in await api.store.namespaces():
        if info.name == namespace:
            return info
    raise NotFound(f"there is no namespace {namespace}")


@routes.add(
    "GET",
    "/tasker/handlers/{namespace}/{name}",
    TEMPLATES_READ,
    answer=HandlerDetail,
    refuses=(*_MISSING, "invalid_input", "template_not_approved"),
)
@discovery.add(
    "GET",
    "/handlers/{namespace}/{name}",
    TEMPLATES_READ,
    answer=HandlerDetail,
    refuses=(*_MISSING, "invalid_input", "template_not_approved"),
)
async def get_handler(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    name: NamePath,
    version: Annotated[Version | None, Query()] = None,
) -> JsonReply:
    """Read one template version: the latest, or what `version` picks."""
    await authorize(request, TEMPLATES_READ, namespace=namespace, name=name, version=version)
    shape = await api.catalogue.find(name, namespace, version)
    siblings = await api.store.templates(namespace=namespace, name=name)
    return JsonReply(handler_detail(shape, siblings, datetime.now(UTC)))

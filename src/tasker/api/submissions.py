"""From a request's body to a task: what may be said, who says it, and under which key."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request

from tasker import versions
from tasker.api.auth.principal import Principal
from tasker.api.authorization import authorize
from tasker.api.bodies import Body
from tasker.api.dependencies import (
    Line,
    Namespace,
    Seconds,
    StartTime,
    TemplateRef,
    Text,
    Uuid,
    Version,
    seconds,
)
from tasker.api.problems import Fault, Problem
from tasker.api.scope import asked_correlation, header, trace_of
from tasker.api.state import Api
from tasker.api.views.tasks import PARENT_TAG, SOURCE_TAG
from tasker.client import TaskRequest
from tasker.client.templates import split
from tasker.errors import InvalidInput
from tasker.model import Json, Task, TaskId, Template
from tasker.teams.permissions import TASKS_CREATE
from tasker.template import examine_input


class TaskFields(Body):
    """What may be said about a new task, besides its template."""

    context: dict[str, Any] = Field(default_factory=dict)
    """The task's input, as the template's `input_schema` wants it."""

    initiator: Line | None = None
    """Who creates it; absent: the caller."""

    created_by: Line | None = None
    """The same as `initiator`."""

    source_system: Line | None = None
    """Kept as the tag `source_system:...`."""

    reason: Text = ""
    tags: Annotated[list[Line], Field(max_length=100)] = Field(default_factory=list)

    correlation_id: Line | None = None
    """Absent: the header `X-Correlation-Id`, or the new task's own id."""

    parent_correlation_id: Line | None = None
    """Kept as the tag `parent_correlation_id:...`."""

    parent_id: Uuid | None = None
    """The task that this one is created for."""

    idempotency_key: Line | None = None
    """Creating twice under one key of one namespace makes one task. Also as a header."""

    run_at: StartTime | None = None
    """Not before then; absent: at once."""

    deadline_seconds: Seconds | None = None
    """Most time from creation to end; absent: what the template says."""

    priority: None = None
    """Tasks have no priority; null is accepted."""

    options: None = None
    """There are none; null is accepted."""

    requested_at: str | None = None
    """Accepted, and not kept: the server's own clock counts."""


class NewTaskBody(TaskFields):
    """A task to be created."""

    name: TemplateRef
    """The template's name; also as `namespace.name` and `name@version`."""

    namespace: Namespace | None = None
    """Absent: `default`."""

    version: Version | None = None
    """Exact, a range, or absent: the latest release."""


class BulkBody(Body):
    """Tasks to be created, all or none."""

    tasks: list[NewTaskBody] = Field(min_length=1)


def request_of(
    fields: TaskFields,
    request: Request,
    template: tuple[str, str, str | None],
    creator: Principal,
    *,
    key: str | None = None,
) -> TaskRequest:
    """Make the client's request of what was said."""
    namespace, name, version = template
    tags = list(fields.tags)
    if fields.source_system:
        tags.append(SOURCE_TAG + fields.source_system)
    if fields.parent_correlation_id:
        tags.append(PARENT_TAG + fields.parent_correlation_id)
    said = fields.created_by or fields.initiator
    return TaskRequest(
        template=name,
        namespace=namespace,
        version=version,
        context=fields.context,
        idempotency_key=fields.idempotency_key or key,
        correlation_id=fields.correlation_id or asked_correlation(request.scope),
        parent_id=TaskId(fields.parent_id) if fields.parent_id else None,
        created_by=said if said and not creator.known else creator.name,
        reason=fields.reason,
        tags=tuple(dict.fromkeys(tags)),
        trace=trace_of(request.scope),
        run_at=fields.run_at,
        deadline=seconds(fields.deadline_seconds),
    )


def template_of(
    name: str, namespace: str | None, version: str | None, at: str = "$"
) -> tuple[str, str, str | None]:
    """Tell (namespace, name, version) of what was said.

    Raises:
        Problem: It says a thing twice, or its version is none.
    """
    try:
        found = split(name, namespace, version)
        versions.latest((), spec=found[2])
    except InvalidInput as error:
        part = error.path.removeprefix("$") or ".version"
        fault: Fault = {"path": at + part, "message": str(error)}
        raise Problem("invalid_input", f"{at}{part}: {error}", errors=[fault]) from None
    return found


def idempotency_key(request: Request, fields: TaskFields) -> str | None:
    """Tell the key of the header, which the body's must not contradict.

    Raises:
        Problem: The two differ, or the header is none.
    """
    sent = header(request.scope, "idempotency-key")
    if sent is None:
        return fields.idempotency_key
    key = sent[1:-1] if len(sent) > 1 and sent[0] == sent[-1] == '"' else sent
    fault: Fault = {"path": "header.Idempotency-Key", "message": ""}
    if not 0 < len(key) <= 1000 or not key.isprintable():
        fault["message"] = "must have 1 to 1000 printable characters"
    elif fields.idempotency_key not in (None, key):
        fault["message"] = "differs from the body's idempotency_key"
    if fault["message"]:
        raise Problem("invalid_request", f"{fault['path']} {fault['message']}.", errors=[fault])
    return key


async def create_one(
    api: Api, request: Request, fields: TaskFields, template: tuple[str, str, str | None]
) -> Task:
    """Create the task that a body asks for, if the caller may."""
    namespace, name, version = template
    key = idempotency_key(request, fields)
    who = await authorize(request, TASKS_CREATE, namespace=namespace, name=name, version=version)
    wanted = request_of(fields, request, template, who, key=key)
    try:
        created = await api.client.create_tasks([wanted])
    except InvalidInput as error:
        raise await _of_context(api, [wanted], error, ["$.context"]) from None
    api.metrics.tasks_created(created)
    return created[0]


async def create_many(api: Api, request: Request, bodies: Sequence[NewTaskBody]) -> list[Task]:
    """Create the tasks that a body asks for, all or none, if the caller may."""
    wanted = []
    allowed: dict[tuple[str, str, str | None], Principal] = {}
    for index, body in enumerate(bodies):
        template = template_of(body.name, body.namespace, body.version, f"$.tasks[{index}]")
        if template not in allowed:
            allowed[template] = await _may_create(request, template, f"$.tasks[{index}]")
        wanted.append(request_of(body, request, template, allowed[template]))
    try:
        created = await api.client.create_tasks(wanted)
    except InvalidInput as error:
        places = [f"$.tasks[{index}].context" for index in range(len(bodies))]
        raise await _of_context(api, wanted, error, places) from None
    api.metrics.tasks_created(created)
    return created


async def _may_create(
    request: Request, template: tuple[str, str, str | None], place: str
) -> Principal:
    """Tell who creates one of several tasks. Raises Problem, with the place of the task."""
    namespace, name, version = template
    try:
        return await authorize(
            request, TASKS_CREATE, namespace=namespace, name=name, version=version
        )
    except Problem as problem:
        problem.errors = [{"path": place, "message": problem.detail}]
        raise


async def _of_context(
    api: Api, wanted: Sequence[TaskRequest], error: InvalidInput, places: Sequence[str]
) -> Problem:
    """Tell everything that is wrong with the first context that does not fit."""
    for asked, place in zip(wanted, places, strict=True):
        shape = await api.catalogue.find(asked.template, asked.namespace, asked.version)
        faults = _faults(shape.stored.template, asked.context, place)
        if faults:
            told = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
            return Problem("invalid_input", told, errors=faults)
    rest = error.path.removeprefix("$")
    path = places[0] + rest if len(places) == 1 else f"$.tasks{rest}"
    return Problem("invalid_input", str(error), errors=[{"path": path, "message": str(error)}])


def _faults(template: Template, context: Json, place: str) -> list[Fault]:
    """Tell what is wrong with the context at a place of the body."""
    try:
        found: Sequence[tuple[str, str]] = examine_input(template, context)[1]
    except InvalidInput as error:  # it is not even JSON
        found = [(error.path, str(error))]
    return [{"path": place + path.removeprefix("$"), "message": message} for path, message in found]

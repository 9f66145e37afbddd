"""Creating tasks from the bodies of requests."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from starlette.requests import Request

from tasker import versions
from tasker.api.auth.principal import Principal
from tasker.api.authorization import authorize, principal_of
from tasker.api.dependencies import ApiServices
from tasker.api.fields import (
    Delay,
    Line,
    Namespace,
    Seconds,
    StartTime,
    TemplateRef,
    Text,
    Uuid,
    Version,
    seconds_to_timedelta,
)
from tasker.api.headers import first_header, parse_correlation_id_header, traceparent_for_new_tasks
from tasker.api.problems import Problem, RequestFault
from tasker.api.requests import RequestBody
from tasker.api.views import convert_to_view
from tasker.client import AttemptOrigin, LocalClient, TaskRequest
from tasker.client.templates import split_template_reference
from tasker.errors import InvalidInput, StoreError
from tasker.model import (
    PRIORITIES,
    ExistingTaskAction,
    IdempotencyKeyLifetime,
    StepCounts,
    Task,
    TaskId,
)
from tasker.store.operator_rules import unknown_task_error
from tasker.teams.permissions import TASKS_CANCEL, TASKS_CREATE, TASKS_READ

TICKET = "tasker-ticket"
"""Header that contains the ticket of the attempt that creates tasks."""

Reference = tuple[str, str, str | None]
"""Namespace, name and version of the template that a request refers to."""


class NewTaskFields(RequestBody):
    """The fields of a new task, except its template."""

    context: dict[str, Any] = Field(default_factory=dict)
    """The task's inputs, as the template's `input_schema` declares them."""

    created_by: Line | None = None
    """Name of the creator; ignored if the caller is authenticated. By default, the caller's
    name."""

    reason: Text = ""
    tags: Annotated[list[Line], Field(max_length=100)] = Field(default_factory=list)

    correlation_id: Line | None = None
    """The correlation id. By default, the header `X-Correlation-Id` or, without it, the id of the
    new task."""

    parent_id: Uuid | None = None
    """The parent task on whose behalf this task is created."""

    attached: bool = False
    """Whether the task is cancelled when its parent is cancelled or misses its deadline."""

    idempotency_key: Line | None = None
    """The idempotency key: repeated requests with the same key in a namespace create only one task.
    The key may also be sent in the header `Idempotency-Key`."""

    unique_while: IdempotencyKeyLifetime | None = None
    """How long the key belongs to the task: `always` (until the task is pruned) or `open` (until
    the task ends). By default, `always`. Requires an idempotency key."""

    if_exists: ExistingTaskAction | None = None
    """What to do if another task has the key: `return` that task, `reject` the request, or
    `replace` that task (an open task is cancelled; requires `tasks:cancel`). By default, `return`.
    Requires an idempotency key."""

    run_at: StartTime | None = None
    """Time before which no step starts. By default, steps start at once or after
    `delay_seconds`."""

    delay_seconds: Delay | None = None
    """Seconds from the task's creation to the earliest start of its steps. Not allowed together
    with `run_at`. By default, there is no delay."""

    deadline_seconds: Seconds | None = None
    """Time limit in seconds from the task's creation to its end. By default, the template's
    deadline."""

    priority: Annotated[int, Field(ge=0, lt=PRIORITIES)] | None = None
    """Priority from 0 to 4 (most urgent). In a handler's queue, each level counts as one minute of
    waiting. By default, the priority of the parent task or, without one, of the template (2 by
    default)."""

    @field_validator("delay_seconds")
    @classmethod
    def _reject_delay_with_run_at(cls, delay: float | None, info: ValidationInfo) -> float | None:
        if delay is not None and info.data.get("run_at") is not None:
            raise ValueError("cannot be combined with run_at: give only one of them")
        return delay


class NewTaskBody(NewTaskFields):
    """A task to create."""

    name: TemplateRef
    """The template's name. The forms `namespace.name` and `name@version` are also allowed."""

    namespace: Namespace | None = None
    """By default, `default`."""

    version: Version | None = None
    """An exact version or a range. By default, the latest release."""


class NewTasksBody(RequestBody):
    """Tasks to create in one transaction."""

    tasks: list[NewTaskBody] = Field(min_length=1, max_length=100_000)


def to_task_request(
    fields: NewTaskFields,
    request: Request,
    template: Reference,
    creator: Principal,
    *,
    key: str | None = None,
) -> TaskRequest:
    """Return the client request that a body describes."""
    namespace, name, version = template
    return TaskRequest(
        template=name,
        namespace=namespace,
        version=version,
        context=fields.context,
        idempotency_key=fields.idempotency_key or key,
        unique_while=fields.unique_while,
        if_exists=fields.if_exists,
        correlation_id=fields.correlation_id or _read_valid_correlation_id_header(request),
        parent_id=TaskId(fields.parent_id) if fields.parent_id else None,
        attached=fields.attached,
        created_by=creator.name if creator.known else fields.created_by or creator.name,
        reason=fields.reason,
        tags=tuple(dict.fromkeys(fields.tags)),
        trace=traceparent_for_new_tasks(request.scope),
        run_at=fields.run_at,
        delay=fields.delay_seconds,
        deadline=seconds_to_timedelta(fields.deadline_seconds),
        priority=fields.priority,
    )


def template_reference_of(
    name: str, namespace: str | None, version: str | None, at: str = "$"
) -> Reference:
    """Return the (namespace, name, version) that a body names.

    Raises:
        Problem: The namespace or version is given twice with different values, or the version is
            invalid.
    """
    try:
        reference = split_template_reference(name, namespace, version)
        versions.highest_matching_version((), spec=reference[2])
    except InvalidInput as error:
        raise _problem_at_path(at if error.path != "$" else f"{at}.version", error) from None
    return reference


def idempotency_key_of(request: Request, fields: NewTaskFields) -> str | None:
    """Return the idempotency key from the header or the body.

    Raises:
        Problem: The two differ, or the header is invalid.
    """
    sent = first_header(request.scope, "idempotency-key")
    if sent is None:
        return fields.idempotency_key
    key = sent[1:-1] if len(sent) > 1 and sent[0] == sent[-1] == '"' else sent
    fault: RequestFault = {"path": "header.Idempotency-Key", "message": ""}
    if not 0 < len(key) <= 1000 or not key.isprintable():
        fault["message"] = "must have 1 to 1000 printable characters"
    elif fields.idempotency_key not in (None, key):
        fault["message"] = "differs from the body's idempotency_key"
    if fault["message"]:
        raise Problem("invalid_request", f"{fault['path']} {fault['message']}.", errors=[fault])
    return key


def _read_valid_correlation_id_header(request: Request) -> str | None:
    """Return the correlation id of the request's header, if any. Raises Problem."""
    try:
        return parse_correlation_id_header(request.scope)
    except ValueError as error:
        fault: RequestFault = {"path": "header.X-Correlation-Id", "message": str(error)}
        raise Problem("invalid_request", f"{fault['path']} {error}.", errors=[fault]) from None


async def create_requested_task(
    api: ApiServices, request: Request, fields: NewTaskFields, template: Reference
) -> Task:
    """Create the task that a body describes, if the caller is allowed to."""
    namespace, name, version = template
    key = idempotency_key_of(request, fields)
    who = await authorize(request, TASKS_CREATE, namespace=namespace, name=name, version=version)
    await _check_may_read_parent_task(api, request, fields)
    await _check_may_replace_existing_task(request, fields, template)
    task = to_task_request(fields, request, template, who, key=key)
    try:
        tasks = await (await _choose_creating_client(api, request, [task])).create_tasks([task])
    except InvalidInput as error:
        raise invalid_context_problem(error) from None
    api.metrics.count_created_tasks(tasks)
    return await _add_no_worker_count(api, task, tasks[0])


async def create_requested_tasks(
    api: ApiServices, request: Request, bodies: Sequence[NewTaskBody]
) -> list[Task]:
    """Create the tasks of a body in one transaction, if the caller is allowed to."""
    requests = []
    allowed: dict[Reference, Principal] = {}
    for index, body in enumerate(bodies):
        template = template_reference_of(
            body.name, body.namespace, body.version, f"$.tasks[{index}]"
        )
        if template not in allowed:
            allowed[template] = await _authorize_task_creation(
                request, template, f"$.tasks[{index}]"
            )
        await _check_may_read_parent_task(api, request, body)
        await _check_may_replace_existing_task(request, body, template)
        try:
            requests.append(to_task_request(body, request, template, allowed[template]))
        except InvalidInput as error:
            raise _problem_at_path(f"$.tasks[{index}]", error) from None
    try:
        tasks = await (await _choose_creating_client(api, request, requests)).create_tasks(requests)
    except InvalidInput as error:
        raise invalid_context_problem(error, bulk=True, single=len(bodies) == 1) from None
    api.metrics.count_created_tasks(tasks)
    return [await _add_no_worker_count(api, *each) for each in zip(requests, tasks, strict=True)]


async def _choose_creating_client(
    api: ApiServices, request: Request, tasks: Sequence[TaskRequest]
) -> LocalClient:
    """Return the client that creates the tasks; it acts on behalf of the handler if a remote
    worker's handler creates them.

    Raises:
        Problem: A handler creates a task without an idempotency key, so each attempt would create
            another task.
    """
    ticket = first_header(request.scope, TICKET)
    if ticket is None:
        return api.client
    if not all(task.idempotency_key for task in tasks):
        raise Problem("invalid_request", "Tasks created with a ticket need an idempotency_key.")
    caller = principal_of(request)
    step = await api.remote_workers.get_running_attempt_by_ticket(
        ticket, caller.name, caller.credential
    )
    given, claim = step.task.input, step.claim
    origin = AttemptOrigin(
        claim.task_id, claim.no, given.correlation_id, given.trace, given.priority
    )
    return api.client.for_attempt(origin)


async def _add_no_worker_count(api: ApiServices, request: TaskRequest, task: Task) -> Task:
    """Return a new task with its number of due steps that no live worker can run."""
    if not task.created or request.run_at or request.delay:
        return task
    unserved = 0
    with suppress(StoreError):  # the task was created; the count is only informative
        unserved = await api.count_unserved_roots.get(task.template)
    if not unserved:
        return task
    return convert_to_view(task, Task, counts=_replace_no_worker_count(task.counts, unserved))


@lru_cache(maxsize=1_000)  # new tasks of a template have equal counts
def _replace_no_worker_count(counts: StepCounts, unserved: int) -> StepCounts:
    return replace(counts, no_worker=unserved)


def _problem_at_path(place: str, error: InvalidInput) -> Problem:
    """Return the problem of a field in one of several tasks."""
    path = place + error.path.removeprefix("$")
    fault: RequestFault = {"path": path, "message": str(error)}
    return Problem("invalid_input", f"{path}: {error}", errors=[fault])


async def _check_may_read_parent_task(
    api: ApiServices, request: Request, fields: NewTaskFields
) -> None:
    """Raise NotFound or Problem unless the caller may read the parent task."""
    if fields.parent_id is None:
        return
    parent = await api.store.get_task(TaskId(fields.parent_id))
    namespace, name, version = parent.template
    message = str(unknown_task_error(parent.id))
    await authorize(
        request,
        TASKS_READ,
        namespace=namespace,
        name=name,
        version=version,
        not_found_message=message,
    )


async def _check_may_replace_existing_task(
    request: Request, fields: NewTaskFields, template: Reference
) -> None:
    """Raise Problem unless the caller may cancel the task that a new one would replace."""
    if fields.if_exists is ExistingTaskAction.REPLACE:
        namespace, name, version = template
        await authorize(request, TASKS_CANCEL, namespace=namespace, name=name, version=version)


async def _authorize_task_creation(request: Request, template: Reference, path: str) -> Principal:
    """Return the creator of one of several tasks. Raises Problem, with the path of the task."""
    namespace, name, version = template
    try:
        return await authorize(
            request, TASKS_CREATE, namespace=namespace, name=name, version=version
        )
    except Problem as problem:
        problem.errors = [{"path": path, "message": problem.detail}]
        raise


def invalid_context_problem(
    error: InvalidInput, *, bulk: bool = False, single: bool = False
) -> Problem:
    """Return the problem of an invalid context, with paths relative to the body.

    Args:
        error: The error, with paths relative to the context, or to the list of several requests.
        bulk: Whether the body contains a list of tasks.
        single: Whether the list has a single task, whose error paths have no index.
    """
    faults: list[RequestFault] = []
    for path, message in error.violations:
        place, rest = "$.context", path.removeprefix("$")
        if bulk:
            index, _, rest = ("[0", "]", rest) if single else rest.partition("]")
            place = f"$.tasks{index}].context"
        faults.append({"path": place + rest, "message": message})
    detail = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
    return Problem("invalid_input", detail, errors=faults)

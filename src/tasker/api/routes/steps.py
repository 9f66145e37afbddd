"""Steps of one task: listed, read, and settled by operators."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import Field, RootModel
from starlette.requests import Request

from tasker import codec
from tasker.api.auth.principal import Principal
from tasker.api.authorization import principal_of
from tasker.api.bodies import Body, JsonBody
from tasker.api.dependencies import Line, StepPath, TaskPath, Text
from tasker.api.responses import JsonReply
from tasker.api.routes.tasks import allowed_task, shape_of
from tasker.api.routing import READS_BODY, Routes
from tasker.api.state import Api, ApiOf
from tasker.api.views.steps import (
    AttemptAnswer,
    StepAnswer,
    StepAudit,
    attempt_answer,
    step_answer,
    step_audit,
    step_uuid,
)
from tasker.client.templates import LoadedTemplate
from tasker.errors import NotFound
from tasker.model import Task, TaskId
from tasker.teams.permissions import STEPS_READ, STEPS_RESOLVE, STEPS_RETRY

routes = Routes("steps", "/v1/tasks/{task_id}")
older = Routes("as earlier", "/v1/tasks/{task_id}")

STEPS, OLDER = "/steps", "/workflow_steps"
_MISSING = ("invalid_request", "not_found")


class CompletionData(Body):
    """What a step is completed with."""

    result: Any = None
    """For the steps after it."""
    metadata: dict[str, Any] | None = None
    """Kept with the reason, in the audit."""


class ResetForRetry(Body):
    """Let a failed step start over, with all its attempts."""

    action_type: Literal["reset_for_retry"]
    reason: Text = ""
    reset_by: Line | None = None
    """Who does it, where the server does not know the caller."""


class ResolveManually(Body):
    """Declare a step done by other means."""

    action_type: Literal["resolve_manually"]
    reason: Text = ""
    resolved_by: Line | None = None
    """Who does it, where the server does not know the caller."""
    result: Any = None
    """For the steps after it."""


class CompleteManually(Body):
    """Complete a step with a result, as if its handler had returned it."""

    action_type: Literal["complete_manually"]
    completion_data: CompletionData
    reason: Text = ""
    completed_by: Line | None = None
    """Who does it, where the server does not know the caller."""


class StepAction(
    RootModel[
        Annotated[
            ResetForRetry | ResolveManually | CompleteManually, Field(discriminator="action_type")
        ]
    ]
):
    """What an operator does to a step."""


ActionBody = Annotated[StepAction, Depends(JsonBody(StepAction))]


@routes.add("GET", STEPS, STEPS_READ, answer=list[StepAnswer], refuses=_MISSING)
@older.add("GET", OLDER, STEPS_READ, answer=list[StepAnswer], refuses=_MISSING)
async def list_steps(request: Request, api: ApiOf, task_id: TaskPath) -> JsonReply:
    """List a task's steps, in the template's order."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    shape, steps = await shape_of(api, task.id), await api.store.list_steps(task.id)
    now = datetime.now(UTC)
    return JsonReply([step_answer(task, shape, step, now) for step in steps])


@routes.add("GET", STEPS + "/{step}", STEPS_READ, answer=StepAnswer, refuses=_MISSING)
@older.add("GET", OLDER + "/{step}", STEPS_READ, answer=StepAnswer, refuses=_MISSING)
async def get_step(request: Request, api: ApiOf, task_id: TaskPath, step: StepPath) -> JsonReply:
    """Read a step."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    shape = await shape_of(api, task.id)
    return JsonReply(await _read(api, task, shape, number_of(shape, task.id, step)))


@routes.add(
    "GET", STEPS + "/{step}/history", STEPS_READ, answer=list[AttemptAnswer], refuses=_MISSING
)
async def get_step_history(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> JsonReply:
    """List a step's attempts that ended, oldest first."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    no = number_of(await shape_of(api, task.id), task.id, step)
    found = await api.store.history(task.id, no=no, limit=limit)
    return JsonReply([attempt_answer(attempt) for attempt in found])


@older.add("GET", OLDER + "/{step}/audit", STEPS_READ, answer=list[StepAudit], refuses=_MISSING)
async def get_step_audit(
    request: Request, api: ApiOf, task_id: TaskPath, step: StepPath
) -> JsonReply:
    """List what a step's attempts led to, newest first."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    no = number_of(await shape_of(api, task.id), task.id, step)
    found = await api.store.history(task.id, no=no)
    now = (await api.store.list_steps(task.id, after=no - 1, limit=1))[0]
    return JsonReply([step_audit(task, now, attempt) for attempt in reversed(found)])


@routes.add(
    "PATCH",
    STEPS + "/{step}",
    STEPS_RESOLVE,
    STEPS_RETRY,
    answer=StepAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
@older.add(
    "PATCH",
    OLDER + "/{step}",
    STEPS_RESOLVE,
    STEPS_RETRY,
    answer=StepAnswer,
    refuses=(*READS_BODY, "not_found", "wrong_state"),
)
async def act_on_step(
    request: Request, api: ApiOf, task_id: TaskPath, step: StepPath, body: ActionBody
) -> JsonReply:
    """Retry, resolve or complete a step by hand; its task goes on from there."""
    act = body.root
    permission = STEPS_RETRY if isinstance(act, ResetForRetry) else STEPS_RESOLVE
    task = await allowed_task(request, api, task_id, permission)
    shape = await shape_of(api, task.id)
    no = number_of(shape, task.id, step)
    changed = await _act(request, api, task.id, shape.graph.names[no - 1], act)
    return JsonReply(await _read(api, changed, shape, no))


async def _act(
    request: Request,
    api: Api,
    task_id: TaskId,
    step: str,
    act: ResetForRetry | ResolveManually | CompleteManually,
) -> Task:
    who = principal_of(request)
    if isinstance(act, ResetForRetry):
        client = api.client.acting_as(_actor(act.reset_by, who))
        return await client.retry(task_id, steps=[step], reset_attempts=True, reason=act.reason)
    if isinstance(act, ResolveManually):
        client = api.client.acting_as(_actor(act.resolved_by, who))
        return await client.resolve(task_id, step, act.result, reason=act.reason)
    client = api.client.acting_as(_actor(act.completed_by, who))
    data, reason = act.completion_data, act.reason
    if data.metadata:
        reason = f"{reason} (metadata: {codec.dumps(data.metadata, what='the metadata')})".strip()
    return await client.complete(task_id, step, data.result, reason=reason)


def _actor(said: str | None, who: Principal) -> str:
    """Tell who acts: whom the server knows, else who the body says it is."""
    return said if said and not who.known else who.name


def number_of(shape: LoadedTemplate, task_id: TaskId, step: str) -> int:
    """Tell the number of a step from its name, its number or its `step_uuid`. Raises NotFound."""
    if step in shape.graph.numbers:
        return shape.graph.numbers[step]
    if step.isdigit() and 1 <= int(step[:9]) <= len(shape.graph.names):
        return int(step[:9])
    if len(step) == 36:
        for no, name in enumerate(shape.graph.names, start=1):
            if step_uuid(task_id, name) == step.lower():
                return no
        raise NotFound(f"task {task_id} has no step {step}")
    return shape.number(step)


async def _read(api: Api, task: Task, shape: LoadedTemplate, no: int) -> StepAnswer:
    found = await api.store.list_steps(task.id, after=no - 1, limit=1)
    return step_answer(task, shape, found[0], datetime.now(UTC))

"""Steps of one task: listing, reading, and operators' actions."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from starlette.requests import Request

from tasker.api.dependencies import Api, ApiOf
from tasker.api.fields import StepPath, TaskPath, Text
from tasker.api.requests import Body, JsonBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import (
    MOST_ATTEMPTS,
    allowed_task,
    client_of_caller,
    template_of_task,
    timeline_of,
)
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.steps import StepView, step_view
from tasker.client.templates import LoadedTemplate
from tasker.model import Attempt, Task
from tasker.teams.permissions import STEPS_READ, STEPS_RESOLVE, STEPS_RETRY

routes = Routes("steps", "/v1/tasks/{task_id}/steps")

_MISSING = ("not_found",)
_ACTS = (*READS_BODY, "not_found", "wrong_status")


class RetryStepBody(Body):
    """Gives a failed step another attempt."""

    reset_attempts: bool = False
    """Whether it gets all its attempts again instead of one more."""
    reason: Text = ""


class ResolveStepBody(Body):
    """Declares a step done by other means."""

    result: Any = None
    """For the steps that depend on it."""
    reason: Text = ""


class CompleteStepBody(Body):
    """Completes a step with a result, as if its handler had returned it."""

    result: Any
    reason: Text = ""


class SkipStepBody(Body):
    """Skips a step."""

    reason: Text = ""


@routes.add("GET", "", STEPS_READ, response=list[StepView], refuses=_MISSING)
async def list_steps(request: Request, api: ApiOf, task_id: TaskPath) -> JsonResponse:
    """List a task's steps, in the template's order."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    loaded, steps = await template_of_task(api, task.id), await api.store.list_steps(task.id)
    now = datetime.now(UTC)
    timeline = await timeline_of(api, task, steps, now)
    return JsonResponse([step_view(loaded, step, now, timeline) for step in steps])


@routes.add("GET", "/{step}", STEPS_READ, response=StepView, refuses=_MISSING)
async def get_step(request: Request, api: ApiOf, task_id: TaskPath, step: StepPath) -> JsonResponse:
    """Read a step."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    loaded = await template_of_task(api, task.id)
    return await _step_response(api, task, loaded, number_of(loaded, step))


@routes.add("GET", "/{step}/history", STEPS_READ, response=list[Attempt], refuses=_MISSING)
async def get_step_history(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    limit: Annotated[int, Query(ge=1, le=MOST_ATTEMPTS)] = 1000,
) -> JsonResponse:
    """List a step's finished attempts, oldest first."""
    task = await allowed_task(request, api, task_id, STEPS_READ)
    no = number_of(await template_of_task(api, task.id), step)
    return JsonResponse(await api.store.history(task.id, no=no, limit=limit))


@routes.add("POST", "/{step}/retry", STEPS_RETRY, response=StepView, refuses=_ACTS)
async def retry_step(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    body: Annotated[RetryStepBody, Depends(JsonBody(RetryStepBody, optional=True))],
) -> JsonResponse:
    """Give a failed step another attempt; its task is open again."""
    task = await allowed_task(request, api, task_id, STEPS_RETRY)
    loaded = await template_of_task(api, task.id)
    no = number_of(loaded, step)
    changed = await client_of_caller(request, api).retry(
        task.id,
        steps=[loaded.graph.names[no - 1]],
        reset_attempts=body.reset_attempts,
        reason=body.reason,
    )
    return await _step_response(api, changed, loaded, no)


@routes.add("POST", "/{step}/resolve", STEPS_RESOLVE, response=StepView, refuses=_ACTS)
async def resolve_step(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    body: Annotated[ResolveStepBody, Depends(JsonBody(ResolveStepBody, optional=True))],
) -> JsonResponse:
    """Declare a step done by other means; its task continues."""
    task = await allowed_task(request, api, task_id, STEPS_RESOLVE)
    loaded = await template_of_task(api, task.id)
    no = number_of(loaded, step)
    changed = await client_of_caller(request, api).resolve(
        task.id, loaded.graph.names[no - 1], body.result, reason=body.reason
    )
    return await _step_response(api, changed, loaded, no)


@routes.add("POST", "/{step}/complete", STEPS_RESOLVE, response=StepView, refuses=_ACTS)
async def complete_step(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    body: Annotated[CompleteStepBody, Depends(JsonBody(CompleteStepBody))],
) -> JsonResponse:
    """Complete a step with a result, as if its handler had returned it; its task continues."""
    task = await allowed_task(request, api, task_id, STEPS_RESOLVE)
    loaded = await template_of_task(api, task.id)
    no = number_of(loaded, step)
    changed = await client_of_caller(request, api).complete(
        task.id, loaded.graph.names[no - 1], body.result, reason=body.reason
    )
    return await _step_response(api, changed, loaded, no)


@routes.add("POST", "/{step}/skip", STEPS_RESOLVE, response=StepView, refuses=_ACTS)
async def skip_step(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    step: StepPath,
    body: Annotated[SkipStepBody, Depends(JsonBody(SkipStepBody, optional=True))],
) -> JsonResponse:
    """Settle a step that is not needed; its task continues with null as the step's result."""
    task = await allowed_task(request, api, task_id, STEPS_RESOLVE)
    loaded = await template_of_task(api, task.id)
    no = number_of(loaded, step)
    changed = await client_of_caller(request, api).skip(
        task.id, loaded.graph.names[no - 1], reason=body.reason
    )
    return await _step_response(api, changed, loaded, no)


def number_of(loaded: LoadedTemplate, step: str) -> int:
    """Return a step's number from its name or number. Raises NotFound."""
    if step in loaded.graph.numbers:
        return loaded.graph.numbers[step]
    if step.isdigit() and 1 <= int(step[:9]) <= len(loaded.graph.names):
        return int(step[:9])
    return loaded.number(step)


async def _step_response(api: Api, task: Task, loaded: LoadedTemplate, no: int) -> JsonResponse:
    """Respond with a step."""
    steps = await api.store.list_steps(task.id, after=no - 1, limit=1)
    now = datetime.now(UTC)
    timeline = await timeline_of(api, task, steps, now, no=no)
    return JsonResponse(step_view(loaded, steps[0], now, timeline))

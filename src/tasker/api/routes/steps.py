"""Steps of one task: listing, reading, and operator actions."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeAlias

from fastapi import Depends, Query
from starlette.requests import Request

from tasker.api.conditions import IfMatch
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import StepPath, TaskPath, Text
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse, build_response
from tasker.api.routes.tasks import (
    MOST_ATTEMPTS,
    operator_client,
    read_authorized_task,
    read_task_phase_times,
    read_template_of_task,
)
from tasker.api.routing import READS_BODY, Routes
from tasker.client import LocalClient
from tasker.client.templates import LoadedTemplate
from tasker.errors import NotFound
from tasker.limits import STEPS_PAGE
from tasker.model import Attempt, Step, Task, TaskId
from tasker.teams.permissions import STEPS_READ, STEPS_RESOLVE, STEPS_RETRY, Permission
from tasker.times import compute_task_times

routes = Routes("steps", "/v1/tasks/{task_id}/steps")

_MISSING = ("not_found",)
_ACTS = (*READS_BODY, "not_found", "task_exists", "wrong_status", "task_changed")


class RetryStepBody(RequestBody):
    """Gives a failed step another attempt."""

    reset_attempts: bool = False
    """Whether the step gets as many attempts as its retry policy allows instead of only one
    more."""
    fresh: bool = False
    """Whether the records of the step's durable calls are deleted, so that the calls are
    repeated."""
    reason: Text = ""


class ResolveStepBody(RequestBody):
    """Marks a step as done by other means."""

    result: Any = None
    """The result that dependent steps receive."""
    reason: Text = ""


class CompleteStepBody(RequestBody):
    """Completes a step with a result, as if its handler had returned it."""

    result: Any
    reason: Text = ""


class SkipStepBody(RequestBody):
    """Skips a step."""

    reason: Text = ""


class RequestedStep(NamedTuple):
    """The step at a route's path, with its task and template."""

    api: ApiServices
    client: LocalClient  #: acts on behalf of the caller
    task: Task
    loaded: LoadedTemplate
    no: int
    name: str

    async def respond_with_current_state(self, task: Task) -> JsonResponse:
        """Respond with the step in its current state."""
        steps = await self.api.store.list_steps(task.id, after=self.no - 1, limit=1)
        now = datetime.now(UTC)
        times = await read_task_phase_times(self.api, task, steps, now, no=self.no)
        return JsonResponse(self.loaded.fill_derived_step_fields(steps, now, times)[0])


def authorized_step_dependency(
    permission: Permission,
) -> Callable[..., Coroutine[Any, Any, RequestedStep]]:
    """Return the dependency that reads a step on which the caller may use `permission`."""

    async def read_authorized_step(
        request: Request, api: ApiServicesOf, task_id: TaskPath, step: StepPath
    ) -> RequestedStep:
        task = await read_authorized_task(request, api, task_id, permission)
        loaded = await read_template_of_task(api, task.id)
        client = operator_client(request, api)
        no, name = await find_step_number_and_name(api, loaded, task.id, step)
        return RequestedStep(api, client, task, loaded, no, name)

    return read_authorized_step


ReadableStep: TypeAlias = Annotated[RequestedStep, Depends(authorized_step_dependency(STEPS_READ))]
ResolvableStep: TypeAlias = Annotated[
    RequestedStep, Depends(authorized_step_dependency(STEPS_RESOLVE))
]
RetryableStep: TypeAlias = Annotated[
    RequestedStep, Depends(authorized_step_dependency(STEPS_RETRY))
]


@routes.add("GET", "", STEPS_READ, response=list[Step], error_codes=_MISSING)
async def list_steps(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=STEPS_PAGE)] = STEPS_PAGE,
) -> JsonResponse:
    """List a task's steps in the template's order, followed by created instances.

    `cursor` is the `no` of the last step of the previous page; a page with fewer steps than `limit`
    is the last page.
    """
    task = await read_authorized_task(request, api, task_id, STEPS_READ)
    loaded = await read_template_of_task(api, task.id)
    steps = await api.store.list_steps(task.id, after=cursor, limit=limit)
    history = await api.store.list_attempts(task.id, limit=MOST_ATTEMPTS)

    def build_step_page() -> list[Step]:
        now = datetime.now(UTC)
        return loaded.fill_derived_step_fields(
            steps, now, compute_task_times(task, steps, history, now)
        )

    return await build_response(len(steps), build_step_page)


@routes.add("GET", "/{step}", STEPS_READ, response=Step, error_codes=_MISSING)
async def get_step(step: ReadableStep) -> JsonResponse:
    """Read a step."""
    return await step.respond_with_current_state(step.task)


@routes.add("GET", "/{step}/attempts", STEPS_READ, response=list[Attempt], error_codes=_MISSING)
async def list_step_attempts(
    step: ReadableStep, limit: Annotated[int, Query(ge=1, le=MOST_ATTEMPTS)] = 1000
) -> JsonResponse:
    """List a step's ended attempts, oldest first."""
    return JsonResponse(await step.api.store.list_attempts(step.task.id, no=step.no, limit=limit))


@routes.add("POST", "/{step}/retry", STEPS_RETRY, response=Step, error_codes=_ACTS)
async def retry_step(
    body: Annotated[RetryStepBody, Depends(JsonBodyParser(RetryStepBody, optional=True))],
    step: RetryableStep,
    if_match: IfMatch,
) -> JsonResponse:
    """Give a failed step another attempt; its task is reopened."""
    retried = await step.client.retry(
        step.task.id,
        steps=[step.name],
        reset_attempts=body.reset_attempts,
        fresh=body.fresh,
        reason=body.reason,
        if_match=if_match,
    )
    return await step.respond_with_current_state(retried)


@routes.add("POST", "/{step}/resolve", STEPS_RESOLVE, response=Step, error_codes=_ACTS)
async def resolve_step(
    body: Annotated[ResolveStepBody, Depends(JsonBodyParser(ResolveStepBody, optional=True))],
    step: ResolvableStep,
    if_match: IfMatch,
) -> JsonResponse:
    """Mark a step as done by other means; its task continues."""
    return await step.respond_with_current_state(
        await step.client.resolve(
            step.task.id, step.name, body.result, reason=body.reason, if_match=if_match
        )
    )


@routes.add("POST", "/{step}/complete", STEPS_RESOLVE, response=Step, error_codes=_ACTS)
async def complete_step(
    body: Annotated[CompleteStepBody, Depends(JsonBodyParser(CompleteStepBody))],
    step: ResolvableStep,
    if_match: IfMatch,
) -> JsonResponse:
    """Complete a step with a result, as if its handler had returned it; its task continues."""
    return await step.respond_with_current_state(
        await step.client.complete_step(
            step.task.id, step.name, body.result, reason=body.reason, if_match=if_match
        )
    )


@routes.add("POST", "/{step}/skip", STEPS_RESOLVE, response=Step, error_codes=_ACTS)
async def skip_step(
    body: Annotated[SkipStepBody, Depends(JsonBodyParser(SkipStepBody, optional=True))],
    step: ResolvableStep,
    if_match: IfMatch,
) -> JsonResponse:
    """Skip a step that is not needed; its task continues with null as the step's result."""
    return await step.respond_with_current_state(
        await step.client.skip_step(step.task.id, step.name, reason=body.reason, if_match=if_match)
    )


async def find_step_number_and_name(
    api: ApiServices, loaded: LoadedTemplate, task_id: TaskId, step: str
) -> tuple[int, str]:
    """Return a step's number and name from its name or number. Raises NotFound."""
    if not step.isdigit() or step in loaded.graph.numbers:
        return await loaded.find_step_number_in_task(api.store, task_id, step), step
    no = int(step[:9])
    for following in await api.store.list_steps(task_id, after=no - 1, limit=1):
        if following.no == no:
            return no, following.name
    raise NotFound(f"task {task_id} has no step {step}")

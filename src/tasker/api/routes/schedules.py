"""Schedules: creating, changing, reading, pausing and backfilling them."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import Field, StringConstraints, field_validator
from starlette.requests import Request

from tasker import limits
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.conditions import IfMatch
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import Namespace, NamespacePath, StartTime, Text, Version
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import PauseReason, caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.task_requests import template_reference_of
from tasker.api.views.schedules import (
    ScheduleList,
    SchedulePreview,
    ScheduleView,
    TicksWithoutTaskList,
    TriggerResponse,
    schedule_view,
)
from tasker.client.schedules import PREVIEW
from tasker.model import EPOCH, PRIORITIES, OverlapPolicy, Schedule
from tasker.schedules.model import BackfillResult, StoredSchedule
from tasker.teams.permissions import (
    SCHEDULES_BACKFILL,
    SCHEDULES_CREATE,
    SCHEDULES_DELETE,
    SCHEDULES_PAUSE,
    SCHEDULES_READ,
    SCHEDULES_UPDATE,
    TASKS_CREATE,
    Permission,
)

routes = Routes("schedules", "/v1/schedules")

SchedulePath = Annotated[
    str,
    Path(
        max_length=260,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
        description=(
            "The schedule's name. The name of a declared schedule includes its template's name:"
            " `daily.nightly`."
        ),
    ),
]
Name = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
Length = Annotated[float, Field(ge=0)] | Annotated[str, StringConstraints(max_length=100)]
_SCHEDULE = "/{namespace}/{name}"
_CHANGES = (*READS_BODY, "not_found", "schedule_changed")
_CREATES = (*READS_BODY, "not_found", "invalid_input", "template_not_approved")


class ScheduleFields(RequestBody):
    """When tasks are created, and how."""

    cron: Annotated[str, StringConstraints(max_length=200)] = ""
    """A cron expression with five fields, in the local time of `timezone`. Exactly one of this
    field and `every` is required."""

    every: Length | None = None
    """The time between two ticks: a number of seconds, or a string such as `15m`."""

    anchor: StartTime | None = None
    """The time of one tick, from which `every` is counted. By default, 1970-01-01T00:00:00Z."""

    timezone: Annotated[str, StringConstraints(max_length=100)] = "UTC"
    """IANA name of a time zone, such as `Europe/Berlin`."""

    overlap: OverlapPolicy = OverlapPolicy.SKIP
    """What happens at a tick if the task of the previous tick is still open."""

    catch_up: Length = "6h"
    """Maximum age, from 1 minute to 30 days, at which a missed tick still gets a task, for example
    after an outage of all workers."""

    jitter: Length = 0
    """Maximum time by which a task's start is delayed, at most 1 day."""

    priority: Annotated[int, Field(ge=0, lt=PRIORITIES)] | None = None
    """Priority of the tasks. By default, the template's priority."""

    context: dict[str, Any] = Field(default_factory=dict)
    """Inputs of the tasks; `{tick.start}`, `{tick.end}` and `{tick.date}` in strings are replaced
    by the tick's times."""

    def to_schedule(self, name: str) -> Schedule:
        """Return the schedule. Raises InvalidInput."""
        return Schedule(
            name=name,
            cron=self.cron,
            every=self.every,
            anchor=self.anchor or EPOCH,
            timezone=self.timezone,
            overlap=self.overlap,
            catch_up=self.catch_up,
            jitter=self.jitter,
            priority=self.priority,
            context=self.context,
        )


class ScheduleWithTemplate(ScheduleFields):
    """A schedule with its template."""

    template: Name
    """Name of the template, in the schedule's namespace."""

    version: Version | None = None
    """An exact version or a range. By default, the latest release at each tick."""

    reason: Text = ""

    @field_validator("template", mode="before")
    @classmethod
    def _reject_namespace_in_template(cls, template: object) -> object:
        if isinstance(template, str) and "." in template:
            raise ValueError("must not contain the namespace: give it in the field 'namespace'")
        return template


class ScheduleChangeBody(ScheduleFields):
    """Changes of a schedule; absent fields keep their values. `cron` and `every` replace each
    other."""

    reason: Text = ""

    def apply_to(self, schedule: Schedule) -> Schedule:
        """Return the schedule with these changes. Raises InvalidInput."""
        names = self.model_fields_set - {"reason"}
        changes = {name: getattr(self, name) for name in names}
        if "anchor" in names:
            changes["anchor"] = self.anchor or EPOCH
        if self.cron and "every" not in names:
            changes["every"] = None
        if self.every is not None and "cron" not in names:
            changes["cron"] = ""
        return replace(schedule, **changes)


class NewScheduleBody(ScheduleWithTemplate):
    """A schedule to create."""

    name: Name
    namespace: Namespace = "default"


class SchedulePreviewBody(ScheduleFields):
    """A schedule whose ticks are to be computed."""

    name: Name = "preview"
    count: Annotated[int, Field(ge=1, le=limits.TICKS_PREVIEWED)] = PREVIEW
    after: StartTime | None = None
    """Only ticks after this time are computed. By default, now."""


class BackfillBody(RequestBody):
    """A range of past ticks."""

    start: StartTime
    """Start of the range; a tick at this time is included."""
    end: StartTime
    """End of the range, not in the future; a tick at this time is not included."""
    dry_run: bool = False
    """Whether to list the ticks without creating any tasks."""


class TriggerBody(RequestBody):
    """Creates a task of a schedule."""


@routes.add("GET", "", SCHEDULES_READ, response=ScheduleList)
async def list_schedules(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    template: Name | None = None,
    cursor: Annotated[int, Query(ge=0, lt=1 << 31)] | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> JsonResponse:
    """List schedules, oldest first."""
    listed = await api.store.list_schedules(
        namespace=namespace,
        template=template,
        visible=await visible_namespaces(request, SCHEDULES_READ),
        after=cursor,
        limit=limit + 1,
    )
    page = listed[:limit]
    return JsonResponse(
        ScheduleList(
            schedules=[schedule_view(stored) for stored in page],
            next_cursor=page[-1].id if len(listed) > limit else None,
        )
    )


@routes.add(
    "POST",
    "",
    SCHEDULES_CREATE,
    response=ScheduleView,
    status=201,
    description="The schedule was created.",
    error_codes=(*_CREATES, "schedule_exists"),
)
async def create_schedule(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[NewScheduleBody, Depends(JsonBodyParser(NewScheduleBody))],
) -> JsonResponse:
    """Create a schedule. Its first tick is the first one after now.

    Also needs `tasks:create`.
    """
    await authorize(request, SCHEDULES_CREATE, namespace=body.namespace)
    await authorize(request, TASKS_CREATE, namespace=body.namespace, name=body.template)
    template, schedule = (
        _template_reference_of_body(body.namespace, body),
        body.to_schedule(body.name),
    )
    schedules = caller_client(request, api).schedules
    return _schedule_response(await schedules.create(template, schedule, reason=body.reason), 201)


@routes.add(
    "POST",
    "/preview",
    SCHEDULES_READ,
    response=SchedulePreview,
    error_codes=(*READS_BODY, "invalid_input"),
)
async def preview_schedule(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[SchedulePreviewBody, Depends(JsonBodyParser(SchedulePreviewBody))],
) -> JsonResponse:
    """Compute the first ticks of a schedule, whether or not it exists."""
    schedules = caller_client(request, api).schedules
    ticks = await schedules.preview(body.to_schedule(body.name), count=body.count, after=body.after)
    return JsonResponse(SchedulePreview(ticks=ticks))


@routes.add("GET", _SCHEDULE, SCHEDULES_READ, response=ScheduleView, error_codes=("not_found",))
async def get_schedule(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, name: SchedulePath
) -> JsonResponse:
    """Read a schedule."""
    await _authorize_schedule(request, SCHEDULES_READ, namespace, name)
    return _schedule_response(await api.store.get_schedule(namespace, name))


@routes.add(
    "PUT",
    _SCHEDULE,
    SCHEDULES_UPDATE,
    response=ScheduleView,
    error_codes=(*_CREATES, "schedule_changed", "rejected"),
)
async def replace_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    if_match: IfMatch,
    body: Annotated[ScheduleWithTemplate, Depends(JsonBodyParser(ScheduleWithTemplate))],
) -> JsonResponse:
    """Replace a schedule.

    Its next tick stays the same unless its times change. Also needs `tasks:create`.
    """
    await _authorize_schedule(request, SCHEDULES_UPDATE, namespace, name)
    await authorize(request, TASKS_CREATE, namespace=namespace, name=body.template)
    template, schedule = _template_reference_of_body(namespace, body), body.to_schedule(name)
    schedules = caller_client(request, api).schedules
    return _schedule_response(
        await schedules.update(template, schedule, reason=body.reason, if_match=if_match)
    )


@routes.add(
    "PATCH",
    _SCHEDULE,
    SCHEDULES_UPDATE,
    response=ScheduleView,
    error_codes=(*_CREATES, "schedule_changed", "rejected"),
)
async def update_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    if_match: IfMatch,
    body: Annotated[ScheduleChangeBody, Depends(JsonBodyParser(ScheduleChangeBody))],
) -> JsonResponse:
    """Change some fields of a schedule that no template declares.

    Its next tick stays the same unless its times change. Also needs `tasks:create`.
    """
    await _authorize_schedule(request, SCHEDULES_UPDATE, namespace, name)
    stored = await api.store.get_schedule(namespace, name)
    await authorize(request, TASKS_CREATE, namespace=namespace, name=stored.template)
    template = f"{namespace}.{stored.template}"
    schedules = caller_client(request, api).schedules
    return _schedule_response(
        await schedules.update(
            f"{template}@{stored.version}" if stored.version else template,
            body.apply_to(stored.schedule),
            reason=body.reason,
            if_match=if_match or stored.etag,
        )
    )


@routes.add(
    "DELETE",
    _SCHEDULE,
    SCHEDULES_DELETE,
    response=ScheduleView,
    description="The deleted schedule.",
    error_codes=("not_found", "schedule_changed", "rejected"),
)
async def delete_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    if_match: IfMatch,
    reason: Text = "",
) -> JsonResponse:
    """Delete a schedule that no template declares; its tasks remain."""
    await _authorize_schedule(request, SCHEDULES_DELETE, namespace, name)
    stored = await api.store.get_schedule(namespace, name)
    schedules = caller_client(request, api).schedules
    await schedules.delete(stored.full_name, reason=reason, if_match=if_match)
    return _schedule_response(stored)


@routes.add(
    "GET",
    _SCHEDULE + "/ticks",
    SCHEDULES_READ,
    response=TicksWithoutTaskList,
    error_codes=("not_found",),
)
async def list_ticks_without_task(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    limit: Annotated[int, Query(ge=1, le=limits.TICKS_RECORDED)] = 100,
) -> JsonResponse:
    """List the ticks that have no task, latest first."""
    await _authorize_schedule(request, SCHEDULES_READ, namespace, name)
    ticks = await api.store.list_ticks_without_task(namespace, name, limit=limit)
    return JsonResponse(TicksWithoutTaskList(ticks=ticks))


@routes.add(
    "POST", _SCHEDULE + "/pause", SCHEDULES_PAUSE, response=ScheduleView, error_codes=_CHANGES
)
async def pause_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    if_match: IfMatch,
    body: PauseReason,
) -> JsonResponse:
    """Pause a schedule: its ticks create no tasks."""
    schedules = await _authorized_schedule_client(request, api, SCHEDULES_PAUSE, namespace, name)
    return _schedule_response(
        await schedules.pause(f"{namespace}.{name}", reason=body.reason, if_match=if_match)
    )


@routes.add(
    "POST", _SCHEDULE + "/resume", SCHEDULES_PAUSE, response=ScheduleView, error_codes=_CHANGES
)
async def resume_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    if_match: IfMatch,
    body: PauseReason,
) -> JsonResponse:
    """Resume a schedule, from the first tick after now."""
    schedules = await _authorized_schedule_client(request, api, SCHEDULES_PAUSE, namespace, name)
    return _schedule_response(
        await schedules.resume(f"{namespace}.{name}", reason=body.reason, if_match=if_match)
    )


@routes.add(
    "POST",
    _SCHEDULE + "/backfill",
    SCHEDULES_BACKFILL,
    response=BackfillResult,
    error_codes=(*_CREATES, "idempotency_conflict", "rejected"),
)
async def backfill_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    body: Annotated[BackfillBody, Depends(JsonBodyParser(BackfillBody))],
) -> JsonResponse:
    """Create a task with priority 0 for each tick in a past range.

    Also needs `tasks:create`.
    """
    schedules = await _authorized_schedule_client(request, api, SCHEDULES_BACKFILL, namespace, name)
    stored = await api.store.get_schedule(namespace, name)
    await authorize(request, TASKS_CREATE, namespace=namespace, name=stored.template)
    return JsonResponse(
        await schedules.backfill(stored.full_name, body.start, body.end, dry_run=body.dry_run)
    )


@routes.add(
    "POST",
    _SCHEDULE + "/trigger",
    SCHEDULES_BACKFILL,
    response=TriggerResponse,
    status=201,
    description="The task was created.",
    error_codes=_CREATES,
)
async def trigger_schedule(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: SchedulePath,
    body: Annotated[TriggerBody, Depends(JsonBodyParser(TriggerBody, optional=True))],
) -> JsonResponse:
    """Create a task of a schedule now, in addition to those of its ticks.

    Also needs `tasks:create`.
    """
    schedules = await _authorized_schedule_client(request, api, SCHEDULES_BACKFILL, namespace, name)
    stored = await api.store.get_schedule(namespace, name)
    await authorize(request, TASKS_CREATE, namespace=namespace, name=stored.template)
    task_id = await schedules.trigger(stored.full_name)
    return JsonResponse(TriggerResponse(task_id=task_id), 201, {"Location": f"/v1/tasks/{task_id}"})


async def _authorized_schedule_client(
    request: Request, api: ApiServices, permission: Permission, namespace: str, name: str
) -> Any:
    """Return the client's methods for schedules if the caller has a permission."""
    await _authorize_schedule(request, permission, namespace, name)
    return caller_client(request, api).schedules


async def _authorize_schedule(
    request: Request, permission: Permission, namespace: str, name: str
) -> None:
    message = f"schedule {namespace}.{name} not found"
    await authorize(request, permission, namespace=namespace, not_found_message=message)


def _template_reference_of_body(namespace: str, body: ScheduleWithTemplate) -> str:
    """Return the reference to a body's template. Raises Problem."""
    _, name, version = template_reference_of(body.template, namespace, body.version)
    return f"{namespace}.{name}@{version}" if version else f"{namespace}.{name}"


def _schedule_response(stored: StoredSchedule, status: int = 200) -> JsonResponse:
    headers = {"ETag": f'"{stored.etag}"'}
    if status == 201:
        headers["Location"] = f"/v1/schedules/{stored.namespace}/{stored.name}"
    return JsonResponse(schedule_view(stored), status, headers)

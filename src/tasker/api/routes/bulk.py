"""Operator actions on many tasks at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field, model_validator
from starlette.requests import Request

from tasker import limits
from tasker.api.authorization import (
    authorize,
    is_allowed_on_template,
    listable_task_namespaces,
    visible_namespaces,
)
from tasker.api.dependencies import ApiServices, ApiServicesOf, api_services_of
from tasker.api.fields import AttributeName, Line, Text, Uuid
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import TaskCriteria, operator_client, read_authorized_task
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.bulk import (
    DEFAULT_RATE,
    LEAST_RATE,
    BulkAction,
    BulkOperation,
    BulkPreview,
    BulkRequest,
    StoredBulkOperation,
)
from tasker.errors import NotFound
from tasker.model import TaskFilter, TaskId, TemplateName
from tasker.teams.permissions import (
    TASKS_CANCEL,
    TASKS_LIST,
    TASKS_RESOLVE,
    TASKS_RETRY,
    Permission,
)

routes = Routes("tasks", "/v1/bulk")

_PERMISSIONS = {
    BulkAction.CANCEL: TASKS_CANCEL,
    BulkAction.RETRY: TASKS_RETRY,
    BulkAction.RESOLVE: TASKS_RESOLVE,
}
_ANY = (TASKS_CANCEL, TASKS_RETRY, TASKS_RESOLVE)


class BulkFilter(RequestBody, TaskCriteria):
    """Tasks that match every given field; at least one is required."""

    attributes: Annotated[dict[AttributeName, Line], Field(min_length=1, max_length=20)] | None = (
        None
    )

    @model_validator(mode="after")
    def _require_any_field(self) -> "BulkFilter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("must have at least one field")
        return self


class BulkOperationBody(RequestBody):
    """An action on listed tasks, or on the tasks that match a filter."""

    action: BulkAction
    filter: BulkFilter | None = None
    """Filter for the tasks to change. Only open tasks are cancelled, and only failed tasks are
    retried or resolved."""
    ids: Annotated[list[Uuid], Field(min_length=1, max_length=limits.BULK_IDS)] | None = None
    steps: Annotated[list[Line], Field(min_length=1, max_length=100)] | None = None
    """Names of the steps to retry. By default, all failed steps."""
    reset_attempts: bool = False
    """Whether retried steps get as many attempts as their retry policies allow instead of only one
    more."""
    fresh: bool = False
    """Whether the records of the retried steps' durable calls are deleted, so that the calls are
    repeated."""
    per_second: Annotated[float, Field(ge=LEAST_RATE, le=limits.BULK_RATE)] = DEFAULT_RATE
    """Maximum number of tasks that are changed per second."""
    reason: Text = ""
    dry_run: bool = False
    """Whether to count the tasks without changing any."""
    token: Annotated[str, Field(max_length=100)] | None = None
    """The token of a dry run with the same action, tasks and options. The operation then changes
    only tasks created before the dry run, and a repeated request returns the same operation."""

    @model_validator(mode="after")
    def _require_filter_or_ids(self) -> "BulkOperationBody":
        if (self.filter is None) == (self.ids is None):
            raise ValueError("must have exactly one of 'filter' and 'ids'")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkList:
    """Operations on many tasks, newest first."""

    operations: list[BulkOperation]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""


@routes.add(
    "POST",
    "",
    *_ANY,
    response=BulkPreview,
    description="The result of a dry run: what the operation would change.",
    extra_responses={202: ExtraResponse(BulkOperation, "The operation was started.")},
    error_codes=(*READS_BODY, "invalid_input", "not_found"),
)
async def start_bulk_operation(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[BulkOperationBody, Depends(JsonBodyParser(BulkOperationBody))],
) -> JsonResponse:
    """Cancel, retry or resolve many tasks at a limited rate, or count them in a dry run.

    The operation is stored, and servers and workers execute it. They change each task once, in its
    own transaction, from the newest task to the oldest.
    """
    client = operator_client(request, api).bulk
    wanted = await _make_authorized_bulk_request(request, api, body)
    if body.dry_run:
        return JsonResponse(await client.preview_bulk_request(wanted))
    started = await client.start_bulk_request(
        wanted, per_second=body.per_second, reason=body.reason, token=body.token
    )
    return JsonResponse(started, 202)


@routes.add("GET", "", TASKS_LIST, response=BulkList)
async def list_bulk_operations(
    request: Request,
    api: ApiServicesOf,
    cursor: Uuid | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> JsonResponse:
    """List the operations on tasks that the caller may list, newest first.

    They are kept for 30 days after their end. Any page may have fewer than `limit` operations.
    """
    listed = await api.store.list_bulk_operations(after=cursor, limit=limit + 1)
    visible = await visible_namespaces(request, TASKS_LIST)
    page = listed[:limit]
    return JsonResponse(
        BulkList(
            operations=[one.operation for one in page if _is_within_namespaces(one, visible)],
            next_cursor=page[-1].operation.id if len(listed) > limit else None,
        )
    )


@routes.add("GET", "/{bulk_id}", TASKS_LIST, response=BulkOperation, error_codes=("not_found",))
async def read_bulk_operation(request: Request, api: ApiServicesOf, bulk_id: Uuid) -> JsonResponse:
    """Return an operation with its progress."""
    stored = await api.store.get_bulk_operation(bulk_id)
    if not _is_within_namespaces(stored, await visible_namespaces(request, TASKS_LIST)):
        raise NotFound(f"bulk operation {bulk_id} not found")
    return JsonResponse(stored.operation)


@routes.add(
    "DELETE",
    "/{bulk_id}",
    *_ANY,
    response=BulkOperation,
    error_codes=("not_found", "wrong_status"),
)
async def stop_bulk_operation(
    request: Request, api: ApiServicesOf, bulk_id: Uuid, reason: Text = ""
) -> JsonResponse:
    """Stop an operation: it changes no further tasks. Changes already made remain."""
    stored = await api.store.get_bulk_operation(bulk_id)
    permission = _PERMISSIONS[stored.operation.action]
    not_found_message = f"bulk operation {bulk_id} not found"
    for namespace in sorted(stored.namespaces or ()):
        await authorize(
            request, permission, namespace=namespace, not_found_message=not_found_message
        )
    if not _is_within_namespaces(stored, await visible_namespaces(request, permission)):
        raise NotFound(not_found_message)
    return JsonResponse(await operator_client(request, api).bulk.stop(bulk_id, reason=reason))


async def _make_authorized_bulk_request(
    request: Request, api: ApiServices, body: BulkOperationBody
) -> BulkRequest:
    """Return the bulk request of a body, limited to tasks that the caller may change.

    Raises:
        Problem: The caller may not perform the action on a listed task, or anywhere.
        NotFound: A listed task does not exist or may not be seen.
    """
    permission = _PERMISSIONS[body.action]
    filter, templates = None, None
    if body.filter is None:
        for one in dict.fromkeys(body.ids or ()):
            await read_authorized_task(request, api, TaskId(one), permission)
    else:
        await authorize(request, permission)
        attributes = body.filter.attributes or {}
        visible = await _actionable_namespaces(request, permission, attributes)
        filter = body.filter.to_task_filter(visible, attributes)
        templates = await _actionable_templates(request, permission, filter)
    return BulkRequest(
        action=body.action,
        filter=filter,
        ids=None if body.ids is None else tuple(dict.fromkeys(map(str.lower, body.ids))),
        steps=None if body.steps is None else tuple(body.steps),
        reset_attempts=body.reset_attempts,
        fresh=body.fresh,
        templates=templates,
    )


async def _actionable_namespaces(
    request: Request, permission: Permission, attributes: Mapping[str, str]
) -> frozenset[str] | None:
    """Return the namespaces in which the caller may list tasks and perform the action, or None for
    all."""
    listed = await listable_task_namespaces(request, TASKS_LIST, attributes)
    acted = await visible_namespaces(request, permission)
    if listed is None or acted is None:
        return acted if listed is None else listed
    return listed & acted


async def _actionable_templates(
    request: Request, permission: Permission, filter: TaskFilter
) -> frozenset[TemplateName] | None:
    """Return the templates whose tasks the caller may change, or None if that depends only on
    namespaces."""
    api = api_services_of(request)
    if api.authorizer.decides_by_namespace:
        return None
    stored = await api.store.list_template_versions(namespace=filter.namespace, name=filter.name)
    names = {TemplateName(one.namespace, one.name, one.version) for one in stored}
    return frozenset(
        [name for name in names if await is_allowed_on_template(request, permission, *name)]
    )


def _is_within_namespaces(stored: StoredBulkOperation, namespaces: frozenset[str] | None) -> bool:
    """Return whether all tasks of an operation belong to the given namespaces; None: to any."""
    if namespaces is None:
        return True
    return stored.namespaces is not None and stored.namespaces <= namespaces

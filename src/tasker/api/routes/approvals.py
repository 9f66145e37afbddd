"""Approvals: decisions that steps wait for."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.authorization import authorize, principal_of, visible_namespaces
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import Namespace, Text, Uuid
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views import documented
from tasker.approvals import EVERY_GROUP, Approval, assignees_actor_may_decide_for
from tasker.model import TaskId
from tasker.teams.permissions import APPROVALS_DECIDE, APPROVALS_READ, Permission

routes = Routes("approvals", "/v1/approvals")

ApprovalPath = Annotated[str, Path(max_length=100, description="The id of an approval.")]


@documented
class ApprovalList(TypedDict):
    """Approvals: open ones oldest first, decided ones newest first."""

    approvals: list[Approval]
    next_cursor: str | None
    """The `cursor` of the next page of open approvals; null on the last one."""


class DecisionBody(RequestBody):
    """Decides an approval."""

    form: Any
    """The filled-in form: an object that matches the approval's `form`, at most 64 KiB."""
    reason: Text = ""
    """The reason for the decision, which the task's audit log records."""


@routes.add("GET", "", APPROVALS_READ, response=ApprovalList)
async def list_approvals(
    request: Request,
    api: ApiServicesOf,
    mine: bool = False,
    status: Literal["open", "decided"] = "open",
    namespace: Namespace | None = None,
    task_id: Uuid | None = None,
    cursor: Uuid | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonResponse:
    """List approvals that steps wait for, or that were decided; `mine` selects the caller's own.

    Without authentication, everyone may decide all approvals, so `mine` selects all open ones.
    """
    visible = await visible_namespaces(request, APPROVALS_READ)
    task = None if task_id is None else TaskId(task_id)
    if status == "decided":
        decided = await api.store.list_decided_approvals(
            namespace=namespace, task_id=task, visible=visible, limit=limit
        )
        return JsonResponse(ApprovalList(approvals=decided, next_cursor=None))
    listed = await api.store.list_open_approvals(
        assignee=assignees_actor_may_decide_for(principal_of(request).name, caller_groups(request))
        if mine
        else None,
        namespace=namespace,
        task_id=task,
        visible=visible,
        after=cursor,
        limit=limit + 1,
    )
    more = len(listed) > limit
    shown = listed[:limit]
    return JsonResponse(ApprovalList(approvals=shown, next_cursor=shown[-1].id if more else None))


@routes.add("GET", "/{approval_id}", APPROVALS_READ, response=Approval, error_codes=("not_found",))
async def get_approval(
    request: Request, api: ApiServicesOf, approval_id: ApprovalPath
) -> JsonResponse:
    """Read an approval."""
    return JsonResponse(await _read_authorized_approval(request, api, approval_id, APPROVALS_READ))


@routes.add(
    "POST",
    "/{approval_id}/decision",
    APPROVALS_DECIDE,
    response=Approval,
    error_codes=(*READS_BODY, "not_found", "not_an_assignee", "wrong_status", "invalid_input"),
)
async def decide_approval(
    request: Request,
    api: ApiServicesOf,
    approval_id: ApprovalPath,
    body: Annotated[DecisionBody, Depends(JsonBodyParser(DecisionBody))],
) -> JsonResponse:
    """Decide an approval, so its step continues. The caller must be an assignee."""
    await _read_authorized_approval(request, api, approval_id, APPROVALS_DECIDE)
    decided = await caller_client(request, api).decide(
        approval_id, body.form, reason=body.reason, groups=caller_groups(request)
    )
    return JsonResponse(decided)


def caller_groups(request: Request) -> frozenset[str]:
    """Return the caller's groups. Without authentication, the caller belongs to all groups."""
    principal = principal_of(request)
    return principal.groups if principal.known else frozenset({EVERY_GROUP})


async def _read_authorized_approval(
    request: Request, api: ApiServices, approval_id: str, permission: Permission
) -> Approval:
    """Read an approval on which the caller may use `permission`. Raises NotFound, Problem."""
    approval = await api.store.get_approval(approval_id)
    await authorize(
        request,
        permission,
        namespace=approval.namespace,
        not_found_message=f"approval {approval_id} not found",
    )
    return approval

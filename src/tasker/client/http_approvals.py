"""Approvals, based on the API."""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from tasker.approvals import Approval
from tasker.client import decode
from tasker.client.approvals import ApprovalClient, check_approval_filters
from tasker.client.requests import ApiRequestSender
from tasker.codec import dumps
from tasker.limits import ARRIVAL_BYTES


class HttpApprovals(ApprovalClient):
    """Implements `ApprovalClient` with the API."""

    _requests: ApiRequestSender

    async def approvals(
        self,
        *,
        mine: bool = False,
        status: str = "open",
        namespace: str | None = None,
        task_id: str | None = None,
        groups: Collection[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        check_approval_filters(status, limit)
        query: dict[str, Any] = {"status": status, "limit": limit}
        query |= {"mine": "true"} if mine else {}
        given = {"namespace": namespace, "task_id": task_id, "cursor": after}
        query |= {name: value for name, value in given.items() if value is not None}
        read = await self._requests.get("/v1/approvals", **query)
        return decode.approvals(read["approvals"])

    async def approval(self, approval_id: str) -> Approval:
        return decode.approval(await self._requests.get(_approval_path(approval_id)))

    async def decide(
        self,
        approval_id: str,
        form: Any,
        *,
        reason: str = "",
        groups: Collection[str] = (),
    ) -> Approval:
        dumps(form, what="the form", limit=ARRIVAL_BYTES)
        body = {"form": form, "reason": reason}
        path = f"{_approval_path(approval_id)}/decision"
        return decode.approval(await self._requests.send("POST", path, body=body))


def _approval_path(approval_id: str) -> str:
    return f"/v1/approvals/{quote(approval_id, safe='')}"

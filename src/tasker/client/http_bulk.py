"""Bulk operations, based on the API."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from tasker import bulk
from tasker.bulk import BulkAction, BulkActionName, BulkOperation, BulkPreview
from tasker.client.bulk import BulkClient, wait_for_bulk
from tasker.client.fields import filter_to_body
from tasker.client.requests import ApiRequestSender
from tasker.durations import Duration
from tasker.model import TaskFilter

_preview = TypeAdapter(BulkPreview).validate_python
_operation = TypeAdapter(BulkOperation).validate_python
_operations = TypeAdapter(list[BulkOperation]).validate_python


class HttpBulk(BulkClient):
    """Implements `BulkClient` with the API."""

    def __init__(self, requests: ApiRequestSender) -> None:
        self._requests = requests

    async def preview(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
    ) -> BulkPreview:
        body = _request_body(action, filter, ids, steps, reset_attempts, fresh)
        return _preview(
            await self._requests.send("POST", "/v1/bulk", body={**body, "dry_run": True})
        )

    async def start(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        per_second: float = bulk.DEFAULT_RATE,
        reason: str = "",
        token: str | None = None,
    ) -> BulkOperation:
        body = _request_body(action, filter, ids, steps, reset_attempts, fresh)
        body |= {"per_second": per_second, "reason": reason, "token": token}
        started = await self._requests.send(
            "POST", "/v1/bulk", body=body, repeatable=token is not None
        )
        return _operation(started)

    async def get(self, bulk_id: str) -> BulkOperation:
        return _operation(await self._requests.get(f"/v1/bulk/{bulk_id}"))

    async def list(self, *, after: str | None = None, limit: int = 25) -> list[BulkOperation]:
        read = await self._requests.get("/v1/bulk", cursor=after, limit=limit)
        return _operations(read["operations"])

    async def stop(self, bulk_id: str, *, reason: str = "") -> BulkOperation:
        query = {"reason": reason or None}
        path = f"/v1/bulk/{bulk_id}"
        return _operation(await self._requests.send("DELETE", path, query=query, repeatable=False))

    async def wait(self, bulk_id: str, timeout: Duration | None = None) -> BulkOperation:
        return await wait_for_bulk(self, bulk_id, timeout)


def _request_body(
    action: BulkAction | BulkActionName,
    filter: TaskFilter | None,
    ids: Sequence[str] | None,
    steps: Sequence[str] | None,
    reset_attempts: bool,
    fresh: bool,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "action": action,
        "steps": None if steps is None else [*steps],
        "reset_attempts": reset_attempts,
        "fresh": fresh,
    }
    if filter is not None:
        body["filter"] = filter_to_body(filter)
    if ids is not None:
        body["ids"] = [*ids]
    return body

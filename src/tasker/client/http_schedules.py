"""Schedules, based on the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from tasker.client.requests import ApiRequestSender
from tasker.client.schedules import PREVIEW, ScheduleClient, split_schedule_name
from tasker.client.templates import split_template_reference
from tasker.model import Schedule, TaskId
from tasker.schedules.document import schedule_to_document
from tasker.schedules.model import BackfillResult, StoredSchedule, TicksWithoutTask

_PAGE = 100

_instants = TypeAdapter(list[datetime]).validate_python
_records = TypeAdapter(list[TicksWithoutTask]).validate_python
_backfill = TypeAdapter(BackfillResult).validate_python
_instant = TypeAdapter(datetime).validate_python
_optional_instant = TypeAdapter(datetime | None).validate_python
_SPEC = (
    "name",
    "cron",
    "every",
    "timezone",
    "overlap",
    "catch_up",
    "jitter",
    "priority",
    "context",
)


class HttpSchedules(ScheduleClient):
    """Implements `ScheduleClient` with the API."""

    def __init__(self, requests: ApiRequestSender) -> None:
        self._requests = requests

    async def create(
        self, template: str, schedule: Schedule, *, reason: str = ""
    ) -> StoredSchedule:
        namespace, name, version = split_template_reference(template, None, None)
        body = {
            **schedule_to_document(schedule),
            "namespace": namespace,
            "template": name,
            "version": version,
            "reason": reason,
        }
        return _decode_schedule(
            await self._requests.send("POST", "/v1/schedules", body=body, repeatable=False)
        )

    async def update(
        self, template: str, schedule: Schedule, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        namespace, name, version = split_template_reference(template, None, None)
        body = {
            **schedule_to_document(schedule),
            "template": name,
            "version": version,
            "reason": reason,
        }
        del body["name"]
        path = _schedule_path(f"{namespace}.{schedule.name}")
        return _decode_schedule(
            await self._requests.send("PUT", path, body=body, headers=_if_match_headers(if_match))
        )

    async def preview(
        self, schedule: Schedule, *, count: int = PREVIEW, after: datetime | None = None
    ) -> list[datetime]:
        body = {**schedule_to_document(schedule), "count": count, "after": after}
        read = await self._requests.send("POST", "/v1/schedules/preview", body=body)
        return _instants(read["ticks"])

    async def get(self, name: str) -> StoredSchedule:
        return _decode_schedule(await self._requests.get(_schedule_path(name)))

    async def ticks_without_task(self, name: str, *, limit: int = 100) -> list[TicksWithoutTask]:
        read = await self._requests.get(f"{_schedule_path(name)}/ticks", limit=limit)
        return _records(read["ticks"])

    async def pause(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        return await self._pause_or_resume(name, "pause", reason, if_match)

    async def resume(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        return await self._pause_or_resume(name, "resume", reason, if_match)

    async def _pause_or_resume(
        self, name: str, verb: str, reason: str, if_match: str | None
    ) -> StoredSchedule:
        return _decode_schedule(
            await self._requests.send(
                "POST",
                f"{_schedule_path(name)}/{verb}",
                body={"reason": reason},
                headers=_if_match_headers(if_match),
            )
        )

    async def delete(self, name: str, *, reason: str = "", if_match: str | None = None) -> None:
        await self._requests.send(
            "DELETE",
            _schedule_path(name),
            query={"reason": reason or None},
            headers=_if_match_headers(if_match),
        )

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> BackfillResult:
        body = {"start": start, "end": end, "dry_run": dry_run}
        return _backfill(
            await self._requests.send("POST", f"{_schedule_path(name)}/backfill", body=body)
        )

    async def trigger(self, name: str) -> TaskId:
        path = f"{_schedule_path(name)}/trigger"
        read = await self._requests.send("POST", path, body={}, repeatable=False)
        return TaskId(read["task_id"])

    async def list(
        self, namespace: str | None = None, *, template: str | None = None
    ) -> list[StoredSchedule]:
        listed: list[StoredSchedule] = []
        cursor = None
        while True:
            read = await self._requests.get(
                "/v1/schedules",
                namespace=namespace,
                template=template,
                cursor=cursor,
                limit=_PAGE,
            )
            listed += map(_decode_schedule, read["schedules"])
            cursor = read["next_cursor"]
            if cursor is None:
                return listed


def _schedule_path(name: str) -> str:
    return "/v1/schedules/" + "/".join(quote(part, safe="") for part in split_schedule_name(name))


def _if_match_headers(if_match: str | None) -> Mapping[str, str] | None:
    return None if if_match is None else {"If-Match": f'"{if_match}"'}


def _decode_schedule(view: Mapping[str, Any]) -> StoredSchedule:
    spec = {key: view[key] for key in _SPEC if view[key] is not None}
    if view["anchor"] is not None:
        spec["anchor"] = _instant(view["anchor"])
    return StoredSchedule(
        id=view["id"],
        namespace=view["namespace"],
        template=view["template"],
        version=view["version"],
        schedule=Schedule(**spec),
        declared_by=view["declared_by"],
        paused=view["paused"],
        etag=view["etag"],
        next_at=_instant(view["next_at"]),
        last_at=_optional_instant(view["last_at"]),
        last_task=view["last_task"],
        buffered=view["buffered"],
        created_by=view["created_by"],
        created_at=_instant(view["created_at"]),
        updated_at=_instant(view["updated_at"]),
    )

"""Waiting for tasks, and following them, as long as one may see them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest
from tests.api.auth.scene import (
    ACT,
    UNKNOWN_TASK,
    begin,
    calling,
    key,
)
from tests.waiting import eventually

from tasker.api import create_app
from tasker.api.auth import PermissionCoordinator, Principal, Resource
from tasker.api.routes import waiting
from tasker.api.server import run_server
from tasker.model import TaskId
from tasker.settings import AuthSettings, ServerSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import parse_key

pytestmark = pytest.mark.anyio


class Fickle(PermissionCoordinator):
    """Decides by permissions, until it changes its mind."""

    willing = True

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        return self.willing and super().authorized(principal, resource, action, context)


async def events_until(
    either: Store, end: Callable[[str], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Follow a task, call `end` after its first events, and return all events."""
    monkeypatch.setattr(waiting, "_SLICE", 0.05)
    settings = ServerSettings(port=0)
    rules = f"{__name__}:Fickle"
    auth = AuthSettings(enabled=True, cache=timedelta(0), coordinator=rules)
    app = create_app(either, settings=settings, auth=auth)
    text, task = await key(either, "viewer"), await begin(either, "payments")
    events: list[str] = []
    async with (
        asyncio.timeout(60),
        run_server(app, settings) as server,
        httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": text}, timeout=60) as caller,
        caller.stream("GET", f"/v1/tasks/{task}/stream") as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("event:"):
                events.append(line.removeprefix("event: "))
            if line.startswith("data:") and events[-1] == "problem":
                events.append(line)
            if events == ["task", "step", "step"]:
                await end(text)
                events.append("the end")
    return events


ENDED = ["task", "step", "step", "the end", "problem"]


async def test_revoking_a_key_ends_its_streams(
    either: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Soon after that was revoked.
    """

    async def revoke(text: str) -> None:
        parts = parse_key(text)
        assert parts is not None
        await either.revoke_api_key(parts.prefix, ACT)

    events = await events_until(either, revoke, monkeypatch)

    assert [*ENDED, 'data: {"code":"unauthenticated"}'] == events


async def test_revoking_the_permission_to_view_ends_a_stream(
    either: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Soon after the rules have changed.
    """

    async def change(_: str) -> None:
        monkeypatch.setattr(sys.modules[__name__].Fickle, "willing", False)

    events = await events_until(either, change, monkeypatch)

    assert [*ENDED, 'data: {"code":"not_found"}'] == events


async def test_revoking_a_key_ends_its_waits(
    either: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Soon after a revocation, long before its own time is up.
    """
    monkeypatch.setattr(waiting, "_SLICE", 0.05)
    text, task = await key(either, "viewer"), await begin(either, "payments")
    parts = parse_key(text)
    assert parts is not None
    auth = AuthSettings(enabled=True, cache=timedelta(0))
    app = create_app(either, auth=auth)
    caller = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://t", headers={"X-API-Key": text}
    )
    async with asyncio.timeout(60), caller:
        waits = asyncio.create_task(caller.get(f"/v1/tasks/{task}/wait?timeout=3600"))
        await eventually(lambda: app.state.tasker.watcher.waiting_request_count(task))
        await either.revoke_api_key(parts.prefix, ACT)
        answer = await waits

    assert (401, "revoked") == (answer.status_code, answer.json()["reason"])


async def test_the_default_settings_end_waits_within_5_s() -> None:
    assert AuthSettings().cache.total_seconds() + waiting._SLICE <= 5


async def test_a_wait_needs_the_permission_to_view_the_task(either: Store) -> None:
    own, hidden = await begin(either, "payments"), await begin(either, "orders")
    await either.cancel_task(own, ACT)
    async with calling(either, await key(either, "viewer")) as caller:
        statuses = [
            (await caller.get(f"/v1/tasks/{task}/{way}")).status_code
            for task in (own, hidden, TaskId(UNKNOWN_TASK))
            for way in ("wait?timeout=0", "stream")
        ]

    assert [200, 200, 404, 404, 404, 404] == statuses

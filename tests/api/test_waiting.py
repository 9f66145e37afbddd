"""Waiting for tasks over HTTP: long polls, and streams of events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from tests.api.api_client import SOON, UNKNOWN_TASK, ApiClient
from tests.waiting import eventually

from tasker.api import create_app
from tasker.api.routes import waiting
from tasker.api.server import Server, run_server
from tasker.api.waiting import TaskWatcher
from tasker.settings import ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

SETTINGS = ServerSettings(port=0, grace=timedelta(seconds=5))


class Event(NamedTuple):
    """One event of a stream."""

    name: str
    data: Any
    id: str | None


@asynccontextmanager
async def served(
    store: Store, settings: ServerSettings = SETTINGS
) -> AsyncIterator[tuple[Server, ApiClient, TaskWatcher]]:
    """Serve an application: streams do not flow without a connection."""
    app = create_app(store, settings=settings)
    async with (
        run_server(app, settings) as server,
        ApiClient(store, base_url=server.url, timeout=SOON) as client,
    ):
        yield server, client, app.state.tasker.watcher


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Yield the events of a stream as they arrive."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


# ------------------------------------------------------------------- long polls


async def test_a_wait_ends_when_the_task_ends(api: ApiClient) -> None:
    """
    200 when it ended, 202 when the time was over before.
    """
    task = await api.create()
    place = f"/v1/tasks/{task['id']}/wait"

    early = await api.read(place, 202, params={"timeout": 0})
    waiting = asyncio.create_task(api.read(place, params={"timeout": SOON}))
    async with api.worker():
        ended = await waiting

    assert ("pending", "complete") == (early["status"], ended["status"])
    assert ended == await api.read(place, params={"timeout": 0})


async def test_a_wait_without_a_task_is_refused(one: ApiClient) -> None:
    task = await one.create()

    assert "not_found" == (await one.read(f"/v1/tasks/{UNKNOWN_TASK}/wait", 404))["code"]
    for timeout in ("-1", "nan", "1e9", "soon"):
        refused = await one.read(f"/v1/tasks/{task['id']}/wait", 400, params={"timeout": timeout})
        assert "query.timeout" == refused["errors"][0]["path"]


async def test_waits_for_one_task_share_their_queries(memory: Store) -> None:
    """
    The number of store reads does not depend on the number of waiting requests; it is 0 without
    any.
    """
    looks = 0
    get_task = memory.get_task

    async def counted(task_id: Any) -> Any:
        nonlocal looks
        looks += 1
        return await get_task(task_id)

    memory.get_task = counted  # type: ignore[method-assign]
    app = create_app(memory)
    async with ApiClient(memory, transport=httpx.ASGITransport(app), base_url="http://t") as one:
        task = await one.create()
        place = f"/v1/tasks/{task['id']}/wait"
        await asyncio.gather(*(one.read(place, 202, params={"timeout": 0.3}) for _ in range(50)))

        assert 50 <= looks < 50 + 30
        assert 0 == app.state.tasker.watcher.waiting_request_count(task["id"])


# ---------------------------------------------------------------------- streams


async def test_a_stream_reports_changes_and_ends_with_the_task(memory: Store) -> None:
    """First the current state, then each change, last the end."""
    async with served(memory) as (_, one, _):
        task = await one.create()
        seen = []
        async with one.stream("GET", f"/v1/tasks/{task['id']}/stream") as response:
            assert "text/event-stream" == response.headers["content-type"].partition(";")[0]
            following = events(response)
            seen += [await anext(following) for _ in range(5)]
            async with one.worker():
                seen += [event async for event in following]

    assert ["task"] + ["step"] * 4 == [event.name for event in seen[:5]]
    assert ("end", {"status": "complete"}) == seen[-1][:2]
    last = {event.data["name"]: event.data for event in seen if event.name == "step"}
    assert {"complete"} == {step["status"] for step in last.values()}
    assert "complete" == [event for event in seen if event.name == "task"][-1].data["status"]
    assert "context" not in seen[0].data
    assert "result" not in seen[1].data


async def test_a_broken_stream_continues_where_it_stopped(memory: Store) -> None:
    """
    With the last id, nothing is repeated if nothing changed; otherwise the stream begins with
    the whole task.
    """
    async with served(memory) as (_, one, _):
        task = await one.create()
        place = f"/v1/tasks/{task['id']}/stream"
        async with one.stream("GET", place) as response:
            first = await anext(events(response))
        await one.call(f"/v1/tasks/{task['id']}/cancel")
        async with one.stream("GET", place) as response:
            whole = [event async for event in events(response)]

        names = []
        for last in (whole[-1].id, first.id):
            headers = {"Last-Event-ID": last or ""}
            async with one.stream("GET", place, headers=headers) as response:
                names.append([event.name async for event in events(response)])

    assert [["end"], ["task", "step", "step", "step", "step", "end"]] == names


async def test_an_idle_stream_sends_heartbeats(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "HEARTBEAT", 0.0)
    monkeypatch.setattr(waiting, "_SLICE", 0.02)
    async with served(memory) as (_, one, _):
        task = await one.create()
        async with one.stream("GET", f"/v1/tasks/{task['id']}/stream") as response:
            async for line in response.aiter_lines():
                if line == ": alive":
                    break

            assert ": alive" == line


@pytest.mark.parametrize("place", ["/v1/tasks/{}/stream", "/v1/stream?task={}"])
async def test_a_stream_outlives_the_time_limit_of_requests(
    memory: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(waiting, "HEARTBEAT", 0.0)
    monkeypatch.setattr(waiting, "_SLICE", 0.02)
    limit = 0.5
    settings = SETTINGS.model_copy(update={"timeout": timedelta(seconds=limit)})
    async with served(memory, settings) as (_, one, _):
        task = await one.create()
        began = time.monotonic()
        async with one.stream("GET", place.format(task["id"])) as response:
            async for _line in response.aiter_lines():
                if time.monotonic() - began > 3 * limit:
                    break
            else:
                raise AssertionError("the stream ended")


async def test_a_stopping_server_ends_streams_and_waits(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits get a response, so that clients do not see an error."""
    monkeypatch.setattr(waiting, "_SLICE", 0.05)
    async with served(memory) as (server, one, watch):
        task = await one.create()
        place = f"/v1/tasks/{task['id']}"
        async with one.stream("GET", f"{place}/stream") as response:
            following = events(response)
            await anext(following)
            waits = asyncio.create_task(one.read(f"{place}/wait", 202, params={"timeout": 60}))
            await eventually(lambda: 2 == watch.waiting_request_count(task["id"]))
            server.stop()

            assert {"step"} == {event.name async for event in following}
            assert "pending" == (await waits)["status"]

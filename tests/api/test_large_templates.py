"""Templates and tasks of many steps do not hold the event loop: what runs there is counted."""

import asyncio
import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from tests.api.api_client import ApiClient
from tests.api.auth.scene import key
from tests.api.conftest import client_of

from tasker import LocalClient
from tasker.api import create_app, viewing
from tasker.api.responses import JsonResponse
from tasker.api.routes import waiting
from tasker.model import JsonObject
from tasker.settings import AuthSettings
from tasker.store import registry
from tasker.store.operations.tasks import STEPS_AT_ONCE
from tasker.store.protocol import Store
from tasker.store.rows import RowReader
from tasker.template import parts, schema
from tasker.template.load import template_from_document

pytestmark = pytest.mark.anyio

STEPS = 2 * STEPS_AT_ONCE
LARGE: JsonObject = {
    "name": "large",
    "namespace": "shop",
    "version": "1.0.0",
    "steps": [{"name": f"step_{no}", "handler": {"callable": "shop.x"}} for no in range(STEPS)],
}


class Threads:
    """Records which threads call functions with a large result or argument."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[tuple[str, int]] = []
        self._monkeypatch = monkeypatch

    def watch(self, owner: object, name: str, *, least: int = 0) -> None:
        """Record calls of a method whose result has at least `least` parts."""
        real = getattr(owner, name)

        def recorded(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            if not least or len(result) >= least:
                self.called.append((name, threading.get_ident()))
            return result

        self._monkeypatch.setattr(owner, name, recorded)


async def test_large_templates_and_tasks_are_handled_off_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Reading, writing, storing and parsing them; steps are read a page at a time.
    """
    threads = Threads(monkeypatch)
    parsed: Counter[int] = Counter()  # steps, by the turn of the event loop
    real, turn = RowReader.parse_step, 0

    def counted(reader: RowReader, row: Any) -> Any:
        if threading.get_ident() == loop:
            parsed[turn] += 1
        return real(reader, row)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    loop, turns = threading.get_ident(), asyncio.create_task(take_turns())
    monkeypatch.setattr(RowReader, "parse_step", counted)
    threads.watch(JsonResponse, "render", least=50_000)
    threads.watch(RowReader, "parse_template")
    threads.watch(waiting._TaskStreamState, "take_new_events", least=STEPS)
    threads.watch(waiting._TaskStreamState, "encode_events", least=50_000)
    monkeypatch.setattr(registry.TemplateRow, "of_template", _recorded_of(threads))
    async with client_of(store) as api:
        await api.call("/v1/templates", LARGE, 201)
        task = (await api.call("/v1/tasks", {"name": "shop.large", "context": {}}, 201))["id"]
        for path in (
            f"/v1/tasks/{task}",
            f"/v1/tasks/{task}/steps",
            f"/tasker/tasks/{task}",
            f"/compat/core/v1/tasks/{task}",
            f"/compat/core/v1/tasks/{task}/workflow_steps",
            "/v1/templates?documents=true",
            "/v1/templates/shop/large/1.0.0",
        ):
            await api.read(path)
        steps = await api.read(f"/v1/tasks/{task}/steps")
        cancelled = await api.call(f"/v1/tasks/{task}/cancel", {})
        stream = await api.get(f"/v1/tasks/{task}/stream")
    turns.cancel()

    assert [f"step_{no}" for no in range(STEPS)] == [step["name"] for step in steps]
    assert STEPS == len(cancelled["steps"])
    assert STEPS_AT_ONCE >= max(parsed.values(), default=0)
    assert STEPS == stream.text.count("event: step")
    called = {name for name, _ in threads.called}
    assert {"render", "parse_template", "of", "take_new_events", "encode_events"} == called
    assert 10 == sum(name == "render" for name, _ in threads.called)
    assert [] == [name for name, thread in threads.called if thread == loop]


async def test_large_answers_are_masked_off_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a caller who may not read payloads; also searching and writing them is done there."""
    viewer = {"Authorization": f"Bearer {await key(store, 'viewer', namespaces=['*'])}"}
    await store.register_template(template_from_document(LARGE), registered_by="tests")
    task = await LocalClient(store).create_task("shop.large", {"order": "o-1"})
    await LocalClient(store).cancel(task.id)
    app = create_app(store, auth=AuthSettings(enabled=True))
    transport = httpx.ASGITransport(app)
    threads = Threads(monkeypatch)
    threads.watch(JsonResponse, "render", least=50_000)
    threads.watch(waiting._TaskStreamState, "encode_events", least=50_000)
    threads.watch(viewing, "find_data_owners")
    threads.watch(viewing, "mask_response")
    async with ApiClient(store, transport=transport, base_url="http://t", headers=viewer) as api:
        shown = await api.read(f"/v1/tasks/{task.id}")
        await api.read(f"/v1/tasks/{task.id}/steps")
        stream = await api.get(f"/v1/tasks/{task.id}/stream")

    assert {"order": {"masked": True, "type": "string"}} == shown["context"]
    assert STEPS == stream.text.count("event: step")
    counts = Counter(name for name, _ in threads.called)
    assert {"render": 4, "encode_events": 1, "find_data_owners": 3, "mask_response": 3} == counts
    assert threading.get_ident() not in {thread for _, thread in threads.called}


async def test_schemas_are_checked_off_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are checked at registration only."""
    checked: list[int] = []
    real = schema.find_schema_fault

    def recorded(document: JsonObject) -> schema.SchemaFault | None:
        checked.append(threading.get_ident())
        return real(document)

    monkeypatch.setattr(parts, "find_schema_fault", recorded)
    small = {
        "name": "small",
        "version": "1.0.0",
        "namespace": "shop",
        "input_schema": {"properties": {"kids": {"items": {"$ref": "#"}}}},
        "steps": [{"name": "only"}],
        "environments": {"production": {"steps": [{"name": "only", "timeout_seconds": 5}]}},
    }
    async with client_of(store) as api:
        await api.call("/v1/templates", small, 201)
        await api.read("/v1/templates/shop/small/1.0.0")
        await api.call("/v1/tasks", {"name": "shop.small", "context": {"kids": [{}]}}, 201)

    assert checked
    assert threading.get_ident() not in checked


def _recorded_of(threads: Threads) -> Any:
    real = registry.TemplateRow.of_template

    def of(template: Any) -> registry.TemplateRow:
        threads.called.append(("of", threading.get_ident()))
        return real(template)

    return of

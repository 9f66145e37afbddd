"""Attempts: where their results are checked."""

import threading
from typing import Any

import pytest
from tests.engine.factories import SOON, step, template

from tasker import Worker
from tasker.engine import executor
from tasker.store.protocol import Store
from tasker.template.schema import find_result_violations

pytestmark = pytest.mark.anyio

TREE = {"type": "object", "additionalProperties": {"$ref": "#"}}  #: recursive: never quick


@pytest.mark.parametrize(("schema", "in_loop"), [({"type": "object"}, True), (TREE, False)])
async def test_only_small_results_are_checked_in_the_event_loop(
    memory: Store, monkeypatch: pytest.MonkeyPatch, schema: Any, in_loop: bool
) -> None:
    threads: list[int] = []

    def checked(*args: Any) -> list[str]:
        threads.append(threading.get_ident())
        return find_result_violations(*args)

    monkeypatch.setattr(executor, "find_result_violations", checked)
    flow = template("flow", step("only", result_schema=schema))
    async with Worker(memory, [{"only": lambda: {"a": {}}}], templates=[flow]) as worker:
        await worker.client.run("n.flow", timeout=SOON)

    assert [in_loop] == [thread == threading.get_ident() for thread in threads]

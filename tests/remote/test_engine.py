"""Laws of the engine, held by a worker that reaches the store through a server.

The tests are those of `tests/engine`, with another worker.
"""

from collections.abc import AsyncIterator
from inspect import signature
from types import ModuleType
from typing import Any, Self

import httpx
import pytest
from tests.engine import (
    test_approvals,
    test_child_tasks,
    test_durable_calls,
    test_external,
    test_handlers,
    test_instances,
    test_step_logs,
    test_waiting,
)

from tasker import Misuse, Worker, WorkerSettings, open_store
from tasker.api import create_app
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker
from tasker.settings import ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

MODULES = (
    test_approvals,
    test_child_tasks,
    test_durable_calls,
    test_external,
    test_handlers,
    test_instances,
    test_step_logs,
    test_waiting,
)


LOCAL = {
    "test_calls_that_complete_together_share_a_statement": "each call is a request",
    "test_an_earlier_signal_is_received_without_parking": "the step is parked, and due",
    "test_a_handler_broadcasts_in_the_namespace_of_its_task": "reads the store of its client",
    "test_calls_beyond_the_limit_are_a_permanent_error": "a thousand requests",
}
"""Tests of what differs over HTTP, and how."""

SELECTED = {
    test_external: {
        "test_another_system_completes_an_external_step",
        "test_a_completion_during_the_attempt_is_used",
        "test_a_completion_before_the_settlement_of_the_last_failure_is_used",
        "test_a_failed_external_step_fails_its_task",
    },
    test_instances: {
        "test_a_map_runs_its_handler_for_each_element",
        "test_bodies_of_several_steps_may_be_nested",
        "test_a_batch_that_yields_continues_from_its_checkpoint",
        "test_an_instance_adds_instances_to_its_own_join",
        "test_many_results_are_read_in_pages",
        "test_a_sync_handler_can_read_instances",
    },
    test_step_logs: {
        "test_logged_records_and_printed_lines_are_kept",
        "test_logs_are_stored_while_the_attempt_runs",
        "test_the_setting_says_which_logs_are_kept",
    },
}
"""The tests of modules whose others show nothing more here."""

is_configured = test_step_logs.is_configured


@pytest.fixture
def url() -> str:
    """Return the URL of an empty store in memory."""
    return "sqlite::memory:"


@pytest.fixture
async def memory(store: Store) -> Store:
    """Return the same store."""
    return store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Open an empty store in memory."""
    async with open_store("sqlite::memory:") as store:
        yield store


@pytest.fixture(autouse=True)
async def _remote(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Connect the workers of the tests to an application over their store.

    A worker of the server runs the engine's steps and duties.
    """

    class Connected(RemoteWorker):
        async def __aenter__(self) -> Self:
            await super().__aenter__()
            self.server = Worker(served[self], engine_only=True)  # which finds its templates
            await self.server.__aenter__()
            return self

        async def __aexit__(self, *failure: Any) -> None:
            try:
                await super().__aexit__(*failure)
            finally:
                await self.server.__aexit__(*failure)

    served: dict[RemoteWorker, Store] = {}

    def worker(store: Store, handlers: Any = (), **options: Any) -> RemoteWorker:
        if (settings := options.get("settings")) is not None:  # the server has the address
            options["settings"] = settings.model_copy(update={"http": False})
        url = None if settings is None else settings.public_url
        server = ServerSettings(public_url=url)
        transport = httpx.ASGITransport(create_app(store, settings=server))
        remote = RemoteStore("http://tasker", transport=transport)
        connected = Connected(remote, handlers, **options)
        served[connected] = store
        return connected

    for module in MODULES:
        if hasattr(module, "Worker"):
            monkeypatch.setattr(module, "Worker", worker)
    yield


def _is_for_workers(module: ModuleType, name: str, test: Any) -> bool:
    """Return whether a test is of a worker over a store."""
    if not name.startswith("test_") or name in LOCAL or not callable(test):
        return False
    if module in SELECTED:
        return name in SELECTED[module]
    return not {"memory", "tmp_path"} & set(signature(test).parameters)


globals().update(
    {
        f"{name}_of_{module.__name__.rpartition('.')[2]}": test
        for module in MODULES
        for name, test in vars(module).items()
        if _is_for_workers(module, name, test)
    }
)


async def test_a_remote_worker_refuses_http_steps() -> None:
    remote = RemoteStore("http://127.0.0.1:9")

    with pytest.raises(Misuse, match="not with --server"):
        RemoteWorker(remote, namespaces=["n"], settings=WorkerSettings(http=True))

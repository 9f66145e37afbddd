"""Generated requests get the answers that the API's description has."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

from tasker import LocalClient, Template, open_store
from tasker.api import create_app
from tasker.api.server import run_server
from tasker.model import StepSpec
from tasker.settings import AccessLog, ServerSettings

TEMPLATE = Template(namespace="n", name="t", version="1.0.0", steps=(StepSpec(name="a"),))

CHECKED: list[Any] = [
    check
    for check in CHECKS.get_all()
    if check.__name__
    in {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    }
]
schema = schemathesis.openapi.from_dict(create_app("sqlite::memory:").openapi())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serve an application over a store in memory that has a template and a task."""
    started: Future[str] = Future()
    stop = threading.Event()

    async def serve() -> None:
        async with open_store("sqlite::memory:") as store:
            stored = await store.register_template(TEMPLATE, registered_by="tests")
            await LocalClient(store).create_task(stored.stored.template.full_name)
            own = ServerSettings(
                port=0,
                grace=timedelta(0),
                longest_wait=timedelta(0),
                longest_stream=timedelta(0),
                access_log=AccessLog.OFF,
            )
            async with run_server(create_app(store, settings=own), own) as running:
                started.set_result(running.url)
                await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    yield started.result(timeout=20)
    stop.set()
    thread.join()


@schema.parametrize()
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_generated_requests_get_described_answers(
    case: schemathesis.Case[Any], server: str
) -> None:
    """
    No server error, and no status, type, header or body but those described.
    """
    case.call_and_validate(base_url=server, checks=CHECKED)

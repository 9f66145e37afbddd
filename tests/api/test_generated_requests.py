"""Generated requests get the answers that the API's description has.

The generator is imported by its test, as that takes longer than most tests.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tasker import LocalClient, Template, open_store
from tasker.api import create_app
from tasker.api.server import run_server
from tasker.model import StepSpec
from tasker.settings import AccessLogMode, ServerSettings

TEMPLATE = Template(namespace="n", name="t", version="1.0.0", steps=(StepSpec(name="a"),))

CHECKED = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
}
# Not each value and each omission of each field: that is 6,000 requests.
RANDOM_ONLY = {"phases": {"coverage": {"enabled": False}}}
SETTINGS = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


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
                access_log=AccessLogMode.OFF,
            )
            async with run_server(create_app(store, settings=own), own) as running:
                started.set_result(running.url)
                await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    yield started.result(timeout=60)
    stop.set()
    thread.join()


def test_generated_requests_get_documented_responses(server: str) -> None:
    """
    No response has an undocumented status, type, header or body. All routes share one test,
    because collecting a test for each would take longer than collecting all other tests.
    """

    import requests
    import schemathesis
    from schemathesis.checks import CHECKS
    from schemathesis.config import SchemathesisConfig
    from schemathesis.core.result import Ok
    from schemathesis.pytest.lazy import get_all_tests

    checks: list[Any] = [check for check in CHECKS.get_all() if check.__name__ in CHECKED]
    config = SchemathesisConfig.from_dict(RANDOM_ONLY)

    def call(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=server, checks=checks, session=session)

    session = requests.Session()  # one connection for all
    session.trust_env = False
    document = create_app("sqlite::memory:").openapi()
    schema = schemathesis.openapi.from_dict(document, config=config)
    tested = 0
    for result in get_all_tests(
        schema=schema, test_func=call, settings=SETTINGS, given_kwargs=None
    ):
        assert isinstance(result, Ok), result
        _, test = result.ok()
        test()
        tested += 1

    assert tested == schema.statistic.operations.total

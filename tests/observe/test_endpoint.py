"""What a worker answers at its own address."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tasker import Worker, WorkerSettings, open_store
from tasker.errors import InvalidSettings
from tasker.observe.endpoint import MAX_CONNECTIONS, ObservabilityEndpoint
from tasker.observe.metrics import Metrics
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        yield store


def status_of(url: str) -> int:
    """Return the status of an answer."""
    try:
        with urlopen(url, timeout=60) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


async def statuses(url: str) -> dict[str, int]:
    """Return the status of each probe."""
    return {path: await asyncio.to_thread(status_of, url + path) for path in ("/live", "/ready")}


async def test_a_worker_is_ready_while_it_claims_steps(store: Store) -> None:
    endpoint = ObservabilityEndpoint(Metrics())
    with endpoint.serve("127.0.0.1:0") as url:
        created = await statuses(url)
        endpoint.worker = worker = Worker(store)
        waiting = await statuses(url)
        async with worker:
            running = await statuses(url)
            worker.stop()
            stopping = await statuses(url)

    assert {"/live": 200, "/ready": 503} == created == waiting == stopping
    assert {"/live": 200, "/ready": 200} == running


async def test_a_worker_whose_loop_is_blocked_for_a_lease_is_not_live(store: Store) -> None:
    """
    Prometheus' thread would answer even then.
    """
    endpoint = ObservabilityEndpoint(Metrics())
    settings = WorkerSettings(lease=timedelta(seconds=1), blocked_after=timedelta(milliseconds=100))
    with endpoint.serve("127.0.0.1:0") as url:
        endpoint.worker = worker = Worker(store, settings=settings)
        async with worker:
            before = status_of(f"{url}/live")
            give_up = time.monotonic() + 60
            while status_of(f"{url}/live") == 200 and time.monotonic() < give_up:
                pass  # the requests themselves block the loop
            blocked = status_of(f"{url}/live")

    assert (200, 503) == (before, blocked)


def test_metrics_have_a_separate_path() -> None:
    endpoint = ObservabilityEndpoint(Metrics())
    with endpoint.serve("127.0.0.1:0") as url:
        with urlopen(f"{url}/metrics", timeout=60) as response:
            assert b"tasker_attempts_running" in response.read()
        assert 404 == status_of(f"{url}/other")


@pytest.mark.parametrize("address", ["9100", "localhost", "localhost:", ":9100", "h:99999", "h:x"])
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with (
        pytest.raises(
            InvalidSettings,
            match=r"is not an address in the form HOST:PORT, such as 127\.0\.0\.1:9100",
        ),
        ObservabilityEndpoint(Metrics()).serve(address),
    ):
        pass


def test_an_address_in_use_is_refused() -> None:
    with (
        ObservabilityEndpoint(Metrics()).serve("127.0.0.1:0") as url,
        pytest.raises(InvalidSettings, match="cannot listen"),
        ObservabilityEndpoint(Metrics()).serve(url.removeprefix("http://")),
    ):
        pass


def test_idle_connections_are_closed_for_new_ones() -> None:
    """
    The oldest first; the threads that served them end.
    """
    with ObservabilityEndpoint(Metrics()).serve("127.0.0.1:0") as url:
        port = int(url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MAX_CONNECTIONS)]

        assert 200 == status_of(f"{url}/live")
        for connection in silent[: 2 * MAX_CONNECTIONS]:
            connection.settimeout(60)
            assert b"" == connection.recv(1)
        for connection in silent:
            connection.close()

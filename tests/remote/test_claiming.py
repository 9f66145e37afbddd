"""How a worker that reaches the store through a server claims for its slots."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from tests.api.api_client import ApiClient
from tests.engine.factories import SOON
from tests.remote.remote_worker import ManualRemoteWorker

from tasker import WorkerSettings
from tasker.api import create_app
from tasker.client import LocalClient, TaskRequest
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

CONTEXT = {"order": "o-1"}


async def test_steps_beyond_its_slots_are_left_to_other_workers(
    api: ApiClient, store: Store
) -> None:
    """Its long polls ask for as many steps as it has free slots."""
    begun, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def look_up() -> None:
        begun.release()
        await may_end.wait()

    client = LocalClient(store)
    transport = httpx.ASGITransport(create_app(store))
    settings = WorkerSettings(slots=2, grace=timedelta(0))
    async with (
        asyncio.timeout(SOON.total_seconds()),
        RemoteStore("http://tasker", transport=transport) as remote,
        RemoteWorker(remote, [{"look_up": look_up}], namespaces=["shop"], settings=settings),
    ):
        await client.create_task("shop.refund", CONTEXT)
        await begun.acquire()
        await client.create_tasks([TaskRequest(template="shop.refund", context=CONTEXT)] * 4)
        await begun.acquire()
        other = await ManualRemoteWorker.register(api, ["look_up"])
        claimed: set[str] = set()
        while len(claimed) < 3:
            claimed |= {step["task_id"] for step in await other.claim(wait_s=25)}
        may_end.set()

    assert 3 == len(claimed)

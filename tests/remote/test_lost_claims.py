"""Claims and settlements of several remote workers together, whose reply is lost."""

from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest
from tests.engine.factories import SOON, Unreliable, of_kind
from tests.engine.test_outages import DIAMOND, attempts, work

from tasker import LocalClient, WorkerSettings
from tasker.api import create_app
from tasker.model import AttemptOutcome, Task
from tasker.notices import Notice, SettlementRejected
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker
from tasker.settings import ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

WORKERS = 3
LOST = 2  #: replies in a row


@pytest.mark.parametrize("name", ["claim_for_workers", "settle_for_workers"])
async def test_a_lost_reply_to_a_group_loses_and_repeats_nothing(store: Store, name: str) -> None:
    """
    As when the connection to the database ends after it has committed. Steps of polls
    that end meanwhile are handed back, before they run.
    """
    flawed = Unreliable(store)
    app = create_app(flawed, settings=ServerSettings(worker_lease=timedelta(minutes=5)))
    client = LocalClient(store)
    await client.register(DIAMOND)
    notices: list[Notice] = []
    tasks: list[Task] = []
    async with AsyncExitStack() as stack:
        for _ in range(WORKERS):
            transport = httpx.ASGITransport(app)
            remote = await stack.enter_async_context(
                RemoteStore("http://tasker", transport=transport)
            )
            worker = RemoteWorker(
                remote,
                [{"work": work}],
                namespaces=["n"],
                observers=[notices.append],
                settings=WorkerSettings(slots=2),
            )
            await stack.enter_async_context(worker)
        flawed.lose(name, LOST)

        while not tasks or flawed.left(name):
            new = [await client.create_task("n.diamond") for _ in range(2 * WORKERS)]
            for task in new:
                await client.wait(task.id, timeout=SOON)
            tasks += new

    begun = attempts(notices)
    for task in tasks:
        history = await store.list_attempts(task.id)
        completed = [row for row in history if row.outcome is AttemptOutcome.COMPLETE]
        handed_back = [row for row in history if row.outcome is AttemptOutcome.RELEASED]
        assert len(history) == len(completed) + len(handed_back)
        assert [1] * 4 == [begun.pop((task.id, row.step, row.attempt)) for row in completed]
    assert not begun
    assert [] == of_kind(SettlementRejected, notices)

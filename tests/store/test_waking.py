"""Wake-ups on PostgreSQL: who is not woken."""

import asyncio
from dataclasses import replace

import pytest

from tasker import open_store
from tasker.model import ENGINE, StepSpec, TemplateId
from tasker.store.postgres.address import Address
from tasker.testing.store_suite.factories import (
    LEASE,
    make_new_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio


async def test_servers_are_woken_for_steps_of_the_engine_only(postgres_schema_url: str) -> None:
    """A server would claim in vain after each creation of a task of others."""
    address = Address.parse(postgres_schema_url)
    channel = f"{address.schema}.work"
    notices: asyncio.Queue[object] = asyncio.Queue()
    async with open_store(postgres_schema_url, upgrade=True) as store:
        deciding = replace(
            one_step_template("deciding"), steps=(StepSpec(name="only", when="true"),)
        )
        plain, engine = (
            await register_template(store, one_step_template()),
            await register_template(store, deciding),
        )
        server = await store.register_worker("server", lease=LEASE, slots=1, handlers=[ENGINE])
        await store.serve_unserved_engine_queues(server)
        connection = await address.connect()
        await connection.add_listener(channel, lambda *notice: notices.put_nowait(notice[-1]))

        async def notices_of(template: TemplateId, tasks: int) -> int:
            """Create tasks while the server waits; return how often it is woken."""
            assert not (await store.claim(server, 1)).claims
            await store.create_tasks([make_new_task(template) for _ in range(tasks)])
            await connection.execute("select pg_notify($1, 'last')", channel)
            woken = 0
            while await notices.get() != "last":
                woken += 1
            return woken

        assert 0 == await notices_of(plain, 1)
        assert 0 == await notices_of(plain, 2)
        assert 1 == await notices_of(engine, 1)
        assert 1 == len((await store.claim(server, 1)).claims)
        assert 1 == await notices_of(engine, 2)
        await connection.close()

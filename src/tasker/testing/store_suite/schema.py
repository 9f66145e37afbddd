"""Creating the schema, and calls without one."""

import asyncio

import pytest

from tasker.errors import SchemaMismatch
from tasker.model import NewTask, SchemaStatus, TemplateId
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    StoreTests,
    create_task,
    make_new_task,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest


class TestSchema(StoreTests):
    async def test_an_empty_database_has_no_schema(self, subject: StoreUnderTest) -> None:
        """Reading its status changes nothing."""
        async with subject.connect() as store:
            before = await store.schema_status()
            again = await store.schema_status()

        assert 0 == before.current
        assert not before.is_ready
        assert before == again

    async def test_an_upgrade_makes_the_schema_ready(self, subject: StoreUnderTest) -> None:
        async with subject.connect() as store:
            upgraded = await store.upgrade_schema()

            assert upgraded.is_ready
            assert upgraded == await store.schema_status()

    async def test_an_upgrade_can_be_repeated(self, store: Store) -> None:
        task_id = await create_task(store, await register_template(store, one_step_template()))

        status = await store.upgrade_schema()

        assert SchemaStatus(status.wanted, status.wanted) == status
        assert task_id == (await store.get_task(task_id)).id

    async def test_processes_may_upgrade_concurrently(self, subject: StoreUnderTest) -> None:
        """They wait for each other, and all find the schema ready."""
        if not subject.shared:
            pytest.skip("only one store object can open the database")

        async def connect_and_upgrade() -> SchemaStatus:
            async with subject.connect() as store:
                return await store.upgrade_schema()

        statuses = await asyncio.gather(*(connect_and_upgrade() for _ in range(5)))

        assert all(status.is_ready for status in statuses)

    async def test_calls_without_a_schema_raise_schema_mismatch(
        self, subject: StoreUnderTest
    ) -> None:
        """This holds for reads and for writes."""
        async with subject.connect() as store:
            with pytest.raises(SchemaMismatch):
                await store.list_queues()
            with pytest.raises(SchemaMismatch):
                await register_template(store, one_step_template())
            with pytest.raises(SchemaMismatch):
                await store.create_tasks([_make_any_task()])

    async def test_a_store_object_reads_the_writes_of_another(
        self, subject: StoreUnderTest
    ) -> None:
        """The database outlives the store object."""
        if not subject.shared:
            pytest.skip("the database exists only while its store object is open")
        async with subject.connect() as store:
            await store.upgrade_schema()
            task_id = await create_task(store, await register_template(store, one_step_template()))

        async with subject.connect() as store:
            assert task_id == (await store.get_task(task_id)).id


def _make_any_task() -> NewTask:
    return make_new_task(TemplateId(1))

"""Figures in bounds: of rows, of time, and beside a writer."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasker import codec
from tasker.analytics.compute import ResolvedWindow
from tasker.analytics.model import AnalysisWindow
from tasker.errors import StoreUnavailable
from tasker.model import NewTask, StepSpec, TaskId, Template
from tasker.store.open import open_store
from tasker.store.operations import analytics as operations
from tasker.store.postgres import analytics as of_postgres
from tasker.store.postgres.address import Address
from tasker.store.protocol import Store
from tasker.store.sqlite import analytics as of_sqlite

pytestmark = pytest.mark.anyio

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ONE = Template(namespace="n", name="one", version="1.0.0", steps=(StepSpec(name="a"),))


@pytest.fixture(params=["memory", "file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_schema_url"))
    return f"sqlite:{tmp_path / 'store.db'}" if request.param == "file" else "sqlite::memory:"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url, upgrade=True) as opened:
        yield opened


async def create(store: Store, count: int) -> list[TaskId]:
    """Create tasks."""
    registered = await store.register_template(ONE, registered_by="me")
    ids = [codec.new_task_id() for _ in range(count)]
    template = registered.stored.id
    await store.create_tasks(
        [
            NewTask(id=id, template_id=template, context=codec.dumps({}), correlation_id=id)
            for id in ids
        ]
    )
    return ids


def test_a_period_starts_with_its_first_rows() -> None:
    """It starts with the window if all rows were read, and later if some were left out."""
    period = ResolvedWindow(AnalysisWindow(hours=2), NOW, None)
    oldest = codec.lowest_task_id_at(NOW - timedelta(minutes=5))

    assert NOW - timedelta(hours=2) == period.counted_period_start(oldest, counted=9, most=10)
    assert NOW - timedelta(minutes=5) == period.counted_period_start(oldest, counted=10, most=10)
    assert NOW - timedelta(hours=2) == period.counted_period_start(None, counted=0, most=10)


def test_an_id_contains_its_creation_time() -> None:
    """It lies between the first id of its time and those of later times."""
    before = datetime.now(UTC).replace(microsecond=0)
    task_id = codec.new_task_id()

    assert timedelta(0) <= codec.task_id_time(task_id) - before < timedelta(minutes=1)
    assert codec.lowest_task_id_at(before) < task_id
    assert task_id < codec.lowest_task_id_at(before + timedelta(hours=1))
    assert NOW == codec.task_id_time(codec.lowest_task_id_at(NOW))


async def test_figures_of_too_many_tasks_use_the_newest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates stay correct, since the covered period begins later."""
    monkeypatch.setattr(operations, "MOST_TASKS", 50)
    monkeypatch.setattr(of_sqlite, "_MEMORY_SHARE", 1)
    ids = await create(store, 100)

    performance = await store.performance(AnalysisWindow())

    oldest = codec.task_id_time(sorted(ids)[50])
    hours = (performance.calculated_at - oldest) / timedelta(hours=1)
    assert (50, oldest) == (performance.total_tasks, performance.analysis_period_start)
    assert round(50 / max(hours, 1 / 3600), 2) == performance.tasks_per_hour


async def test_an_analysis_that_exceeds_its_timeout_is_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The error says what to ask for instead, and the store works on.
    """
    await create(store, 3000)
    for module in (of_postgres, of_sqlite):
        monkeypatch.setattr(module, "TIMEOUT", timedelta(milliseconds=5))
    monkeypatch.setattr(of_sqlite, "_CHECK_EVERY", 1)

    with pytest.raises(StoreUnavailable, match="choose a shorter time window"):
        while True:  # a fast machine may get through once
            await store.bottlenecks(AnalysisWindow())

    monkeypatch.undo()
    assert 3000 == (await store.performance(AnalysisWindow())).total_tasks


async def test_an_analysis_reads_while_others_write(tmp_path: Path) -> None:
    """On a file, readers and writers do not wait for each other."""
    path = tmp_path / "store.db"
    async with open_store(f"sqlite:{path}", upgrade=True) as store:
        await create(store, 3)
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("begin immediate")
        writer.execute("update task set reason = 'busy'")

        performance = await store.performance(AnalysisWindow())

        writer.execute("rollback")
        writer.close()
    assert 3 == performance.total_tasks


async def test_the_oldest_snapshot_is_named_with_its_holder(
    postgres_schema_url: str,
) -> None:
    async with open_store(postgres_schema_url, upgrade=True) as store:
        address = Address.parse(postgres_schema_url)
        older = await address.connect(application_name="older")
        younger = await address.connect(application_name="younger")
        try:
            await older.execute("begin isolation level repeatable read")
            pid = await older.fetchval("select pg_backend_pid()")
            await create(store, 3)
            await younger.execute("begin isolation level repeatable read")
            await younger.fetchval("select 1")
            oldest = await store.find_oldest_database_snapshot()
            await older.execute("commit")
            next_oldest = await store.find_oldest_database_snapshot()
        finally:
            await older.close()
            await younger.close()

    assert oldest is not None
    assert ("session", "older", pid, "idle in transaction") == (
        oldest.kind,
        oldest.name,
        oldest.pid,
        oldest.state,
    )
    assert oldest.transactions >= 2  # a template and tasks
    assert oldest.age_seconds is not None
    assert next_oldest is not None
    assert "younger" == next_oldest.name


async def test_sqlite_has_no_oldest_snapshot() -> None:
    async with open_store("sqlite::memory:") as store:
        assert await store.find_oldest_database_snapshot() is None

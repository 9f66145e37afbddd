"""Schedules, by clients of every kind."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, NotFound
from tasker.client.sync import SyncClient
from tasker.errors import Rejected, ScheduleChanged, ScheduleExists
from tasker.model import Schedule, TaskFilter
from tasker.schedules.model import NoTaskReason
from tasker.testing.store_suite.factories import register_template
from tasker.testing.store_suite.schedules import SYNC, template_declaring_schedules

pytestmark = pytest.mark.anyio

NIGHTLY = Schedule(
    name="nightly",
    cron="30 2 * * *",
    timezone="Europe/Berlin",
    overlap="buffer_one",
    catch_up="1h",
    jitter="5m",
    priority=4,
    context={"day": "{tick.date}"},
)
EVERY = Schedule(name="sync", every="15m", anchor=datetime(2026, 1, 1, 0, 5, tzinfo=UTC))


@pytest.fixture
async def template(scene: Scene) -> str:
    await register_template(scene.store, template_declaring_schedules("1.0.0"))
    return "suite.one"


async def test_a_schedule_is_created_read_changed_and_deleted(scene: Scene, template: str) -> None:
    schedules = scene.client.schedules

    created = await schedules.create(f"{template}@^1", NIGHTLY, reason="as agreed")
    other = await schedules.create(template, EVERY)
    read, listed = await schedules.get("suite.nightly"), await schedules.list("suite")
    changed = await schedules.update(
        template, Schedule(name="nightly", cron="0 3 * * *"), if_match=created.etag
    )
    await schedules.delete("suite.nightly", reason="done")

    assert (NIGHTLY, "suite", "one", "^1") == (
        created.schedule,
        created.namespace,
        created.template,
        created.version,
    )
    assert (EVERY, "") == (other.schedule, other.version)
    assert created == read == listed[0]
    assert other == listed[1]
    assert ("0 3 * * *", "", created.id) == (
        changed.schedule.cron,
        changed.version,
        changed.id,
    )
    assert [other] == await schedules.list(template="one")
    events = await scene.client.namespace_audit("suite")
    assert {
        ("create_schedule", "as agreed"),
        ("change_schedule", ""),
        ("delete_schedule", "done"),
    } <= {(event.action, event.reason) for event in events}


async def test_a_schedule_is_paused_and_resumed(scene: Scene, template: str) -> None:
    schedules = scene.client.schedules
    created = await schedules.create(template, EVERY)

    paused = await schedules.pause("suite.sync", reason="gateway down")
    with pytest.raises(ScheduleChanged):
        await schedules.resume("suite.sync", if_match=created.etag)
    resumed = await schedules.resume("suite.sync", if_match=paused.etag)

    assert (True, False) == (paused.paused, resumed.paused)


async def test_ticks_are_previewed_and_backfilled(scene: Scene, template: str) -> None:
    schedules = scene.client.schedules
    after = datetime(2026, 1, 1, tzinfo=UTC)
    created = await schedules.create(template, EVERY)

    ticks = await schedules.preview(EVERY, count=2, after=after)
    planned = await schedules.backfill(
        "suite.sync", after, after + timedelta(minutes=30), dry_run=True
    )
    done = await schedules.backfill("suite.sync", after, after + timedelta(minutes=30))

    assert [after + timedelta(minutes=5), after + timedelta(minutes=20)] == ticks
    assert (ticks, 0) == (list(planned.ticks), planned.created)
    assert (ticks, 2, 0) == (list(done.ticks), done.created, done.existing)
    tasks = await scene.client.tasks(TaskFilter(schedule_id=created.id))
    assert ticks == sorted(task.scheduled_for for task in tasks if task.scheduled_for)
    assert 10 == len(await schedules.preview(NIGHTLY))


async def test_a_schedule_can_be_triggered_between_ticks(scene: Scene, template: str) -> None:
    """Also while the schedule is paused; its next tick stays."""
    schedules = scene.client.schedules
    created = await schedules.create(template, EVERY)
    paused = await schedules.pause("suite.sync")

    tasks = [await schedules.trigger("suite.sync") for _ in range(2)]

    listed = await scene.client.tasks(TaskFilter(schedule_id=created.id))
    assert set(tasks) == {task.id for task in listed}
    assert paused.next_at == (await schedules.get("suite.sync")).next_at


async def test_ticks_without_a_task_are_listed(scene: Scene, template: str) -> None:
    schedules = scene.client.schedules
    await schedules.create(template, EVERY)
    await schedules.pause("suite.sync")

    assert [] == await schedules.ticks_without_task("suite.sync")
    assert {"buffered", "skipped", "missed", "paused", "failed"} == set(NoTaskReason)


async def test_all_clients_refuse_alike(scene: Scene, template: str) -> None:
    schedules = scene.client.schedules
    await schedules.create(template, EVERY)
    await register_template(scene.store, template_declaring_schedules("1.1.0", SYNC))

    with pytest.raises(ScheduleExists, match=r"suite\.sync already exists"):
        await schedules.create(template, EVERY)
    with pytest.raises(InvalidInput, match="is not a cron expression") as error:
        await schedules.create(template, Schedule(name="a", cron="61 0 * * *"))
    with pytest.raises(NotFound, match=r"schedule suite\.a not found"):
        await schedules.get("suite.a")
    with pytest.raises(NotFound):
        await schedules.update(template, Schedule(name="a", every="1h"))
    with pytest.raises(NotFound, match=r"template suite\.two not found"):
        await schedules.create("suite.two", Schedule(name="a", every="1h"))
    with pytest.raises(Rejected, match=r"is declared by template suite\.one@1\.1\.0"):
        await schedules.delete("suite.one.sync")
    with pytest.raises(Rejected, match="change the template"):
        await schedules.update(template, Schedule(name="one.sync", every="1h"))
    assert "$.cron" == error.value.path


async def test_blocking_clients_have_the_same_methods(scene: Scene, template: str) -> None:
    client = SyncClient(scene.client, asyncio.get_running_loop())

    def use() -> list[object]:
        schedules = client.schedules
        created = schedules.create(template, EVERY)
        updated = schedules.update(template, EVERY, if_match=created.etag)
        paused = schedules.pause("suite.sync", if_match=updated.etag)
        resumed = schedules.resume("suite.sync", if_match=paused.etag)
        start = datetime(2026, 1, 1, tzinfo=UTC)
        filled = schedules.backfill("suite.sync", start, start + timedelta(minutes=10))
        seen: list[object] = [
            resumed == schedules.get("suite.sync"),
            [resumed] == schedules.list("suite"),
        ]
        seen += [
            schedules.ticks_without_task("suite.sync"),
            len(schedules.preview(EVERY)),
            filled.created,
        ]
        schedules.delete("suite.sync")
        return [*seen, schedules.list()]

    assert [True, True, [], 10, 1, []] == await asyncio.to_thread(use)

"""Schedules: one task for each tick, however many processes look for due schedules."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tasker import limits
from tasker.errors import InvalidInput, NotFound, Rejected, ScheduleChanged, ScheduleExists
from tasker.model import (
    NewTask,
    OverlapPolicy,
    Schedule,
    TaskFilter,
    TaskStatus,
    Template,
    TemplateName,
)
from tasker.schedules.model import (
    DueSchedule,
    NewSchedule,
    NoTaskReason,
    ScheduleAdvance,
    ScheduledTask,
    StoredSchedule,
    TicksWithoutTask,
)
from tasker.store.protocol import AuditNote, Store
from tasker.teams.model import NamespacePolicy
from tasker.testing.store_suite.factories import (
    ACT,
    StoreTests,
    make_new_task,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

HOUR = timedelta(hours=1)


def make_new_schedule(name: str = "hourly", **fields: Any) -> NewSchedule:
    schedule = Schedule(**{"name": name, "every": HOUR, **fields})
    return NewSchedule(namespace="suite", template="one", version="^1", schedule=schedule)


def make_ticks_without_task(
    first: datetime, last: datetime, outcome: NoTaskReason
) -> TicksWithoutTask:
    return TicksWithoutTask(first=first, last=last, outcome=outcome)


class TestSchedules(StoreTests):
    async def test_a_schedule_is_stored_as_it_was_given(self, store: Store) -> None:
        new = make_new_schedule(
            overlap=OverlapPolicy.BUFFER_ONE,
            jitter="5m",
            catch_up="1h",
            timezone="Europe/Berlin",
            priority=4,
            context={"day": "{tick.date}"},
        )

        stored = await store.create_schedule(new, ACT)

        assert new.schedule == stored.schedule
        assert ("suite", "one", "^1", None) == (
            stored.namespace,
            stored.template,
            stored.version,
            stored.declared_by,
        )
        assert (False, None, None, 0, "alice") == (
            stored.paused,
            stored.last_at,
            stored.last_task,
            stored.buffered,
            stored.created_by,
        )
        assert stored.created_at < stored.next_at <= stored.created_at + HOUR
        assert stored == await store.get_schedule("suite", "hourly")

    async def test_schedule_names_are_unique_in_a_namespace(self, store: Store) -> None:
        await store.create_schedule(make_new_schedule(), ACT)

        with pytest.raises(ScheduleExists, match=r"suite\.hourly already exists"):
            await store.create_schedule(make_new_schedule(), ACT)

    async def test_an_unknown_schedule_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound, match=r"schedule suite\.hourly not found"):
            await store.get_schedule("suite", "hourly")
        with pytest.raises(NotFound):
            await store.set_schedule_paused("suite", "hourly", ACT, paused=True)
        with pytest.raises(NotFound):
            await store.delete_schedule("suite", "hourly", ACT)

    async def test_schedules_are_listed_by_filter_and_in_pages(self, store: Store) -> None:
        for name in ("a", "b", "c"):
            await store.create_schedule(make_new_schedule(name), ACT)

        listed = await store.list_schedules(limit=2)
        rest = await store.list_schedules(after=listed[-1].id)

        assert ["a", "b"] == [stored.name for stored in listed]
        assert ["c"] == [stored.name for stored in rest]
        assert [] == await store.list_schedules(namespace="other")
        assert [] == await store.list_schedules(visible=["other"])
        assert [] == await store.list_schedules(template="other")
        assert 3 == len(
            await store.list_schedules(namespace="suite", template="one", visible=["suite"])
        )

    async def test_a_change_that_leaves_the_times_keeps_the_next_tick(self, store: Store) -> None:
        before = await store.create_schedule(make_new_schedule(), ACT)

        after = await store.change_schedule(make_new_schedule(overlap=OverlapPolicy.ALLOW), ACT)
        other = await store.change_schedule(make_new_schedule(every=timedelta(minutes=7)), ACT)

        assert (before.id, before.next_at) == (after.id, after.next_at)
        assert OverlapPolicy.ALLOW is after.schedule.overlap
        assert before.etag != after.etag != other.etag
        assert other.next_at < after.created_at + timedelta(minutes=8)

    async def test_an_action_on_a_changed_schedule_is_rejected(self, store: Store) -> None:
        stored = await store.create_schedule(make_new_schedule(), ACT)
        changed = await store.change_schedule(
            make_new_schedule(priority=4), ACT, if_match=stored.etag
        )

        with pytest.raises(ScheduleChanged, match="changed since it was read"):
            await store.change_schedule(make_new_schedule(), ACT, if_match=stored.etag)
        with pytest.raises(ScheduleChanged):
            await store.set_schedule_paused(
                "suite", "hourly", ACT, paused=True, if_match=stored.etag
            )
        with pytest.raises(ScheduleChanged):
            await store.delete_schedule("suite", "hourly", ACT, if_match=stored.etag)
        assert changed == await store.get_schedule("suite", "hourly")

    async def test_changes_of_schedules_are_audited(self, store: Store) -> None:
        await store.create_schedule(make_new_schedule(), ACT)
        await store.change_schedule(make_new_schedule(priority=4), ACT)
        await store.set_schedule_paused("suite", "hourly", ACT, paused=True)
        await store.set_schedule_paused("suite", "hourly", ACT, paused=True)
        await store.set_schedule_paused("suite", "hourly", ACT, paused=False)
        await store.delete_schedule("suite", "hourly", ACT)

        events = list(reversed(await store.list_team_audit(namespace="suite")))

        assert [
            "create_schedule",
            "change_schedule",
            "pause_schedule",
            "resume_schedule",
            "delete_schedule",
        ] == [event.action for event in events]
        assert {("schedule suite.hourly", "alice", "because")} == {
            (event.subject, event.actor, event.reason) for event in events
        }
        assert {"name": "hourly", "every": 3600, "template": "one@^1"} == events[0].after

    async def test_ticks_during_a_pause_are_recorded_and_never_run(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await store.create_schedule(make_new_schedule(), ACT)
        paused = await store.set_schedule_paused("suite", "hourly", ACT, paused=True)
        await subject.advance(3 * HOUR)

        due = await store.list_due_schedules(10)
        resumed = await store.set_schedule_paused("suite", "hourly", ACT, paused=False)

        assert (True, False) == (paused.paused, resumed.paused)
        assert [] == due
        assert [] == await store.list_due_schedules(10)
        (record,) = await store.list_ticks_without_task("suite", "hourly")
        assert NoTaskReason.PAUSED is record.outcome
        assert 2 * HOUR == record.last - record.first
        assert record.last < resumed.next_at <= record.last + HOUR

    async def test_the_number_of_schedules_in_a_namespace_is_limited(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SCHEDULES", 1)
        await store.create_schedule(make_new_schedule("a"), ACT)

        with pytest.raises(InvalidInput, match="has the maximum of 1 schedules"):
            await store.create_schedule(make_new_schedule("b"), ACT)


class TestTicks(StoreTests):
    async def test_a_schedule_is_due_at_its_tick(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await create_hourly_schedule(store)

        before = await store.list_due_schedules(10)
        await subject.advance(HOUR)
        (due,) = await store.list_due_schedules(10)

        assert [] == before
        assert due.stored.next_at == due.look_at <= due.now
        assert (False, ()) == (due.is_running, tuple(due.waiting))

    async def test_several_planners_create_one_task_for_a_tick(
        self, store: Store, stores: Sequence[Store], subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject)
        advance = await make_advance_creating_task(store, due)

        first = await stores[0].advance_schedule(due, advance, ACT)
        second = await stores[1].advance_schedule(due, advance, ACT)

        assert first is not None
        ((task_id, is_new),) = first.created
        assert (advance.tasks[0].task.id, True) == (task_id, is_new)
        assert second is None
        (task,) = await store.list_tasks(TaskFilter(schedule_id=due.stored.id))
        assert (task_id, due.stored.id, due.stored.next_at) == (
            task.id,
            task.schedule_id,
            task.scheduled_for,
        )
        after = await store.get_schedule("suite", "hourly")
        assert (due.stored.next_at + HOUR, due.stored.next_at, task_id) == (
            after.next_at,
            after.last_at,
            after.last_task,
        )
        assert due.stored.etag == after.etag
        assert [] == await store.list_due_schedules(10)

    async def test_a_repeated_tick_returns_its_existing_task(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A tick repeats after a change of the clock or of the schedule."""
        due = await create_due_schedule(store, subject, hours=2)
        first = await store.advance_schedule(
            due,
            (await make_advance_creating_task(store, due))._replace(
                next_at=due.stored.next_at, look_at=due.look_at + timedelta(microseconds=1)
            ),
            ACT,
        )
        (again,) = await store.list_due_schedules(10)

        second = await store.advance_schedule(
            again, await make_advance_creating_task(store, again), ACT
        )

        assert first is not None
        assert second is not None
        assert [(first.created[0][0], False)] == list(second.created)
        assert 1 == len(await store.list_tasks(TaskFilter(schedule_id=due.stored.id)))

    async def test_a_schedule_that_changed_concurrently_is_not_advanced(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject)
        await store.set_schedule_paused("suite", "hourly", ACT, paused=True)

        advanced = await store.advance_schedule(
            due, await make_advance_creating_task(store, due), ACT
        )

        assert advanced is None
        assert [] == await store.list_tasks(TaskFilter())

    async def test_a_change_that_leaves_the_times_keeps_due_ticks(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject)

        await store.change_schedule(make_new_schedule(priority=4), ACT)

        (still,) = await store.list_due_schedules(10)
        assert due.stored.next_at == still.stored.next_at

    async def test_the_open_task_of_an_earlier_tick_may_be_cancelled(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject)
        first = await store.advance_schedule(due, await make_advance_creating_task(store, due), ACT)
        await subject.advance(HOUR)
        (running,) = await store.list_due_schedules(10)

        advance = (await make_advance_creating_task(store, running))._replace(cancel=True)
        await store.advance_schedule(running, advance, AuditNote(actor="schedule"))

        assert running.is_running
        assert first is not None
        task = await store.get_task(first.created[0][0])
        assert TaskStatus.CANCELLED is task.status
        assert ["schedule"] == [entry.actor for entry in await store.list_audit_entries(task.id)]

    async def test_buffered_ticks_are_kept_until_they_are_processed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject)
        tick = due.stored.next_at
        waiting = ScheduleAdvance(
            tasks=(),
            cancel=False,
            taken=(),
            records=[make_ticks_without_task(tick, tick, NoTaskReason.BUFFERED)],
            next_at=tick + HOUR,
            look_at=due.now + timedelta(seconds=5),
        )
        await store.advance_schedule(due, waiting, ACT)
        listed = await store.get_schedule("suite", "hourly")
        before = await store.list_due_schedules(10)
        await subject.advance(timedelta(seconds=5))
        (again,) = await store.list_due_schedules(10)

        await store.advance_schedule(
            again,
            (await make_advance_creating_task(store, again))._replace(taken=again.waiting),
            ACT,
        )

        assert 1 == listed.buffered
        assert [] == before
        assert 1 == len(again.waiting)
        assert 0 == (await store.get_schedule("suite", "hourly")).buffered
        assert [] == await store.list_ticks_without_task("suite", "hourly")

    async def test_successive_ticks_without_tasks_share_a_record(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        due = await create_due_schedule(store, subject, hours=2)
        tick = due.stored.next_at
        for number in range(3):
            at = tick + number * HOUR
            outcome = NoTaskReason.SKIPPED if number < 2 else NoTaskReason.MISSED
            due = await record_ticks_without_task(
                store, due, make_ticks_without_task(at, at, outcome)
            )

        assert [
            make_ticks_without_task(tick + 2 * HOUR, tick + 2 * HOUR, NoTaskReason.MISSED),
            make_ticks_without_task(tick, tick + HOUR, NoTaskReason.SKIPPED),
        ] == await store.list_ticks_without_task("suite", "hourly")

    async def test_the_oldest_tick_records_are_deleted(
        self, store: Store, subject: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "TICKS_RECORDED", 2)
        due = await create_due_schedule(store, subject, hours=2)
        ticks = [due.stored.next_at + number * 2 * HOUR for number in range(4)]
        for tick in ticks:
            due = await record_ticks_without_task(
                store, due, make_ticks_without_task(tick, tick, NoTaskReason.SKIPPED)
            )

        kept = await store.list_ticks_without_task("suite", "hourly")

        assert [ticks[3], ticks[2]] == [one.first for one in kept]

    async def test_tasks_of_a_backfill_belong_to_the_schedule(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        stored = await create_hourly_schedule(store)
        template = await register_template(store, one_step_template())
        ticks = [stored.next_at - number * HOUR for number in (3, 2)]
        tasks = [
            make_scheduled_task(stored, tick, make_new_task(template), "backfill") for tick in ticks
        ]

        first = await store.create_scheduled_tasks(stored, tasks)
        second = await store.create_scheduled_tasks(stored, tasks)

        assert [True, True] == [is_new for _, is_new in first.created]
        assert [(task_id, False) for task_id, _ in first.created] == list(second.created)
        listed = await store.list_tasks(TaskFilter(schedule_id=stored.id))
        assert set(ticks) == {task.scheduled_for for task in listed}
        assert stored == await store.get_schedule("suite", "hourly")


def template_declaring_schedules(version: str, *schedules: Schedule) -> Template:
    return replace(one_step_template(), version=version, schedules=schedules)


NIGHTLY = Schedule(name="nightly", cron="30 2 * * *", timezone="Europe/Berlin")
SYNC = Schedule(name="sync", every="15m", context={"since": "{tick.start}"})


class TestDeclaredSchedules(StoreTests):
    async def test_registering_a_version_creates_its_schedules(self, store: Store) -> None:
        await register_template(store, template_declaring_schedules("1.0.0", NIGHTLY, SYNC))

        stored = await store.list_schedules(namespace="suite")

        assert [
            ("one.nightly", "one", "1.0.0", "suite.one@1.0.0", "suite"),
            ("one.sync", "one", "1.0.0", "suite.one@1.0.0", "suite"),
        ] == [(s.name, s.template, s.version, s.declared_by, s.created_by) for s in stored]
        assert [copy_schedule_with_name(NIGHTLY), copy_schedule_with_name(SYNC)] == [
            s.schedule for s in stored
        ]
        template = await store.get_template(TemplateName("suite", "one", "1.0.0"))
        assert (NIGHTLY, SYNC) == template.template.schedules

    async def test_a_later_version_replaces_the_schedules(self, store: Store) -> None:
        """Pauses are kept, as is the next tick of a schedule whose times do not change."""
        await register_template(store, template_declaring_schedules("1.0.0", NIGHTLY, SYNC))
        paused = await store.set_schedule_paused("suite", "one.nightly", ACT, paused=True)

        await register_template(
            store,
            template_declaring_schedules("1.1.0", copy_schedule_with_fields(NIGHTLY, priority=4)),
        )

        (stored,) = await store.list_schedules()
        assert ("one.nightly", "1.1.0", 4) == (
            stored.name,
            stored.version,
            stored.schedule.priority,
        )
        assert (paused.id, paused.next_at, True) == (stored.id, stored.next_at, stored.paused)
        assert paused.etag != stored.etag

    async def test_an_earlier_version_or_a_prerelease_changes_nothing(self, store: Store) -> None:
        await register_template(store, template_declaring_schedules("1.1.0", SYNC))
        before = await store.list_schedules()

        await register_template(store, template_declaring_schedules("1.0.5", NIGHTLY))
        await register_template(store, template_declaring_schedules("2.0.0-beta.1", NIGHTLY))

        assert before == await store.list_schedules()

    async def test_a_pending_version_replaces_the_schedules_when_it_is_approved(
        self, store: Store
    ) -> None:
        await register_template(store, template_declaring_schedules("1.0.0", SYNC))
        await store.put_policy(
            NamespacePolicy(
                namespace="suite",
                owner_team="suite",
                contact_email="suite@example.com",
                requires_approval=True,
                approvers=("alice@example.com",),
            ),
            ACT,
        )
        name = TemplateName("suite", "one", "1.1.0")
        await register_template(store, template_declaring_schedules("1.1.0", NIGHTLY))
        pending = await store.list_schedules()

        approver = AuditNote(actor="alice@example.com")
        await store.review_template(name, approve=True, act=approver)
        approved = await store.list_schedules()
        await store.retire_template(name, ACT)
        retired = await store.list_schedules()

        assert [["one.sync"], ["one.nightly"], ["one.sync"]] == [
            [stored.name for stored in each] for each in (pending, approved, retired)
        ]

    async def test_schedules_remain_without_an_approved_version(self, store: Store) -> None:
        await register_template(store, template_declaring_schedules("1.0.0", SYNC))
        before = await store.list_schedules()

        await store.retire_template(TemplateName("suite", "one", "1.0.0"), ACT)

        assert before == await store.list_schedules()

    async def test_schedules_of_a_template_are_changed_only_by_registration(
        self, store: Store
    ) -> None:
        await register_template(store, template_declaring_schedules("1.0.0", SYNC))
        new = replace(make_new_schedule(), schedule=copy_schedule_with_name(NIGHTLY, "one.sync"))

        with pytest.raises(Rejected, match="is declared by template suite"):
            await store.change_schedule(new, ACT)
        with pytest.raises(Rejected, match="change the template and register a new version"):
            await store.delete_schedule("suite", "one.sync", ACT)

    async def test_registration_keeps_the_schedules_of_operators(self, store: Store) -> None:
        await register_template(store, template_declaring_schedules("1.0.0", SYNC))
        await store.create_schedule(make_new_schedule(), ACT)

        await register_template(store, template_declaring_schedules("1.1.0"))

        assert ["hourly"] == [stored.name for stored in await store.list_schedules()]


def copy_schedule_with_fields(schedule: Schedule, **fields: Any) -> Schedule:
    return Schedule(**{**asdict(schedule), **fields})


def copy_schedule_with_name(schedule: Schedule, name: str | None = None) -> Schedule:
    return copy_schedule_with_fields(schedule, name=name or f"one.{schedule.name}")


async def create_hourly_schedule(store: Store) -> StoredSchedule:
    await register_template(store, one_step_template())
    return await store.create_schedule(make_new_schedule(), ACT)


async def create_due_schedule(
    store: Store, subject: StoreUnderTest, *, hours: int = 1
) -> DueSchedule:
    """Create an hourly schedule, and advance the time until it is due."""
    await create_hourly_schedule(store)
    await subject.advance(hours * HOUR)
    (due,) = await store.list_due_schedules(10)
    return due


def make_scheduled_task(
    stored: StoredSchedule, tick: datetime, task: NewTask, kind: str = "schedule"
) -> ScheduledTask:
    key = f"{kind}:{stored.id}:{tick.isoformat()}"
    return ScheduledTask(tick, replace(task, idempotency_key=key))


async def make_advance_creating_task(store: Store, due: DueSchedule) -> ScheduleAdvance:
    """Make the advance that creates the task of the next tick."""
    tick = due.stored.next_at
    return ScheduleAdvance(
        tasks=[
            make_scheduled_task(
                due.stored, tick, make_new_task(await register_template(store, one_step_template()))
            )
        ],
        cancel=False,
        taken=(),
        records=(),
        next_at=tick + HOUR,
        look_at=tick + HOUR,
    )


async def record_ticks_without_task(
    store: Store, due: DueSchedule, ticks: TicksWithoutTask
) -> DueSchedule:
    """Record ticks of a due schedule, and return the schedule, which stays due."""
    advance = ScheduleAdvance(
        tasks=(),
        cancel=False,
        taken=(),
        records=[ticks],
        next_at=due.stored.next_at,
        look_at=due.look_at + timedelta(microseconds=1),
    )
    await store.advance_schedule(due, advance, ACT)
    (again,) = await store.list_due_schedules(10)
    return again

"""Schedules in the `Client` protocol and in the local client."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from tasker import limits, versions
from tasker.client.fields import EARLIEST, LATEST
from tasker.client.templates import DEFAULT_NAMESPACE, split_template_reference
from tasker.errors import InvalidInput, Violation
from tasker.model import NewTask, Schedule, TaskId
from tasker.schedules.model import (
    BackfillResult,
    NewSchedule,
    ScheduledTask,
    StoredSchedule,
    TicksWithoutTask,
    declared_schedule_change_error,
)
from tasker.schedules.ticks import (
    NEVER,
    compute_jitter,
    format_tick,
    next_tick,
    next_ticks,
    previous_tick,
    ticks_between,
)
from tasker.store.protocol import AuditNote
from tasker.template.schedules import render_tick_context, require_valid_schedule

if TYPE_CHECKING:
    from tasker.client.local import LocalClient

PREVIEW = 10  #: ticks of a preview
_AT_ONCE = 100  #: tasks of a backfill that one transaction creates
_PAGE = 1_000


class ScheduleClient(Protocol):
    """Methods for schedules, available as `client.schedules`.

    A schedule is named `namespace.name`; the namespace is that of its template. Actions accept
    `if_match`, the `etag` of a schedule that was read earlier: they raise ScheduleChanged if the
    schedule was changed since.
    """

    async def create(
        self, template: str, schedule: Schedule, *, reason: str = ""
    ) -> StoredSchedule:
        """Create a schedule; its first tick is the first one after now.

        Args:
            template: `namespace.name`, optionally with `@` and a version or a range; by default,
                each tick's task runs the version that is the latest at that time.
            schedule: When tasks are created, and how.
            reason: For the audit log.

        Raises:
            InvalidInput: A field is invalid, or the template does not accept the context.
            NotFound: The template does not exist.
            TemplateNotApproved: No version of the template accepts tasks.
            ScheduleExists: The namespace already has a schedule with this name.
        """
        ...

    async def update(
        self, template: str, schedule: Schedule, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        """Replace a schedule. It keeps its next tick unless its times change.

        Raises: as `create`; NotFound, ScheduleChanged; Rejected if a template declares it.
        """
        ...

    async def preview(
        self, schedule: Schedule, *, count: int = PREVIEW, after: datetime | None = None
    ) -> list[datetime]:
        """Return the first ticks of a schedule, whether or not it exists, in UTC.

        Args:
            schedule: The schedule.
            count: Number of ticks, at most 100.
            after: The time before the first tick; None: now.

        Raises:
            InvalidInput: A field is invalid.
        """
        ...

    async def get(self, name: str) -> StoredSchedule:
        """Return a schedule. Raises NotFound."""
        ...

    async def ticks_without_task(self, name: str, *, limit: int = 100) -> list[TicksWithoutTask]:
        """List the ticks that have no task, latest first, at most 1,000. Raises NotFound.

        To list the tasks of ticks, use `client.tasks(TaskFilter(schedule_id=...))`.
        """
        ...

    async def pause(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        """Pause a schedule: its ticks create no tasks. Raises NotFound, ScheduleChanged."""
        ...

    async def resume(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        """Resume a schedule, from the first tick after now. Raises NotFound, ScheduleChanged."""
        ...

    async def delete(self, name: str, *, reason: str = "", if_match: str | None = None) -> None:
        """Delete a schedule; its tasks remain.

        Raises: NotFound, ScheduleChanged; Rejected if a template declares it.
        """
        ...

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> BackfillResult:
        """Create a task with priority 0 for each past tick from `start` up to, but not including,
        `end`.

        Ticks that were already backfilled get no second task, but ticks for which the schedule
        itself created a task do.

        Args:
            name: The schedule.
            start: Start of the range, with a time zone; a tick at this time is included.
            end: End of the range, with a time zone, not in the future; a tick at this time is not
                included.
            dry_run: Whether only the ticks are returned.

        Raises:
            NotFound: The schedule does not exist.
            InvalidInput: The range is empty, in the future, or has more than 1,000 ticks.
        """
        ...

    async def trigger(self, name: str) -> TaskId:
        """Create a task of a schedule now, in addition to the tasks of its ticks; return its id.

        `{tick.start}` in its context is the current second. The schedule's overlap rule and pauses
        do not apply.

        Raises:
            NotFound: The schedule or its template does not exist.
            TemplateNotApproved: No version of the template accepts tasks.
            InvalidInput: The template does not accept the context.
        """
        ...

    async def list(
        self, namespace: str | None = None, *, template: str | None = None
    ) -> list[StoredSchedule]:
        """List schedules, oldest first.

        Args:
            namespace: Only schedules of this namespace; None: all.
            template: Only schedules of templates with this name; None: all.
        """
        ...


class LocalSchedules(ScheduleClient):
    """Implements `ScheduleClient` with a store."""

    def __init__(self, client: "LocalClient") -> None:
        self._client = client
        self._store = client.store

    async def create(
        self, template: str, schedule: Schedule, *, reason: str = ""
    ) -> StoredSchedule:
        new = await self._build_valid_new_schedule(template, schedule)
        return await self._store.create_schedule(new, self._audit_note(reason))

    async def update(
        self, template: str, schedule: Schedule, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        stored = await self.get(
            f"{split_template_reference(template, None, None)[0]}.{schedule.name}"
        )
        if stored.declared_by is not None:
            raise declared_schedule_change_error(stored)
        new = await self._build_valid_new_schedule(template, schedule)
        act = self._audit_note(reason)
        return await self._store.change_schedule(new, act, if_match=if_match)

    async def _build_valid_new_schedule(self, template: str, schedule: Schedule) -> NewSchedule:
        """Return a schedule that could be stored and whose next task could be created."""
        namespace, name, version = split_template_reference(template, None, None)
        versions.highest_matching_version((), spec=version)  # raises InvalidInput
        new = NewSchedule(
            namespace=namespace,
            template=name,
            version=version or "",
            schedule=require_valid_schedule(schedule),
        )
        tick = next_tick(schedule, self._store.clock.now())
        if tick == NEVER:
            raise InvalidInput(
                f"{schedule.cron!r} has no ticks in the next 50 years", path="$.cron"
            )
        try:
            await build_task_of_tick(self._client, new, tick)
        except InvalidInput as error:
            raise _prefix_context_paths(error) from None
        return new

    async def preview(
        self, schedule: Schedule, *, count: int = PREVIEW, after: datetime | None = None
    ) -> list[datetime]:
        require_valid_schedule(schedule)
        if not 1 <= count <= limits.TICKS_PREVIEWED:
            raise InvalidInput(f"must be from 1 to {limits.TICKS_PREVIEWED}", path="$.count")
        after = after or self._store.clock.now()
        if after.tzinfo is None or not EARLIEST <= after <= LATEST:
            years = f"{EARLIEST.year} and {LATEST.year}"
            raise InvalidInput(
                f"must be a time with a time zone, between the years {years}, not {after}",
                path="$.after",
            )
        return next_ticks(schedule, after, count)

    async def get(self, name: str) -> StoredSchedule:
        return await self._store.get_schedule(*split_schedule_name(name))

    def _audit_note(self, reason: str) -> AuditNote:
        return AuditNote(actor=self._client.actor, reason=reason, via=self._client.via)

    async def _list_page(
        self, namespace: str | None, template: str | None, after: int | None
    ) -> list[StoredSchedule]:
        return await self._store.list_schedules(
            namespace=namespace, template=template, after=after, limit=_PAGE
        )

    async def ticks_without_task(self, name: str, *, limit: int = 100) -> list[TicksWithoutTask]:
        return await self._store.list_ticks_without_task(*split_schedule_name(name), limit=limit)

    async def pause(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        act = self._audit_note(reason)
        return await self._store.set_schedule_paused(
            *split_schedule_name(name), act, paused=True, if_match=if_match
        )

    async def resume(
        self, name: str, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        act = self._audit_note(reason)
        return await self._store.set_schedule_paused(
            *split_schedule_name(name), act, paused=False, if_match=if_match
        )

    async def delete(self, name: str, *, reason: str = "", if_match: str | None = None) -> None:
        act = self._audit_note(reason)
        await self._store.delete_schedule(*split_schedule_name(name), act, if_match=if_match)

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> BackfillResult:
        stored = await self.get(name)
        ticks = _list_backfill_ticks(stored.schedule, start, end, self._store.clock.now())
        if dry_run:
            return BackfillResult(ticks=ticks, created=0, existing=0)
        created = existing = 0
        for first in range(0, len(ticks), _AT_ONCE):
            tasks = [
                ScheduledTask(
                    tick,
                    await build_task_of_tick(
                        self._client,
                        stored,
                        tick,
                        key=f"backfill:{stored.id}:{format_tick(tick)}",
                        priority=0,
                        created_by=self._client.actor,
                    ),
                )
                for tick in ticks[first : first + _AT_ONCE]
            ]
            advanced = await self._store.create_scheduled_tasks(stored, tasks)
            new = sum(is_new for _, is_new in advanced.created)
            created, existing = created + new, existing + len(tasks) - new
        return BackfillResult(ticks=ticks, created=created, existing=existing)

    async def trigger(self, name: str) -> TaskId:
        stored = await self.get(name)
        tick = self._store.clock.now().replace(microsecond=0)
        task = await build_task_of_tick(self._client, stored, tick, created_by=self._client.actor)
        await self._store.create_scheduled_tasks(stored, [ScheduledTask(tick, task)])
        return task.id

    async def list(
        self, namespace: str | None = None, *, template: str | None = None
    ) -> list[StoredSchedule]:
        listed = page = await self._list_page(namespace, template, None)
        while len(page) == _PAGE:
            page = await self._list_page(namespace, template, page[-1].id)
            listed = [*listed, *page]
        return listed


async def build_task_of_tick(
    client: "LocalClient",
    schedule: NewSchedule,
    tick: datetime,
    *,
    key: str | None = None,
    priority: int | None = None,
    run_at: datetime | None = None,
    created_by: str | None = None,
) -> NewTask:
    """Return the task of a tick.

    Args:
        client: A client of the store.
        schedule: The schedule.
        tick: The tick.
        key: Its idempotency key.
        priority: Its priority; None: the schedule's or, without one, the template's.
        run_at: The earliest start of its steps.
        created_by: Its creator; None: the schedule.

    Raises:
        NotFound, TemplateNotApproved: No version of the template accepts tasks.
        InvalidInput: The template does not accept the context.
    """
    from tasker.client.protocol import TaskRequest

    spec = schedule.schedule
    request = TaskRequest(
        template=schedule.template,
        namespace=schedule.namespace,
        version=schedule.version or None,
        context=render_tick_context(spec, tick, previous_tick(spec, tick)),
        idempotency_key=key,
        created_by=created_by or f"schedule:{schedule.namespace}.{spec.name}",
        priority=spec.priority if priority is None else priority,
        run_at=run_at,
    )
    return await client.build_new_task(request)


async def build_task_of_due_tick(
    client: "LocalClient", stored: StoredSchedule, tick: datetime, now: datetime
) -> NewTask:
    """Return the task that a schedule creates at a tick; it starts after the tick's jitter."""
    start = tick + compute_jitter(stored.schedule, stored.id, tick)
    return await build_task_of_tick(
        client,
        stored,
        tick,
        key=f"schedule:{stored.id}:{format_tick(tick)}",
        run_at=start if start > now else None,
    )


def split_schedule_name(name: str) -> tuple[str, str]:
    """Return the namespace and name of a schedule; without a namespace, the default one."""
    namespace, dot, rest = name.partition(".")
    return (namespace, rest) if dot else (DEFAULT_NAMESPACE, name)


def _prefix_context_paths(error: InvalidInput) -> InvalidInput:
    """Return the error of a context with paths relative to its schedule."""
    violations = [
        Violation(f"$.context{path.removeprefix('$')}", message)
        for path, message in error.violations
    ]
    message = "; ".join(map(str, violations))
    return InvalidInput(message, path=violations[0].path, violations=violations)


def _list_backfill_ticks(
    schedule: Schedule, start: datetime, end: datetime, now: datetime
) -> list[datetime]:
    for field, value in (("start", start), ("end", end)):
        if value.tzinfo is None:
            raise InvalidInput(f"{field} has no time zone", path=f"$.{field}")
        if not EARLIEST <= value <= LATEST:
            raise InvalidInput(f"{field} is out of range: {value}", path=f"$.{field}")
    if end > now + timedelta(minutes=1):
        raise InvalidInput(
            "the end is in the future, but a backfill covers only past ticks", path="$.end"
        )
    ticks = []
    for tick in ticks_between(schedule, start, end):
        ticks.append(tick)
        if len(ticks) > limits.TICKS_BACKFILLED:
            raise InvalidInput(
                f"the range has more than {limits.TICKS_BACKFILLED:,} ticks:"
                " backfill it in several parts",
                path="$.end",
            )
    if not ticks:
        raise InvalidInput("the range contains no ticks", path="$.end")
    return ticks

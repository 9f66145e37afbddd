"""Finds a task by its id, reads its details, and follows it until it ends."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rich.console import Console

from tasker.cli.render.progress import TaskProgressDisplay
from tasker.cli.render.task import StepsByStatus, TaskDetail
from tasker.client import Client
from tasker.errors import InvalidInput, NotFound
from tasker.limits import STEPS_PAGE
from tasker.model import Step, TaskFilter, TaskId, Template
from tasker.step_logs import LogRecord
from tasker.store.protocol import Store

LAST = "last"

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_CHILDREN = 50  #: maximum number of child tasks shown, newest first
_INSTANCES = 10  #: of each step and status that are read in full
_PAUSE = 0.25  #: seconds between polls
_LATE = timedelta(seconds=30)  #: by which log records of other workers may come later


async def resolve_task_id(client: Client, reference: str) -> TaskId:
    """Return a task's full id, given that id or a unique prefix of it; "last" means the newest.

    Raises:
        InvalidInput: The reference is malformed.
        NotFound: No task matches, or more than one.
    """
    reference = reference.strip().lower()
    if _ID.fullmatch(reference):
        return TaskId(reference)
    if reference == LAST:
        newest = await client.tasks(TaskFilter(), limit=1)
        if not newest:
            raise NotFound("the store has no tasks yet")
        return newest[0].id
    digits = reference.replace("-", "")
    if not _PREFIX.fullmatch(digits):
        raise InvalidInput(f'no task matches {reference!r}; give an id, a unique prefix, or "last"')
    beyond = TaskId(str(UUID(digits.ljust(32, "f"))))
    near = await client.tasks(TaskFilter(), after=beyond, limit=2)
    matches = [task.id for task in near if task.id.replace("-", "").startswith(digits)]
    if len(matches) != 1:
        problem = "several task ids start" if matches else "no task id starts"
        raise NotFound(f"{problem} with {reference!r}")
    return matches[0]


async def read_template_of_task(client: Client, task_id: TaskId) -> Template:
    """Read a task's template, even if its version has been replaced since."""
    store: Store | None = getattr(client, "store", None)
    if store is None:
        task = await client.get(task_id)
        return (await client.template(str(task.template))).template
    known = await store.load_task_inputs([task_id])
    if not known:
        raise NotFound(f"task {task_id} not found")
    return (await store.template_by_id(known[0].template_id)).template


async def read_task_detail(client: Client, task_id: TaskId, *, full: bool = True) -> TaskDetail:
    """Read a task with its steps, attempts and audit log.

    Unless `full`, some instances of each step are left out, and only counted.
    """
    task, template = await client.get(task_id), await read_template_of_task(client, task_id)
    steps, counts = await _read_and_count_steps(client, task_id, full=full)
    return TaskDetail(
        task=task,
        template=template,
        steps=steps,
        counts=counts,
        attempts=await client.attempts(task_id),
        audit=await client.task_audit(task_id),
        children=await client.tasks(TaskFilter(parent_id=task_id), limit=_CHILDREN),
    )


async def _read_and_count_steps(
    client: Client, task_id: TaskId, *, full: bool
) -> tuple[list[Step], StepsByStatus]:
    """Read a task's steps page by page, and count them by template step and status."""
    counts: StepsByStatus = Counter()
    kept: list[Step] = []
    page: list[Step] = []
    while not counts or len(page) == STEPS_PAGE:
        page = await client.steps(task_id, after=page[-1].no if page else 0, limit=STEPS_PAGE)
        for step in page:
            place = step.template_node, step.status
            counts[place] += 1
            if full or step.spawned_by is None or counts[place] <= _INSTANCES:
                kept.append(step)
    return kept, counts


async def show_task_until_ended(client: Client, task_id: TaskId, console: Console) -> None:
    """Show the progress of a task, which is read from the client repeatedly, until it has ended."""
    task = await client.get(task_id)
    template = await read_template_of_task(client, task_id)
    with TaskProgressDisplay(console) as progress:
        progress.follow_task(task, template)
        while True:
            progress.update_from_stored_state(task, await client.steps(task_id))
            if task.has_ended:
                return
            await asyncio.sleep(_PAUSE)
            task = await client.get(task_id)


async def read_task_logs(
    client: Client, task_id: TaskId, *, follow: bool, **filters: Any
) -> AsyncIterator[LogRecord]:
    """Yield the log records of a task that match filters, once each.

    Args:
        client: The client.
        task_id: The task.
        follow: Whether to wait for more until the task has ended.
        filters: As for `Client.logs`.
    """
    seen: dict[tuple[int, int, int], datetime] = {}
    since: datetime | None = None
    while True:
        ended = not follow or (await client.get(task_id)).has_ended
        cursor: str | None = None
        while True:
            page = await client.logs(task_id, since=since, cursor=cursor, limit=1000, **filters)
            for record in page.records:
                key = (record.no, record.attempt, record.number)
                if key not in seen:
                    yield record
                    seen[key] = record.at
            if (cursor := page.next_cursor) is None:
                break
        if ended:
            return
        if seen:  # workers store their records at different times
            since = max(seen.values()) - _LATE
            seen = {key: at for key, at in seen.items() if at >= since}
        await asyncio.sleep(_PAUSE)

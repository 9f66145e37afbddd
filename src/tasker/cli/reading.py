"""Finds a task by its id, reads its details, and follows it until it ends."""

import asyncio
import re
from uuid import UUID

from rich.console import Console

from tasker.cli.render.progress import Progress
from tasker.cli.render.task import TaskDetail
from tasker.client import Client, LocalClient
from tasker.errors import InvalidInput, NotFound
from tasker.model import TaskFilter, TaskId, Template

LAST = "last"

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_CHILDREN = 50  #: maximum number of child tasks shown, newest first
_PAUSE = 0.25  #: seconds between polls


async def find_task(client: Client, reference: str) -> TaskId:
    """Return the task with an id or a unique prefix of one; "last" means the newest task.

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


async def template_of(client: Client, task_id: TaskId) -> Template:
    """Read a task's template, even if its version has been replaced since."""
    if not isinstance(client, LocalClient):
        task = await client.get(task_id)
        return (await client.template(str(task.template))).template
    known = await client.store.load_tasks([task_id])
    if not known:
        raise NotFound(f"task {task_id} not found")
    return (await client.store.template_by_id(known[0].template_id)).template


async def read_detail(client: Client, task_id: TaskId) -> TaskDetail:
    """Read a task with its steps, attempts and audit."""
    return TaskDetail(
        task=await client.get(task_id),
        template=await template_of(client, task_id),
        steps=await client.steps(task_id),
        attempts=await client.attempts(task_id),
        audit=await client.audit(task_id),
        children=await client.tasks(TaskFilter(parent_id=task_id), limit=_CHILDREN),
    )


async def follow_task(client: Client, task_id: TaskId, console: Console) -> None:
    """Show a task until it has ended."""
    task = await client.get(task_id)
    template = await template_of(client, task_id)
    with Progress(console) as progress:
        progress.add(task, template)
        while True:
            progress.refresh(task, await client.steps(task_id))
            if task.ended:
                return
            await asyncio.sleep(_PAUSE)
            task = await client.get(task_id)

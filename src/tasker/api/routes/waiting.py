"""Waiting for a task: one answer when it ends, or a stream of what happens."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import orjson
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tasker.api.authorization import still_authorized
from tasker.api.dependencies import TaskPath
from tasker.api.problems import problem_of
from tasker.api.responses import JsonReply
from tasker.api.routes.tasks import allowed_task, answer_of, shape_of
from tasker.api.routing import Answer, Routes
from tasker.api.scope import header
from tasker.api.state import Api, ApiOf
from tasker.api.views.steps import step_readiness
from tasker.api.views.tasks import TaskAnswer, task_head
from tasker.client.templates import LoadedTemplate
from tasker.errors import TaskerError
from tasker.model import Step, Task
from tasker.teams.permissions import TASKS_READ

routes = Routes("waiting", "/v1/tasks/{task_id}")

HEARTBEAT = 15.0  #: seconds of silence after which a stream says that it is alive
MAY_STILL = 5.0  #: seconds after which a stream asks whether its caller may still see the task
_SLICE = 1.0  #: seconds after which a stream looks whether the server shuts down
_STEPS_AGAIN = 2.0  #: seconds after which steps are read again though counts stayed equal


@routes.add(
    "GET",
    "/wait",
    TASKS_READ,
    answer=TaskAnswer,
    told="The task has ended.",
    also={202: Answer(TaskAnswer, "The time is over, and the task has not ended; ask again.")},
    refuses=("invalid_request", "not_found"),
)
async def wait_for_task(
    request: Request,
    api: ApiOf,
    task_id: TaskPath,
    timeout: Annotated[
        float, Query(ge=0, le=3600, description="Seconds to wait; the server may wait less.")
    ] = 30.0,
) -> JsonReply:
    """Wait until a task ends."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    end = time.monotonic() + min(timeout, api.settings.longest_wait.total_seconds())
    async with api.watch.on(task.id) as watched:
        while not task.ended and (left := end - time.monotonic()) > 0:
            if api.closing.is_set():
                break
            changed = await watched.differing(task, min(left, _SLICE))
            task = changed or task
    return await answer_of(api, task, 200 if task.ended else 202)


@routes.add(
    "GET",
    "/events",
    TASKS_READ,
    answer=None,
    told="""\
Server-sent events until the task has ended: `task` (how it stands, without context), `step`
(one step that changed, without its result), and last `end` (the task's state). A stream that
is taken up with `Last-Event-ID` repeats nothing where nothing changed since, and else begins
with everything as it is. Comments tell every 15 seconds that it is alive. A stream whose caller
may no longer see the task ends with `problem`.""",
    media_type="text/event-stream",
    refuses=("invalid_request", "not_found"),
)
async def stream_task_events(request: Request, api: ApiOf, task_id: TaskPath) -> Response:
    """Follow a task and its steps."""
    task = await allowed_task(request, api, task_id, TASKS_READ)
    shape = await shape_of(api, task.id)
    seen = header(request.scope, "last-event-id")
    return StreamingResponse(
        _events(request, api, task, shape, seen),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(
    request: Request, api: Api, task: Task, shape: LoadedTemplate, seen: str | None
) -> AsyncIterator[bytes]:
    """Write what happens to a task until it ends, the stream's time is over, or the server's;
    or the caller may no longer see it.
    """
    yield b"retry: 1000\n\n"
    stream = _Stream(shape, seen)
    over = time.monotonic() + api.settings.longest_stream.total_seconds()
    spoke = read = asked = time.monotonic()
    changed: Task | None = task
    async with api.watch.on(task.id) as watched:
        while True:
            now = time.monotonic()
            try:
                if now - asked > MAY_STILL:
                    asked = now
                    if not await still_authorized(request, TASKS_READ, task.template):
                        yield _event("problem", {"code": "forbidden"}, None)
                        return
                if changed is not None or now - read > _STEPS_AGAIN:
                    task, read = changed or task, now
                    for event in stream.news(task, await api.store.list_steps(task.id)):
                        spoke = now
                        yield event
                if task.ended:
                    yield _event("end", {"status": task.status.value}, stream.id)
                    return
                if now > over or api.closing.is_set():
                    return
                if now - spoke > HEARTBEAT:
                    spoke = now
                    yield b": alive\n\n"
                changed = await watched.differing(task, _SLICE)
            except TaskerError as error:
                yield _event("problem", {"code": problem_of(error).code}, None)
                return
            await asyncio.sleep(0)


class _Stream:
    """What a client was told of one task."""

    def __init__(self, shape: LoadedTemplate, seen: str | None) -> None:
        self.id = ""
        self._shape = shape
        self._seen = seen  #: the id that it had when its last connection broke
        self._task: Task | None = None
        self._steps: dict[int, tuple[object, ...]] = {}

    def news(self, task: Task, steps: Sequence[Step]) -> list[bytes]:
        """Write what is new; remember that it was told."""
        marks = {step.no: (step.status, step.attempts, step.run_at) for step in steps}
        self.id = hashlib.blake2s(repr((task.status, marks)).encode(), digest_size=9).hexdigest()
        taken_up, self._seen = self._seen == self.id, None
        events = []
        if task != self._task and not taken_up:
            events.append(_event("task", task_head(task), self.id))
        if not taken_up:
            now = datetime.now(UTC)
            events += [
                _event("step", step_readiness(task, self._shape, step, now), self.id)
                for step in steps
                if self._steps.get(step.no) != marks[step.no]
            ]
        self._task, self._steps = task, dict(marks)
        return events


def _event(name: str, data: object, id: str | None) -> bytes:
    text = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    mark = f"id: {id}\n".encode() if id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), mark, text)

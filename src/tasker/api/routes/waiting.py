"""Waiting for a task: long polls and event streams."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import orjson
from fastapi import Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from tasker.api.authorization import masker_of, reauthorize
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import TaskPath, Uuid
from tasker.api.headers import first_header
from tasker.api.problems import Problem, problem_of_error
from tasker.api.responses import LARGE, JsonResponse, run_in_thread_if_large
from tasker.api.routes.tasks import read_authorized_task, read_template_of_task, task_response
from tasker.api.routing import ExtraResponse as Described
from tasker.api.routing import Routes
from tasker.api.views import convert_to_view
from tasker.api.views.tasks import TaskView, task_summary_view
from tasker.client.templates import LoadedTemplate
from tasker.errors import TaskerError
from tasker.limits import STEPS_PAGE
from tasker.model import Step, StepSummary, Task, TaskId
from tasker.store.operator_rules import unknown_task_error
from tasker.teams.permissions import TASKS_READ

routes = Routes("waiting", "/v1/tasks/{task_id}")
shared = Routes("waiting", "/v1/stream")

MOST_FOLLOWED = 50  #: tasks of one stream
_AT_MOST_EVERY = 0.25  #: seconds between two changes of a task
HEARTBEAT = 15.0  #: seconds without an event after which a stream sends a comment
_SLICE = (
    1.0  #: seconds after which a wait checks its caller's permissions and the server's shutdown
)
_STEPS_AGAIN = 2.0  #: seconds after which steps are read again even if their counts are unchanged


@routes.add(
    "GET",
    "/wait",
    TASKS_READ,
    response=TaskView,
    description="The task has ended.",
    extra_responses={
        202: Described(TaskView, "The task did not end within the timeout; repeat the request.")
    },
    error_codes=("not_found",),
)
async def wait_for_task(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    timeout: Annotated[
        float,
        Query(ge=0, le=3600, description="Maximum number of seconds to wait."),
    ] = 30.0,
) -> JsonResponse:
    """Wait until a task ends.

    If the caller loses access to the task, the wait ends with 401, 403 or 404 within a second.
    """
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    end = time.monotonic() + min(timeout, api.settings.longest_wait.total_seconds())
    async with api.watcher.watch(task.id) as watched:
        while not task.has_ended and (left := end - time.monotonic()) > 0:
            if api.closing.is_set():
                break
            changed = await watched.wait_for_change(task, min(left, _SLICE))
            task = changed or task
            if await request.is_disconnected():
                raise ClientDisconnect
            await reauthorize(request, TASKS_READ, task.template, str(unknown_task_error(task.id)))
    return await task_response(api, task, 200 if task.has_ended else 202)


@routes.add(
    "GET",
    "/stream",
    TASKS_READ,
    response=None,
    description="""\
Server-sent events until the task has ended: `task` (without its data), `step` (a changed step,
without its data), and finally `end` (the task's status). A request with `Last-Event-ID` resumes the
stream; if the task has changed since, the stream begins with the whole task.
A comment every 15 seconds keeps the connection alive. If the caller may no longer see the task, the
stream ends with `problem`.""",
    media_type="text/event-stream",
    error_codes=("not_found",),
)
async def stream_task(request: Request, api: ApiServicesOf, task_id: TaskPath) -> Response:
    """Follow a task and its steps."""
    task = await read_authorized_task(request, api, task_id, TASKS_READ)
    loaded = await read_template_of_task(api, task.id)
    seen = first_header(request.scope, "last-event-id")
    return StreamingResponse(
        _stream_task_events(request, api, task, loaded, seen),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _stream_task_events(
    request: Request, api: ApiServices, task: Task, loaded: LoadedTemplate, seen: str | None
) -> AsyncIterator[bytes]:
    """Yield a task's events until it ends, the time limit passes, or the stream must stop."""
    yield b"retry: 1000\n\n"
    stream = _TaskStreamState(loaded, seen)
    over = time.monotonic() + api.settings.longest_stream.total_seconds()
    spoke = read = time.monotonic()
    changed: Task | None = task
    async with api.watcher.watch(task.id) as watched:
        while True:
            now = time.monotonic()
            try:
                if changed is not None or now - read > _STEPS_AGAIN:
                    task, read = changed or task, now
                    steps = await api.store.list_steps(task.id, limit=STEPS_PAGE)
                    if events := await run_in_thread_if_large(
                        len(steps), partial(stream.take_new_events, task, steps)
                    ):
                        spoke = now
                        shown = await masker_of(request).mask(
                            [data for _, data in events], large=len(events) > LARGE
                        )
                        yield await run_in_thread_if_large(
                            len(events), partial(stream.encode_events, events, shown)
                        )
                if task.has_ended:
                    yield _encode_event("end", {"status": task.status.value}, stream.id)
                    return
                if now > over or api.closing.is_set():
                    return
                if now - spoke > HEARTBEAT:
                    spoke = now
                    yield b": alive\n\n"
                changed = await watched.wait_for_change(task, _SLICE)
                await reauthorize(
                    request, TASKS_READ, task.template, str(unknown_task_error(task.id))
                )
            except (TaskerError, Problem) as error:
                yield _encode_event("problem", {"code": problem_of_error(error).code}, None)
                return
            await asyncio.sleep(0)


@shared.add(
    "GET",
    "",
    TASKS_READ,
    response=None,
    description="""\
Server-sent events: `change` with the `task` that changed, at most four a second for each task, and
`gone` for a task that the caller may no longer see. A comment every 15 seconds keeps the connection
alive.""",
    media_type="text/event-stream",
    error_codes=("not_found",),
)
async def stream_changes(
    request: Request,
    api: ApiServicesOf,
    task: Annotated[
        list[Uuid] | None, Query(max_length=MOST_FOLLOWED, description="Ids of tasks.")
    ] = None,
) -> Response:
    """Follow the changes of several tasks over one connection, without their data."""
    ids = dict.fromkeys(TaskId(one.lower()) for one in task or ())
    tasks = [await read_authorized_task(request, api, one, TASKS_READ) for one in ids]
    return StreamingResponse(
        _stream_changes(request, api, tasks),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _stream_changes(
    request: Request, api: ApiServices, tasks: Sequence[Task]
) -> AsyncIterator[bytes]:
    """Yield the changes of tasks until the time limit passes or the server closes."""
    yield b"retry: 1000\n\n"
    if not tasks:
        return
    changes: asyncio.Queue[bytes] = asyncio.Queue(2 * len(tasks))
    over = time.monotonic() + api.settings.longest_stream.total_seconds()
    spoke = time.monotonic()
    followers = [
        asyncio.create_task(
            _queue_task_changes(request, api, one, changes), name=f"follow {one.id}"
        )
        for one in tasks
    ]
    try:
        while time.monotonic() < over and not api.closing.is_set():
            try:
                yield await asyncio.wait_for(changes.get(), _SLICE)
                spoke = time.monotonic()
            except TimeoutError:
                if time.monotonic() - spoke > HEARTBEAT:
                    spoke = time.monotonic()
                    yield b": alive\n\n"
    finally:
        for follower in followers:
            follower.cancel()


async def _queue_task_changes(
    request: Request, api: ApiServices, task: Task, changes: asyncio.Queue[bytes]
) -> None:
    """Put the changes of a task into a queue until the caller may no longer see it."""
    seen = task.etag
    async with api.watcher.followed.follow(task.id) as followed:
        while True:
            try:
                changed = await followed.wait_for_change(seen, _SLICE)
                await reauthorize(
                    request, TASKS_READ, task.template, str(unknown_task_error(task.id))
                )
            except (TaskerError, Problem):
                await changes.put(_encode_event("gone", {"task": task.id}, None))
                return
            if changed is not None:
                seen = changed
                await changes.put(_encode_event("change", {"task": task.id}, None))
                await asyncio.sleep(_AT_MOST_EVERY)


class _TaskStreamState:
    """The state of one stream: the changes that it has sent."""

    def __init__(self, loaded: LoadedTemplate, seen: str | None) -> None:
        self.id = ""
        self._loaded = loaded
        self._seen = seen  #: the last id that the client received
        self._task: Task | None = None
        self._steps: dict[int, tuple[object, ...]] = {}

    def take_new_events(self, task: Task, steps: Sequence[Step]) -> list[tuple[str, object]]:
        """Return the names and data of the events for all changes, and record them as sent."""
        marks = {step.no: (step.status, step.attempts, step.run_at) for step in steps}
        self.id = hashlib.blake2s(repr((task.status, marks)).encode(), digest_size=9).hexdigest()
        resumed, self._seen = self._seen == self.id, None
        events: list[tuple[str, object]] = []
        if task != self._task and not resumed:
            events.append(("task", task_summary_view(task)))
        if not resumed:
            changed = [step for step in steps if self._steps.get(step.no) != marks[step.no]]
            events += [
                ("step", convert_to_view(step, StepSummary))
                for step in self._loaded.fill_derived_step_fields(changed, datetime.now(UTC))
            ]
        self._task, self._steps = task, dict(marks)
        return events

    def encode_events(self, events: Sequence[tuple[str, object]], shown: Sequence[object]) -> bytes:
        """Return the events as one chunk, each with the data that the caller may see."""
        return b"".join(
            _encode_event(name, data, self.id)
            for (name, _), data in zip(events, shown, strict=True)
        )


def _encode_event(name: str, data: object, id: str | None) -> bytes:
    text = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    mark = f"id: {id}\n".encode() if id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), mark, text)

"""The worker of `tasker worker --server`: the same engine, over the worker protocol."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

from tasker.client import Client, LocalClient, SyncClient
from tasker.durable import DurableCall
from tasker.engine.claimer import Claimer
from tasker.engine.engine_steps import ParentState
from tasker.engine.executor import Executor
from tasker.engine.services import HandlerServices
from tasker.engine.settler import SETTLEMENTS
from tasker.engine.step_logs import StepLogs
from tasker.engine.task_cache import CachedInstance, CachedTask, CompiledTemplate, TaskCache
from tasker.engine.worker import Worker
from tasker.errors import AttemptCancelled, Misuse
from tasker.handlers import LiveAttempt
from tasker.handlers.instances import InstanceInput, JoinedStep, Page
from tasker.model import (
    AttemptKey,
    Claim,
    JsonText,
    StepSpec,
    StepStatus,
    TaskId,
    TaskInput,
    Template,
    TemplateId,
)
from tasker.remote.store import RemoteStep, RemoteStore, to_json_text
from tasker.store.protocol import Store

_FIGURES = 60.0  #: seconds for which counted figures stay in memory


class RemoteWorker(Worker):
    """A worker that reaches the store through a server: see `Worker`.

    The server registers templates, decides about retries and schemas, and performs the duties.

    Args:
        remote: The open connection to the server.
        handlers: As for `Worker`.
        options: The other arguments of `Worker`.
    """

    _SETTLEMENTS = SETTLEMENTS

    def __init__(
        self, remote: RemoteStore, handlers: Iterable[object] = (), **options: Any
    ) -> None:
        self.remote = remote
        super().__init__(cast(Store, remote), handlers, **options)
        if self.handlers.subscribers:
            names = ", ".join(each.name for each in self.handlers.subscribers)
            raise Misuse(
                f"event subscribers ({names}) run only on workers with access to the database; "
                "use a"
                " webhook instead"
            )
        self.client = cast(LocalClient, remote.client)  # what users of both have in common
        remote.slots = self._slots
        remote.before_settling = self._logs.write_records_before_outcomes
        remote.handlers, remote.environment = self.handlers, self.settings.environment

    def _make_http_step_handler(self) -> NoReturn:
        raise Misuse(
            "steps with 'http' run only on workers with access to the database, not with --server"
        )

    def _make_task_cache(self) -> TaskCache:
        return TaskCacheFromPayloads(self.remote, self)

    def _make_handler_services(self) -> HandlerServices:
        return RemoteHandlerServices(self.remote, self._logs)

    def _background_loops(
        self, executor: Executor, claimer: Claimer
    ) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "settle": self._settler.run(),
            "lease": self._lease.maintain(executor, claimer),
            "claim": claimer.run(),
            "figures": self._discard_figures_periodically(),
            "logs": self._logs.run(),
        }

    async def _discard_figures_periodically(self) -> None:
        """Discard what was counted: the figures of remote workers are not kept."""
        while True:
            await self._figures.write_counts()
            await asyncio.sleep(_FIGURES)

    async def _store_subscriptions(self) -> None:
        return

    async def _stop_deliveries_and_flush(self) -> None:
        return

    async def _register_templates(self) -> None:
        self._check_handlers()
        for template in self._templates:
            registered = await self.remote.client.register(template, replace=self._replace)
            self._warn_unless_approved(template, registered.stored.status)

    async def _warn_of_lacking_versions(self) -> None:
        return


class RemoteHandlerServices(HandlerServices):
    """The services of handlers, provided by the server."""

    def __init__(self, remote: RemoteStore, logs: StepLogs) -> None:
        super().__init__(cast(Store, remote), cast(LocalClient, remote.client), logs=logs)
        self._remote = remote
        self._event_loop = asyncio.get_running_loop()

    def client(self, attempt: LiveAttempt) -> Client:
        step = self._remote.find_claimed_step(attempt.claim.attempt_key)
        if step is None:
            raise AttemptCancelled("the attempt is over")
        return self._remote.client.for_remote_attempt(
            step.ticket, step.body["idempotency_key"], step.body["namespace"]
        )

    def sync_client(self, attempt: LiveAttempt) -> SyncClient:
        return SyncClient(self.client(attempt), self._event_loop)

    async def read_instance_results(
        self, attempt: LiveAttempt, joined: JoinedStep
    ) -> AsyncIterator[Page]:
        begin = 0
        while page := await self._remote.load_instance_results(attempt.claim, joined.step, begin):
            yield page
            begin += len(page)

    async def create_completion_url_unless_completed(
        self, attempt: LiveAttempt
    ) -> DurableCall | None:
        step = self._remote.find_claimed_step(attempt.claim.attempt_key)
        attempt.completion_url = (step and step.body.get("completion_url")) or ""
        return None  # the server settles steps that are already completed


class TaskCacheFromPayloads(TaskCache):
    """Builds the tasks of claims from the payloads sent with them; caches only templates."""

    def __init__(self, remote: RemoteStore, worker: Worker) -> None:
        super().__init__(
            cast(Store, remote),
            worker.handlers,
            environment=worker.settings.environment,
            limit=0,
            labels=worker.settings.labels,
        )
        self._remote = remote

    def find_task_with_needed_results(self, claim: Claim) -> CachedTask | None:
        step = self._remote.find_claimed_step(claim.attempt_key)
        if step is None or step.body.get("payload"):
            return None
        compiled = self._templates.get(TemplateId(step.body["template_id"]))
        return None if compiled is None else build_cached_task(step, compiled)

    async def fetch_claimed_tasks(self, claims: Sequence[Claim]) -> dict[TaskId, CachedTask]:
        return {
            task.input.task_id: task for task in (await self._build_claimed_tasks(claims)).values()
        }

    async def fetch_instance_tasks(
        self, claims: Sequence[Claim], tasks: Mapping[TaskId, CachedTask]
    ) -> dict[AttemptKey, CachedTask]:
        return await self._build_claimed_tasks(claims)  # each claim has its own

    async def _build_claimed_tasks(self, claims: Sequence[Claim]) -> dict[AttemptKey, CachedTask]:
        tasks = {}
        for claim in claims:
            if (step := self._remote.find_claimed_step(claim.attempt_key)) is not None:
                step = await self._remote.load_missing_payload(step)
                tasks[claim.attempt_key] = build_cached_task(
                    step, await self._load_compiled_template(step)
                )
        return tasks

    async def _load_compiled_template(self, step: RemoteStep) -> CompiledTemplate:
        template_id = TemplateId(step.body["template_id"])
        compiled = self._templates.get(template_id)
        if compiled is None:
            stored = await self._remote.load_template(step)
            template = stored.template.for_environment(self._environment)
            compiled = self._compile_template(strip_server_checks(template))
            compiled.conditions = compiled.choices = None
            compiled.fails_fast = False
            self._templates.put(template_id, compiled, len(compiled.graph.specs))
        return compiled

    def add_result(self, task_id: TaskId, no: int, result: JsonText | None) -> None:
        return

    def remove_task(self, task_id: TaskId) -> None:
        return


def build_cached_task(step: RemoteStep, compiled: CompiledTemplate) -> CachedTask:
    """Return the task of a claimed step in the form that its handler sees."""
    body, numbers = step.body, compiled.graph.numbers
    task = CachedTask(
        TaskInput(
            step.claim.task_id,
            TemplateId(body["template_id"]),
            to_json_text(body["context"]),
            body["correlation_id"],
            body["parent_id"],
            body["traceparent"],
            body["priority"],
        ),
        compiled,
    )
    around = body.get("surroundings")
    if around is not None:
        instance = InstanceInput(
            body["step"],
            around["node"],
            step.claim.no,
            around["spawned_by"],
            body["instance"],
            {name: to_json_text(value) for name, value in body["items"].items()},
            {int(scope): offset for scope, offset in around["offsets"].items()},
        )
        task = CachedInstance(task, instance)
    for name, value in body["results"].items():
        task.add_result(numbers[name], None if value is None else to_json_text(value))
    for name, error in body["failures"].items():
        task.missed[numbers[name]] = ParentState(StepStatus.ERROR, None, to_json_text(error))
    return task


def strip_server_checks(template: Template) -> Template:
    """Return a template without the parts that the server decides about."""
    return replace(template, steps=tuple(map(_strip_step_checks, template.steps)))


def _strip_step_checks(spec: StepSpec) -> StepSpec:
    steps = tuple(map(_strip_step_checks, spec.steps))
    return replace(spec, events=(), result_schema=None, steps=steps)

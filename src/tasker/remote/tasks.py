"""The server's cache of the tasks whose steps remote workers run."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from tasker import codec
from tasker.engine.task_cache import CompiledTemplate, TaskCache
from tasker.graph import numbers_in_mask
from tasker.handlers import Handlers
from tasker.layout import EngineStepKind
from tasker.model import ENGINE, StepSpec, TaskId, TaskInput, Template
from tasker.store.protocol import WorkerStore

_MEMORY = 64 << 20  #: bytes of contexts and results, for each environment
_UNREADABLE = (
    EngineStepKind.SPAWN,
    EngineStepKind.CHECK,
)  #: engine steps whose results are not sent


class StepResponseFields(NamedTuple):
    """The part of a response that all attempts of a step share."""

    head: dict[str, Any]
    config: orjson.Fragment


class RemoteTemplate(CompiledTemplate):
    """A template whose handlers are in remote workers."""

    def __init__(self, template: Template, handlers: Handlers) -> None:
        super().__init__(template, handlers)
        self._fields: dict[int, StepResponseFields] = {}

    def response_fields(self, no: int) -> StepResponseFields:
        """Return the part of a response that all attempts of a step share."""
        fields = self._fields.get(no)
        if fields is None:
            fields = self._fields[no] = _build_response_fields(self.step_spec(no), self.template)
        return fields

    def needed_results_bitmask(self, no: int) -> int | None:
        """Return the mask of all ancestors of step `no`, because workers need different results.

        None: the step was created at run time.
        """
        return None if self.is_runtime_step(no) else self.graph.ancestors[no]

    def list_readable_steps(self, no: int, needs: str | tuple[str, ...]) -> list[tuple[str, int]]:
        """Return names and numbers of the steps whose results a handler gets."""
        before = self.graph.ancestors[no]
        if needs == "none":
            return []
        if needs == "parents":
            before = sum(1 << parent for parent in self.graph.parents[no])
        return [
            (self.graph.names[number - 1], number)
            for number in numbers_in_mask(before)
            if not (
                self.step_spec(number).handler == ENGINE
                and self.step_spec(number).method in _UNREADABLE
            )
            and (isinstance(needs, str) or self.graph.names[number - 1] in needs)
        ]


class TaskCacheForRemoteWorkers(TaskCache):
    """Caches tasks with all results that remote handlers may read.

    Args:
        store: The store.
        environment: The environment whose overrides apply.
    """

    def __init__(self, store: WorkerStore, environment: str | None) -> None:
        super().__init__(store, Handlers.collect(), environment=environment, limit=_MEMORY)
        self._wanted: set[TaskId] = set()  #: for the next call of the store
        self._loading: asyncio.Task[Mapping[TaskId, TaskInput]] | None = None

    async def _load_task_inputs(self, ids: Sequence[TaskId]) -> Sequence[TaskInput]:
        """Read tasks, together with tasks that other workers' claims need at the same time."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_wanted_inputs(), name="tasker-tasks")
        self._wanted.update(ids)
        loaded = await asyncio.shield(self._loading)
        return [loaded[task_id] for task_id in ids if task_id in loaded]

    async def _load_wanted_inputs(self) -> Mapping[TaskId, TaskInput]:
        wanted, self._wanted, self._loading = sorted(self._wanted), set(), None
        return {task.task_id: task for task in await self._store.load_task_inputs(wanted)}

    def _compile_template(self, template: Template) -> CompiledTemplate:
        return RemoteTemplate(template, self._handlers)


def _build_response_fields(spec: StepSpec, template: Template) -> StepResponseFields:
    head = {
        "handler": spec.handler,
        "method": spec.method,
        "namespace": template.namespace,
        "template": template.name,
        "version": template.version,
        "max_attempts": spec.retry.attempt_limit,
        "timeout_s": _to_seconds(spec.timeout),
        "heartbeat_timeout_s": _to_seconds(spec.heartbeat_timeout),
    }
    config = codec.dumps(spec.config, what=f"config of step {spec.name!r}")
    return StepResponseFields(head, orjson.Fragment(config))


def _to_seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()

"""Finds templates by name and version, with a cache in front of the store."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tasker import codec, versions
from tasker.bounded_cache import BoundedCache
from tasker.errors import InvalidInput, NotFound, TemplateNotApproved
from tasker.graph import Graph
from tasker.layout import COMPENSATION, find_node_instance
from tasker.model import (
    MOST_SPAWNED,
    NewTask,
    PhaseDurations,
    Step,
    StepCounts,
    StepSpec,
    StepStatus,
    StoredTemplate,
    Task,
    TaskId,
    TaskStatus,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store.protocol import Store, WorkerStore
from tasker.suggest import did_you_mean
from tasker.template.step_limits import collect_declared_limits
from tasker.times import TaskTimes
from tasker.ttl_cache import Clock, TTLCache

DEFAULT_NAMESPACE = "default"
_FRESH = 1.0  #: seconds for which a name is cached
_STEPS = 20_000  #: steps of the cached templates
_MANY_STEPS = 500  #: steps of a template that is prepared off the event loop
_MOST = 1000  #: cached names; limited, because callers may send any number of ranges
_REPORTED_FIRST = (
    TemplateStatus.APPROVED,
    TemplateStatus.PENDING_REVIEW,
    TemplateStatus.RETIRED,
    TemplateStatus.REJECTED,
)  #: preference if a version has several statuses


class LoadedTemplate:
    """A stored template with its graph."""

    def __init__(self, stored: StoredTemplate) -> None:
        self.stored = stored
        self.graph = Graph(stored.template)
        roots = len(self.graph.roots)
        self.limits = collect_declared_limits(stored.template, self.graph)
        """Limits by step number; for steps created at run time, by the number of their spec."""

        layout = self.graph.layout
        made = sum(not layout.spawner_around(no) for no in self.graph.forward_nodes)
        template = stored.template
        self._initial = Task(
            id=TaskId(""),
            namespace=template.namespace,
            name=template.name,
            version=template.version,
            status=TaskStatus.PENDING,
            context={},
            correlation_id="",
            parent_id=None,
            idempotency_key=None,
            created_by="",
            reason="",
            tags=(),
            created_at=stored.registered_at,
            ended_at=None,
            deadline=None,
            error=None,
            counts=StepCounts(enqueued=roots, pending=made - roots),
            updated_at=stored.registered_at,
        )

    def require_step_number(self, step: str) -> int:
        """Return a step's number. Raises NotFound."""
        no = self.graph.numbers.get(step)
        layout = self.graph.layout
        if no is None:
            known = ", ".join(self.graph.names[: min(20, len(self.graph.forward_nodes))])
            guess = did_you_mean(step, self.graph.names)
            listed = f"{guess} It has {known}" if guess else f"; it has {known}"
            raise NotFound(f"{self.stored.template.full_name} has no step {step!r}{listed}")
        if layout.spawner_around(no):
            example = layout.step_name_pattern(no).replace("[]", "[0]")
            raise NotFound(f"the step {step!r} has instances; name one of them, such as {example}")
        return no

    async def find_step_number_in_task(self, store: WorkerStore, task_id: TaskId, step: str) -> int:
        """Return the number of a step of a task by its name, such as `convert[17]`.

        Raises: NotFound.
        """
        if step.endswith(COMPENSATION):
            return await self._find_compensating_step_number(store, task_id, step)
        if "[" not in step:
            return self.require_step_number(step)
        place = find_node_instance(self.graph.layout, step)
        offset: int | None = 0  #: from the numbers of nodes to those of steps
        for body, instance in place.instances if place else ():
            spawns = await store.list_spawns(task_id, body.join + (offset or 0))
            offset = next(
                (
                    each.first_step_number(instance) - body.first
                    for each in spawns
                    if each.contains_instance(instance)
                ),
                None,
            )
            if offset is None:
                break
        if place is None or offset is None:
            raise NotFound(f"task {task_id} has no step {step!r}")
        return place.node + offset

    async def _find_compensating_step_number(
        self, store: WorkerStore, task_id: TaskId, step: str
    ) -> int:
        """Return the number of the step that undoes another one. Raises NotFound."""
        compensating = self.graph.layout.compensating
        if compensating is not None:
            undone = await self.find_step_number_in_task(
                store, task_id, step.removesuffix(COMPENSATION)
            )
            for spawn in await store.list_spawns(task_id, compensating.planner):
                end = spawn.first_no + spawn.instances
                for begin in range(spawn.first_no, end, MOST_SPAWNED):
                    numbers = range(begin, min(begin + MOST_SPAWNED, end))
                    for row in await store.load_runtime_steps({task_id: numbers}):
                        if row.undoes == undone and row.no in numbers:
                            return row.no
        raise NotFound(f"task {task_id} has no step {step!r}")

    def compute_used_attempts_leaving_one(self) -> dict[int, int]:
        """Return the number of attempts to count as used for each node, so one attempt is left."""
        return {
            no: max(spec.retry.max_attempts - 1, 0)
            for no, spec in enumerate(self.graph.specs, start=1)
        }

    def fill_derived_step_fields(
        self, steps: Iterable[Step], now: datetime, timeline: TaskTimes | None = None
    ) -> list[Step]:
        """Return steps with the fields that depend on their template and on the time."""
        specs = self.graph.specs
        return [
            _fill_derived_step_fields(
                step, specs[step.template_node - 1], now, timeline and timeline.steps[step.name]
            )
            for step in steps
        ]

    def build_initial_task(self, new: NewTask, created_at: datetime) -> Task:
        """Return a task in its initial state."""
        task = object.__new__(Task)  # copied: its constructor takes three times as long
        vars(task).update(
            vars(self._initial),
            id=new.id,
            context=codec.loads(new.context),
            correlation_id=new.correlation_id,
            parent_id=new.parent_id,
            idempotency_key=new.idempotency_key,
            created_by=new.created_by,
            reason=new.reason,
            tags=new.tags,
            created_at=created_at,
            deadline=created_at + new.deadline if new.deadline else None,
            updated_at=created_at,
            title=new.title,
            priority=new.priority,
            attributes=new.attributes,
        )
        return task


def _fill_derived_step_fields(
    step: Step, spec: StepSpec, now: datetime, times: PhaseDurations | None
) -> Step:
    due = step.run_at is None or step.run_at <= now
    status, until = step.status, step.waits_until
    if step.is_sleeping(now):
        status, until = StepStatus.WAITING, step.run_at
    elif step.is_waiting_for_retry(now):
        status = StepStatus.WAITING_FOR_RETRY
    return replace(
        step,
        handler=spec.handler,
        dependencies=spec.dependencies,
        max_attempts=spec.retry.attempt_limit,
        ready=step.status is StepStatus.ENQUEUED and due and step.pause is None,
        status=status,
        waits_until=until,
        times=times,
    )


class TemplateCache:
    """Caches templates: by id, because they never change, and by name for a second.

    Concurrent callers that need the same name share one look-up.

    Args:
        store: The store.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, store: Store, *, clock: Clock = time.monotonic) -> None:
        self._store = store
        self.discreet = False
        """Whether error messages suggest only templates of the requested namespace."""
        self._by_id: BoundedCache[TemplateId, LoadedTemplate] = BoundedCache(_STEPS)
        self._by_name = TTLCache(
            self._resolve_template_id, seconds=_FRESH, max_entries=_MOST, clock=clock
        )

    async def load_by_name(
        self, name: str, namespace: str | None, version: str | None
    ) -> LoadedTemplate:
        """Return a template by name, from the cache if it was looked up within the last second.

        Args:
            name: `name` or `namespace.name`, with or without `@version`.
            namespace: Namespace of a name without one; None means `default`.
            version: An exact version, a range, or None for the latest release.

        Raises:
            NotFound: The template does not exist; the message lists similar ones.
            TemplateNotApproved: The version is pending review or rejected. A retired version can be
                found by its exact number, so idempotency keys still match its tasks; the store
                rejects new tasks.
            InvalidInput: The namespace or version is given twice with different values.
        """
        template_id = await self._by_name.get(split_template_reference(name, namespace, version))
        return await self.load_by_id(template_id)

    async def load_by_id(self, template_id: TemplateId) -> LoadedTemplate:
        """Return the template with an id, from the cache if it is there. Raises NotFound."""
        loaded = self._by_id.get(template_id)
        if loaded is None:
            stored = await self._store.template_by_id(template_id)
            loaded = await self._load_and_cache(stored)
        return loaded

    def clear_names(self) -> None:
        """Remove names from the cache."""
        self._by_name.clear()

    async def _resolve_template_id(self, reference: tuple[str, str, str | None]) -> TemplateId:
        namespace, name, version = reference
        approved = await self._store.list_approved_versions(namespace, name)
        chosen = versions.highest_matching_version(approved, spec=version)
        if chosen is not None:
            stored = await self._store.get_template(TemplateName(namespace, name, chosen))
        else:
            stored = await self._find_retired_version_or_raise(namespace, name, version, approved)
        loaded = self._by_id.get(stored.id)
        if loaded is None or loaded.stored.status is not stored.status:
            await self._load_and_cache(stored)
        return stored.id

    async def _load_and_cache(self, stored: StoredTemplate) -> LoadedTemplate:
        loaded = await build_loaded_template(stored)
        self._by_id.put(stored.id, loaded, len(loaded.graph.specs))
        return loaded

    async def _find_retired_version_or_raise(
        self, namespace: str, name: str, version: str | None, approved: list[str]
    ) -> StoredTemplate:
        """Return a retired version by its exact number. Raises NotFound, TemplateNotApproved."""
        known = await self._store.list_template_versions(namespace=namespace, name=name)
        if not known:
            suggestion = await self._suggest_similar_name(namespace, name)
            raise NotFound(f"template {namespace}.{name} not found{suggestion}")
        chosen = versions.highest_matching_version({one.version for one in known}, spec=version)
        if chosen is None:
            usable = ", ".join(sorted(approved, key=versions.sort_key))
            hint = f"; available: {usable}" if usable else ""
            raise NotFound(f"no version of {namespace}.{name} matches {version}{hint}")
        matches = [one for one in known if one.version == chosen]
        for one in matches:
            if one.status is TemplateStatus.RETIRED and version == chosen:
                return await self._store.template_by_id(one.id)
        policy = await self._store.get_policy(namespace)
        approvers = policy.approvers if policy else ()
        newest = min(reversed(matches), key=lambda one: _REPORTED_FIRST.index(one.status))
        raise TemplateNotApproved(newest.full_name, newest.status, approvers)

    async def _suggest_similar_name(self, namespace: str, name: str) -> str:
        """Return a suggestion: the same name in other namespaces, or a similar name."""
        within = namespace if self.discreet else None
        same = await self._store.list_approved_templates(namespace=within, name=name)
        if spaces := {stored.template.namespace for stored in same}:
            return f"; did you mean {' or '.join(f'{space}.{name}' for space in sorted(spaces))}?"
        keys = [
            stored.template.key
            for stored in await self._store.list_approved_templates(namespace=within)
        ]
        return did_you_mean(f"{namespace}.{name}", [f"{key.namespace}.{key.name}" for key in keys])


async def build_loaded_template(stored: StoredTemplate) -> LoadedTemplate:
    """Return a stored template with its graph; many steps are prepared off the event loop."""
    if len(stored.template.steps) <= _MANY_STEPS:
        return LoadedTemplate(stored)
    return await asyncio.to_thread(LoadedTemplate, stored)


def split_template_reference(
    name: str, namespace: str | None, version: str | None
) -> tuple[str, str, str | None]:
    """Return (namespace, name, version) of a reference. Raises InvalidInput."""
    name, _, pinned = name.partition("@")
    space, dot, name = name.rpartition(".")
    if dot and namespace is not None and namespace != space:
        raise InvalidInput(
            f"the namespace is given twice: {space} and {namespace}", path="$.namespace"
        )
    if pinned and version is not None and version != pinned:
        raise InvalidInput(f"the version is given twice: {pinned} and {version}", path="$.version")
    return space or namespace or DEFAULT_NAMESPACE, name, pinned or version

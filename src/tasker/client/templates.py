"""Finding templates by name and version, without asking the store each time."""

import time
from datetime import datetime

from tasker import codec, versions
from tasker.errors import InvalidInput, NotApproved, NotFound
from tasker.graph import Graph
from tasker.model import (
    NewTask,
    StepCounts,
    StoredTemplate,
    Task,
    TaskStatus,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store.protocol import Store
from tasker.suggest import did_you_mean

DEFAULT_NAMESPACE = "default"
_FRESH = 1.0  #: seconds for which an answer of the store is believed
_MOST = 1000  #: names believed at a time: callers may make up ever new ranges
_SAID_FIRST = (
    TemplateStatus.APPROVED,
    TemplateStatus.PENDING_REVIEW,
    TemplateStatus.RETIRED,
    TemplateStatus.REJECTED,
)  #: of several statuses that one version has


class LoadedTemplate:
    """A stored template, and what follows from its graph."""

    def __init__(self, stored: StoredTemplate) -> None:
        self.stored = stored
        self.graph = Graph(stored.template)
        roots = len(self.graph.roots)
        self._counts = StepCounts(enqueued=roots, pending=len(stored.template.steps) - roots)

    def number(self, step: str) -> int:
        """Tell a step's number. Raises NotFound."""
        no = self.graph.numbers.get(step)
        if no is None:
            known = ", ".join(self.graph.names[:20])
            raise NotFound(f"{self.stored.template.full_name} has no step {step!r}; it has {known}")
        return no

    def all_but_one_try(self) -> dict[int, int]:
        """Return, by step, how many attempts must count as used to leave just one."""
        return {
            no: max(spec.retry.max_attempts - 1, 0)
            for no, spec in enumerate(self.stored.template.steps, start=1)
        }

    def task(self, new: NewTask, created_at: datetime) -> Task:
        """Tell a task as it is when it was just created."""
        return Task(
            id=new.id,
            template=self.stored.template.key,
            status=TaskStatus.PENDING,
            context=codec.loads(new.context),
            correlation_id=new.correlation_id,
            parent_id=new.parent_id,
            idempotency_key=new.idempotency_key,
            created_by=new.created_by,
            reason=new.reason,
            tags=new.tags,
            created_at=created_at,
            ended_at=None,
            deadline=created_at + new.deadline if new.deadline else None,
            error=None,
            counts=self._counts,
        )


class TemplateCache:
    """Templates by id, which never change, and by name, believed for a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.discreet = False
        """Whether an error guesses only at templates of the namespace that was asked for."""
        self._shapes: dict[TemplateId, LoadedTemplate] = {}
        self._found: dict[tuple[str, str, str | None], tuple[float, LoadedTemplate]] = {}

    async def find(self, name: str, namespace: str | None, version: str | None) -> LoadedTemplate:
        """Find the template of a name.

        Args:
            name: `name` or `namespace.name`, with or without `@version`.
            namespace: Of a name that has none; None: `default`.
            version: Exact, a range, or None for the latest release.

        Raises:
            NotFound: There is none; the message tells what there is.
            NotApproved: It waits for approval, or was rejected. One that was retired is
                found by its exact version, so that who created a task of it comes to that
                task again; the store refuses new ones.
            InvalidInput: Namespace or version are said twice, and differently.
        """
        key = split(name, namespace, version)
        believed = self._found.get(key)
        if believed is not None and time.monotonic() - believed[0] < _FRESH:
            return believed[1]
        shape = await self._look_up(*key)
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[key] = (time.monotonic(), shape)
        return shape

    async def shape(self, template_id: TemplateId) -> LoadedTemplate:
        """Tell a template by its id."""
        shape = self._shapes.get(template_id)
        if shape is None:
            stored = await self._store.template_by_id(template_id)
            shape = self._shapes[template_id] = LoadedTemplate(stored)
        return shape

    def forget(self) -> None:
        """Believe no name any more."""
        self._found.clear()

    async def _look_up(self, namespace: str, name: str, version: str | None) -> LoadedTemplate:
        there = await self._store.versions(namespace, name)
        chosen = versions.latest(there, spec=version)
        if chosen is not None:
            stored = await self._store.template(TemplateName(namespace, name, chosen))
        else:
            stored = await self._retired(namespace, name, version, there)
        shape = self._shapes.get(stored.id)
        if shape is None or shape.stored.status is not stored.status:
            shape = self._shapes[stored.id] = LoadedTemplate(stored)
        return shape

    async def _retired(
        self, namespace: str, name: str, version: str | None, approved: list[str]
    ) -> StoredTemplate:
        """Tell the retired template of an exact version; raise what else there is to say."""
        found = await self._store.template_statuses(namespace=namespace, name=name)
        if not found:
            hint = await self._hint(namespace, name)
            raise NotFound(f"there is no template {namespace}.{name}{hint}")
        chosen = versions.latest({other.name.version for other in found}, spec=version)
        if chosen is None:
            there = sorted(approved, key=versions.sort_key)
            raise NotFound(
                f"no version of {namespace}.{name} is {version}"
                + (f"; there are {', '.join(there)}" if there else "")
            )
        meant = [other for other in found if other.name.version == chosen]
        for other in meant:
            if other.status is TemplateStatus.RETIRED and version == chosen:
                return await self._store.template_by_id(other.id)
        policy = await self._store.policy(namespace)
        approvers = policy.approvers if policy else ()
        newest = min(reversed(meant), key=lambda other: _SAID_FIRST.index(other.status))
        raise NotApproved(str(newest.name), newest.status, approvers)

    async def _hint(self, namespace: str, name: str) -> str:
        """Tell where a template of that name is, or one that is called nearly so."""
        within = namespace if self.discreet else None
        same = await self._store.templates(namespace=within, name=name)
        if found := {stored.template.namespace for stored in same}:
            return f"; did you mean {' or '.join(f'{space}.{name}' for space in sorted(found))}?"
        keys = [stored.template.key for stored in await self._store.templates(namespace=within)]
        return did_you_mean(f"{namespace}.{name}", [f"{key.namespace}.{key.name}" for key in keys])


def split(name: str, namespace: str | None, version: str | None) -> tuple[str, str, str | None]:
    """Tell (namespace, name, version) of a reference."""
    name, _, pinned = name.partition("@")
    space, dot, name = name.rpartition(".")
    if dot and namespace is not None and namespace != space:
        raise InvalidInput(
            f"the namespace is said twice: {space} and {namespace}", path="$.namespace"
        )
    if pinned and version is not None and version != pinned:
        raise InvalidInput(f"the version is said twice: {pinned} and {version}", path="$.version")
    return space or namespace or DEFAULT_NAMESPACE, name, pinned or version

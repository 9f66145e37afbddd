"""Searches tasks by id and correlation id, and workflows, namespaces and workers by name."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from tasker.errors import InvalidInput, NotFound
from tasker.model import TaskFilter, TaskId
from tasker.store.protocol import Store

MOST_MATCHES = 8  #: of each kind
LONGEST_SEARCH = 200  #: characters
_ID_PREFIX = re.compile(r"[0-9a-f]{6,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchMatch:
    """A match of a search."""

    kind: str
    """Kind of the match: `task`, `workflow`, `namespace` or `worker`."""

    id: str
    name: str
    """Name of the match; for a task, the name of its workflow."""

    namespace: str | None
    title: str | None
    """The task's title; None if the match is not a task."""

    detail: str
    path: str
    """Path of the match's page in the web UI, below `/ui`."""


class SearchScope(NamedTuple):
    """The namespaces that a search covers; None: all."""

    tasks: frozenset[str] | None = None
    templates: frozenset[str] | None = None
    namespaces: frozenset[str] | None = None
    workers: bool = True


EVERYTHING = SearchScope()


async def search_store(
    store: Store, text: str, scope: SearchScope = EVERYTHING
) -> list[SearchMatch]:
    """Return the matches of a text, at most 8 of each kind: see `Client.search`."""
    text = text.strip()
    if not 1 <= len(text) <= LONGEST_SEARCH:
        raise InvalidInput(
            f"the search text must have 1 to {LONGEST_SEARCH} characters, not {len(text):,}",
            path="$.q",
        )
    lower = text.lower()
    matches = await _search_tasks(store, text, scope.tasks)
    matches += await _search_templates(store, lower, scope.templates)
    matches += await _search_namespaces(store, lower, scope.namespaces)
    return matches + (await _search_workers(store, lower) if scope.workers else [])


async def _search_tasks(
    store: Store, text: str, visible: frozenset[str] | None
) -> list[SearchMatch]:
    listed = await store.list_tasks(
        TaskFilter(correlation_id=text, visible=visible), limit=MOST_MATCHES
    )
    digits = text.lower().replace("-", "")
    if _ID_PREFIX.fullmatch(digits):
        last = TaskId(str(UUID(digits.ljust(32, "f"))))
        near = await store.list_tasks(TaskFilter(visible=visible), after=last, limit=MOST_MATCHES)
        if len(digits) == 32:
            with suppress(NotFound):
                near = [await store.get_task(last)]
        listed = [
            *(
                one
                for one in near
                if one.id.replace("-", "").startswith(digits)
                and (visible is None or one.namespace in visible)
            ),
            *listed,
        ]
    return [
        SearchMatch(
            kind="task",
            id=one.id,
            name=f"{one.namespace}.{one.name}",
            namespace=one.namespace,
            title=one.title,
            detail=f"{one.status.value.replace('_', ' ')}, {one.id[:13]}",
            path=f"/tasks/{one.id}",
        )
        for one in {one.id: one for one in listed}.values()
    ][:MOST_MATCHES]


async def _search_templates(
    store: Store, text: str, visible: frozenset[str] | None
) -> list[SearchMatch]:
    if visible == frozenset():
        return []
    versions = {
        (one.namespace, one.name): one.version
        for one in await store.list_template_versions()
        if (visible is None or one.namespace in visible)
        and text in f"{one.namespace}.{one.name}".lower()
    }
    return [
        SearchMatch(
            kind="workflow",
            id=f"{namespace}.{name}",
            name=f"{namespace}.{name}",
            namespace=namespace,
            title=None,
            detail=version,
            path=f"/workflows/{namespace}/{name}",
        )
        for (namespace, name), version in sorted(versions.items())
    ][:MOST_MATCHES]


async def _search_namespaces(
    store: Store, text: str, visible: frozenset[str] | None
) -> list[SearchMatch]:
    if visible == frozenset():
        return []
    return [
        SearchMatch(
            kind="namespace",
            id=one.name,
            name=one.name,
            namespace=one.name,
            title=None,
            detail=one.policy.owner_team if one.policy else "",
            path=f"/namespaces/{one.name}",
        )
        for one in await store.list_namespaces()
        if (visible is None or one.name in visible) and text in one.name.lower()
    ][:MOST_MATCHES]


async def _search_workers(store: Store, text: str) -> list[SearchMatch]:
    return [
        SearchMatch(
            kind="worker",
            id=str(one.id),
            name=one.name,
            namespace=None,
            title=None,
            detail="alive",
            path="/workers",
        )
        for one in await store.list_workers()
        if one.alive and text in one.name.lower()
    ][:MOST_MATCHES]

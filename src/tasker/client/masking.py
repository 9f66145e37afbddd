"""Finds sensitive data of tasks, as declared by their templates and those of their parents."""

from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass, replace
from inspect import isawaitable
from itertools import chain
from typing import Any

from tasker import codec
from tasker.bounded_cache import BoundedCache
from tasker.client.templates import LoadedTemplate, TemplateCache
from tasker.errors import NotFound, TemplateNotApproved
from tasker.masking import (
    CLOSED,
    OPEN,
    UNKNOWN,
    DataOwner,
    MaskingRule,
    find_data_owners,
    mask_response,
    sensitive_texts_at,
)
from tasker.model import TaskId, TemplateName
from tasker.sensitive_texts import SensitiveTexts
from tasker.store.protocol import Store
from tasker.template.sensitive import compile_sensitive_paths
from tasker.ttl_cache import TTLCache

_FRESH = 60.0  #: seconds for which the sensitive paths of a template version are cached
_PARTS = frozenset(
    {"failures", "schedules", "hooks", "webhooks"}
)  #: parts of a client, with methods
_MOST_VALUES = 10_000  #: sensitive values searched for; with more, nothing is shown
_CACHED = 32_000_000  #: approximate maximum bytes of all cached entries
_ENTRY_BYTES = 1_000  #: estimated size of a cached entry without values
_VALUE_BYTES = 100  #: estimated overhead of a value, in addition to its characters


@dataclass(frozen=True)
class _TaskSecrets:
    """The masking rule of a task and its sensitive values, which also apply to its child tasks."""

    loaded: LoadedTemplate
    parent: TaskId | None
    rule: MaskingRule
    values: frozenset[str] = frozenset()
    """The sensitive values, each in every form in which text may contain it. They come from the
    task's context and, once they have been read, its results. The set has at most `_MOST_VALUES`
    + 1 entries."""


class SensitiveDataFinder:
    """Finds the sensitive paths and values of tasks.

    Args:
        store: The store.
        templates: The templates in it.
    """

    def __init__(self, store: Store, templates: TemplateCache) -> None:
        self._store = store
        self._templates = templates
        self._rules: TTLCache[TemplateName, MaskingRule] = TTLCache(
            self._read_template_rule, seconds=_FRESH
        )
        self._cache: BoundedCache[str, _TaskSecrets] = BoundedCache(_CACHED)

    async def mask(self, content: Any, default: DataOwner) -> Any:
        """Return values of the model with sensitive data masked.

        Args:
            content: The values. Those without sensitive data are returned unchanged.
            default: The owner of content without a namespace.
        """
        rules = await self.find_masking_rules(set(find_data_owners(content, default)))
        if all(rule.masks_nothing for rule in rules.values()):
            return content
        return mask_response(content, rules, default)

    async def find_masking_rules(
        self, owners: Collection[DataOwner]
    ) -> dict[DataOwner, MaskingRule]:
        """Return the sensitive data of each owner."""
        declared = {owner: await self._read_declared_rule(owner) for owner in owners}
        wanted = {_choose_task_to_search_first(owner, rule) for owner, rule in declared.items()} - {
            None
        }
        by_task = await self._load_secrets_with_parents(filter(None, wanted)) if wanted else {}
        return {
            owner: self._add_secrets_to_rule(owner, rule, by_task)
            for owner, rule in declared.items()
        }

    async def _read_declared_rule(self, owner: DataOwner) -> MaskingRule | None:
        """Return the owner's template's declarations; None if the template is unknown."""
        if owner.namespace is None or owner.name is None or owner.version is None:
            return None
        try:
            return await self._rules.get(TemplateName(owner.namespace, owner.name, owner.version))
        except (NotFound, TemplateNotApproved):
            return None

    async def _read_template_rule(self, template: TemplateName) -> MaskingRule:
        namespace, name, version = template
        return _masking_rule_of_template(
            await self._templates.load_by_name(name, namespace, version or None)
        )

    async def _load_secrets_with_parents(self, tasks: Iterable[str]) -> dict[str, _TaskSecrets]:
        """Return tasks and all their parents, with the values in their results."""
        by_task: dict[str, _TaskSecrets] = {}
        wanted = set(tasks)
        while wanted:
            for task in [*wanted]:
                if (known := self._cache.get(task)) is not None:
                    by_task[task] = known
            missing = [TaskId(task) for task in wanted if task not in by_task]
            for stored in await self._store.load_task_inputs(missing) if missing else ():
                loaded = await self._templates.load_by_id(stored.template_id)
                rule, values = _masking_rule_of_template(loaded), frozenset[str]()
                if rule.inputs:
                    context = codec.loads(stored.context)
                    values = _collect_distinct_until_over_limit(
                        text for keys in rule.inputs for text in sensitive_texts_at(context, keys)
                    )
                by_task[stored.task_id] = own = _TaskSecrets(loaded, stored.parent_id, rule, values)
                self._cache.put(stored.task_id, own, _estimate_cached_bytes(values))
            parents = {by_task[task].parent for task in wanted if task in by_task}
            wanted = {parent for parent in parents if parent and parent not in by_task}
        return await self._add_secrets_in_results(by_task)

    async def _add_secrets_in_results(
        self, by_task: dict[str, _TaskSecrets]
    ) -> dict[str, _TaskSecrets]:
        """Add the sensitive values in the results of tasks that declare some."""
        numbers = {
            TaskId(task): [
                no for keys in one.rule.results if (no := one.loaded.graph.numbers.get(keys[0]))
            ]
            for task, one in by_task.items()
            if one.rule.results
        }
        if not numbers:
            return by_task
        by_task = dict(by_task)
        for step in await self._store.load_step_results(numbers):
            if step.result is None:
                continue
            own, result = by_task[step.task_id], codec.loads(step.result)
            name = own.loaded.graph.names[step.no - 1]
            secrets = (
                text
                for named, *rest in own.rule.results
                if named == name
                for text in sensitive_texts_at(result, tuple(rest))
            )
            by_task[step.task_id] = replace(
                own, values=_collect_distinct_until_over_limit(chain(own.values, secrets))
            )
        return by_task

    def _add_secrets_to_rule(
        self, owner: DataOwner, declared: MaskingRule | None, by_task: dict[str, _TaskSecrets]
    ) -> MaskingRule:
        """Return a rule with the values of the task and of its parents."""
        values: set[str] = set()
        task = _choose_task_to_search_first(owner, declared)
        if task is not None and task == owner.task_id:
            if task not in by_task:
                return OPEN if declared is not None and declared.masks_nothing else CLOSED
            declared = declared or by_task[task].rule
        while task is not None and task in by_task:
            values |= by_task[task].values
            task = by_task[task].parent
        if len(values) > _MOST_VALUES:
            return CLOSED
        rule = declared or OPEN
        return replace(rule, secrets=SensitiveTexts(values)) if values else rule


def _estimate_cached_bytes(values: frozenset[str]) -> int:
    """Return the approximate size in bytes of a cached entry with these values."""
    return _ENTRY_BYTES + sum(len(value) + _VALUE_BYTES for value in values)


def _collect_distinct_until_over_limit(values: Iterable[str]) -> frozenset[str]:
    """Return the distinct values; stop when there is one more than the limit."""
    bounded: set[str] = set()
    for value in values:
        bounded.add(value)
        if len(bounded) > _MOST_VALUES:
            break
    return frozenset(bounded)


def _choose_task_to_search_first(owner: DataOwner, declared: MaskingRule | None) -> str | None:
    """Return the task whose secrets are searched for first, before those of its parents.

    It is the owner, or the owner's parent if the owner declares none; None if neither is known.
    """
    if owner.task_id is not None and (
        declared is None or not declared.masks_nothing or owner.parent_id == UNKNOWN
    ):
        return owner.task_id
    return None if owner.parent_id == UNKNOWN else owner.parent_id


def _masking_rule_of_template(loaded: LoadedTemplate) -> MaskingRule:
    template = loaded.stored.template
    if not template.sensitive:
        return OPEN
    inputs, results = compile_sensitive_paths(template)
    return MaskingRule(inputs=inputs, results=results)


class MaskingClient:
    """A client that masks sensitive data in everything that its methods return.

    Args:
        client: A client, or a part of one such as its methods for schedules.
        sensitive: Finds sensitive data.
    """

    def __init__(self, client: object, sensitive: SensitiveDataFinder) -> None:
        self._client = client
        self._sensitive = sensitive

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if name in _PARTS:
            return MaskingClient(value, self._sensitive)
        if name == "reveal" or not callable(value):
            return value

        def call_and_mask(*args: Any, **options: Any) -> Any:
            result = value(*args, **options)
            owner = DataOwner(task_id=args[0]) if name == "why" else DataOwner()
            return self._await_and_mask(result, owner) if isawaitable(result) else result

        return call_and_mask

    async def _await_and_mask(self, result: Awaitable[Any], owner: DataOwner) -> Any:
        return await self._sensitive.mask(await result, owner)

"""Limits on the steps that share a key: their declarations and their keys for a task."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasker import limits
from tasker.arrival import enclosing_map_max_concurrency, handler_queue_of_step
from tasker.codec import UNSTORABLE
from tasker.errors import InvalidExpression, InvalidInput, TooLarge
from tasker.graph import Graph
from tasker.model import (
    RATE_EXAMPLES,
    AtCapacityAction,
    Json,
    Limit,
    LimitKey,
    LimitValues,
    OpenTaskBound,
    Rate,
    TaskConcurrency,
    TaskId,
    Template,
    flatten_steps,
)
from tasker.template.expressions import compile_text
from tasker.template.parts import read_text_template
from tasker.template.reading import AllowedKeys, LocatedValue, read_choice, read_integer
from tasker.template.source import ScalarNode

SHARED = "shared:"  #: beginning of keys that all namespaces share

_LIMIT = AllowedKeys(what="a limit", allowed=("key", "concurrency", "rate", "burst"))
_CONCURRENCY = AllowedKeys(what="a concurrency", allowed=("key", "tasks", "when_full"))
_MOST = 2  #: limits of one step


def read_limits(value: LocatedValue) -> tuple[Limit, ...]:
    """Read the limits of a step, or those of all steps of a template."""
    items = value.list_items("a list of limits")
    if len(items) > _MOST:
        value.report_problem(f"a step may have at most {_MOST} limits, found {len(items)}")
        return ()
    read = [limit for item in items if (limit := _read_limit(item)) is not None]
    if len({limit.key for limit in read}) < len(read):
        value.report_problem(f"both limits have the key {read[0].key!r}; remove one of them")
    return tuple(read)


def read_concurrency(value: LocatedValue) -> TaskConcurrency | None:
    """Read the bound on the open tasks of a template."""
    fields = value.read_fields(_CONCURRENCY)
    named = fields.get_required("key", ": tasks with the same key are counted together")
    key = None if named is None else read_text_template(named, ("input",))
    most = fields.get_required("tasks", ": the maximum number of open tasks")
    tasks = None if most is None else read_integer(most, 1, limits.LIMIT_CONCURRENCY)
    when_full = fields.read("when_full", read_choice, tuple(map(str, AtCapacityAction)))
    if not key or tasks is None:
        return None
    return TaskConcurrency(
        key, tasks=tasks, when_full=AtCapacityAction(when_full or AtCapacityAction.WAIT)
    )


def compute_open_task_bound(template: Template, context: Json) -> OpenTaskBound | None:
    """Return the bound that applies to a new task, with the key for its context; None without one.

    Raises InvalidInput, TooLarge.
    """
    bound = template.concurrency
    if bound is None:
        return None
    key = _render_key("concurrency", bound.key, template.namespace, context)
    return OpenTaskBound(key, bound.tasks, bound.when_full)


def _read_limit(value: LocatedValue) -> Limit | None:
    fields = value.read_fields(_LIMIT)
    named = fields.get_required("key")
    key = None if named is None else read_text_template(named, ("input",))
    limit = Limit(
        key or "",
        concurrency=fields.read("concurrency", read_integer, 1, limits.LIMIT_CONCURRENCY),
        rate=fields.read("rate", _read_rate),
        burst=fields.read("burst", read_integer, 1, limits.LIMIT_CONCURRENCY),
    )
    if limit.burst is not None and "rate" not in fields:
        value.report_problem("'burst' needs a 'rate'")
    if named is not None and key is not None and "*" in key:
        named.report_problem(
            "a key must not contain '*', which stands for any text in key patterns"
        )
    return limit if key else None


def _read_rate(value: LocatedValue) -> Rate | None:
    written = value.node.value if isinstance(value.node, ScalarNode) else None
    if not isinstance(written, str):
        value.report_wrong_type(RATE_EXAMPLES)
        return None
    try:
        return Rate.parse(written)
    except ValueError as error:
        value.report_problem(str(error))
        return None


def render_limit_keys(
    declared: Iterable[Limit], namespace: str, context: Json
) -> tuple[tuple[LimitKey, LimitValues], ...]:
    """Return the limits of a step with the keys for a task, starting with the one that more steps
    share.

    Raises:
        InvalidInput: An input that is part of a key is null, empty, an object or a list.
        TooLarge: A key is too long.
    """
    values: dict[LimitKey, LimitValues] = {}
    for limit in sorted(declared, key=lambda limit: len(compile_text(limit.key).paths)):
        values.setdefault(_render_limit_key(limit, namespace, context), limit)
    return tuple(values.items())


def _render_limit_key(limit: Limit, namespace: str, context: Json) -> LimitKey:
    return _render_key("limit", limit.key, namespace, context)


def _render_key(what: str, declared: str, namespace: str, context: Json) -> LimitKey:
    try:
        key = compile_text(declared).render_key({"input": context})
    except InvalidExpression as error:
        path = (error.path or "$").replace("$.input", "$", 1)
        raise InvalidInput(f"the {what} {declared!r}: {error}", path=path) from None
    if key.startswith(SHARED) and not declared.startswith(SHARED):
        raise InvalidInput(
            f"the {what} {declared!r}: the input must not produce a key that begins with {SHARED!r}"
        )
    return make_limit_key(key, namespace)


def list_cross_namespace_limit_keys(template: Template) -> list[str]:
    """Return the keys of all namespaces for which a template declares a bound."""
    of_steps = (each for step in flatten_steps(template.steps) for each in step.limits or ())
    declared = [*template.limits, *of_steps]
    keys = [each.key for each in declared if each.concurrency is not None or each.rate is not None]
    if template.concurrency is not None:
        keys.append(template.concurrency.key)
    return [key for key in keys if key.startswith(SHARED)]


def make_limit_key(key: str, namespace: str) -> LimitKey:
    """Return a key or a pattern of keys in a namespace, or in none if it begins with `shared:`.

    Raises:
        InvalidInput: The key is empty or contains a NUL character or an unpaired surrogate.
        TooLarge: The key is too long.
    """
    if not key or UNSTORABLE.search(key):
        raise InvalidInput(
            "a limit's key must be a non-empty string without NUL characters or unpaired"
            f" surrogates, not {key!r:.100}",
            path="$.key",
        )
    if (size := len(key.encode())) > limits.LIMIT_KEY_BYTES:
        raise TooLarge("the key of a limit", size, limits.LIMIT_KEY_BYTES)
    return LimitKey("" if key.startswith(SHARED) else namespace, key)


def make_limit_values(
    concurrency: int | None, rate: Rate | str | None, burst: int | None
) -> LimitValues:
    """Return the bounds that an operator sets. Raises InvalidInput."""
    if concurrency is None and rate is None and burst is None:
        raise InvalidInput("a limit needs at least one of concurrency, rate and burst", path="$")
    for name, value, least in (("concurrency", concurrency, 0), ("burst", burst, 1)):
        if value is None:
            continue
        if type(value) is not int or not least <= value <= limits.LIMIT_CONCURRENCY:
            message = f"{name} must be an integer from {least} to {limits.LIMIT_CONCURRENCY:,}"
            raise InvalidInput(f"{message}, not {value!r:.100}", path=f"$.{name}")
    limit = Limit("set", concurrency=concurrency, rate=rate, burst=burst)
    return LimitValues(concurrency=concurrency, rate=limit.rate, burst=burst)


class DeclaredLimits(NamedTuple):
    """The limits of one step, or of the steps created from one node of a template."""

    limits: tuple[Limit, ...]
    spawner: int = 0  #: the map whose body the node is part of, if that has a limit of its own
    max_concurrency: int = 0  #: of that map


def collect_declared_limits(template: Template, graph: Graph) -> dict[int, DeclaredLimits]:
    """Return the limits of the nodes of a template, by number."""
    declared = {}
    for no, spec in enumerate(graph.specs, start=1):
        if not handler_queue_of_step(template, graph, no).gated:
            continue
        limits, most = template.limits_of_step(spec), enclosing_map_max_concurrency(graph, no)
        declared[no] = DeclaredLimits(
            limits, graph.layout.spawner_around(no) if most else 0, most or 0
        )
    return declared


def render_limits_of_steps(
    declared: Mapping[int, DeclaredLimits], namespace: str, context: Json, task_id: TaskId
) -> dict[int, tuple[tuple[LimitKey, LimitValues], ...]]:
    """Return the limits of the steps of a task by number, given their declared limits."""
    limits = {}
    for no, each in declared.items():
        keyed = render_limit_keys(each.limits, namespace, context)
        if each.spawner:
            own = LimitValues(concurrency=each.max_concurrency)
            keyed += ((LimitKey.for_map_step(task_id, each.spawner), own),)
        limits[no] = keyed
    return limits

"""Reads how a step creates instances: `map`, `batch`, `repeat`, `collect`, `on_failure`."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from tasker import limits
from tasker.errors import InvalidExpression
from tasker.model import (
    Batch,
    CollectMode,
    InstanceFailureHandling,
    InstanceFailurePolicy,
    Map,
    Repeat,
    Spawning,
    StepSpec,
)
from tasker.suggest import suggest_allowed
from tasker.template import parts
from tasker.template.expressions import compile_expression
from tasker.template.parts import ParsedStep
from tasker.template.reading import (
    DAYS_30,
    AllowedKeys,
    LocatedValue,
    MappingFields,
    read_choice,
    read_duration,
    read_integer,
    read_name,
    read_text,
)
from tasker.template.source import MappingNode, ScalarNode

KINDS = ("map", "batch", "repeat")
OF_INSTANCES = ("steps", "collect", "on_failure")  #: keys that need one of `KINDS`
OF_HANDLERS = (
    *("handler", "retry", "timeout_seconds", "queue_timeout", "heartbeat_timeout", "requires"),
    *("result_schema", "limits", "events", "http", "wait", "approval", "external", "task"),
    "compensate",
)
"""Keys that a step with a body cannot have: they belong to the steps of the body."""

_MAP = AllowedKeys(what="a map", allowed=("over", "as", "max_concurrency", "task"))
_BATCH = AllowedKeys(what="a batch", allowed=("total", "size", "max_instances"))
_REPEAT = AllowedKeys(what="a repeat", allowed=("until", "every", "max"))
_COLLECT = AllowedKeys(what="a collect", allowed=("reduce",))
_ON_FAILURE = AllowedKeys(what="on_failure", allowed=("policy", "max_failures"))

_ITEM = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_ITEM_RULE = "use letters, digits and _, not starting with a digit (at most 63 characters)"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")
_MOST = 1_000_000_000


def read_spawning(fields: MappingFields, names: Collection[str]) -> Spawning | None:
    """Read the `map`, `batch` or `repeat` of a step, or return None.

    Args:
        fields: The step.
        names: The names that its expressions may use, besides those of its body.
    """
    given = [kind for kind in KINDS if kind in fields]
    for kind in given[1:]:
        if (value := fields.get(kind)) is not None:
            value.report_problem(
                f"a step can have only one of 'map', 'batch' and 'repeat'; remove {kind!r}"
            )
    if not given:
        for key in OF_INSTANCES:
            if (value := fields.get(key)) is not None:
                value.report_problem(f"{key!r} needs 'map', 'batch' or 'repeat' in the same step")
        return None
    if given[0] == "map":
        return fields.read("map", _read_map, names)
    if given[0] == "batch":
        return fields.read("batch", _read_batch, names)
    return fields.read("repeat", _read_repeat, names)


def _read_map(value: LocatedValue, names: Collection[str]) -> Map | None:
    fields = value.read_fields(_MAP)
    over = fields.get_required("over", ": an expression for the list, such as results.list.files")
    text = None if over is None else parts.read_expression(over, names)
    item = fields.read("as", _read_item_name, names)
    most = fields.read("max_concurrency", read_integer, 1, limits.LIMIT_CONCURRENCY)
    return None if text is None else Map(over=text, item=item or "item", max_concurrency=most)


def task_field_of_map(fields: MappingFields) -> LocatedValue | None:
    """Return the task that each instance of a step's map runs, if it is given in the map."""
    value = fields.get("map")
    if value is None or not isinstance(value.node, MappingNode):
        return None
    task = value.mapping_values().get("task")
    return None if task is None or task.is_missing else task


def _read_item_name(value: LocatedValue, names: Collection[str]) -> str | None:
    name = read_name(value, _ITEM, _ITEM_RULE)
    if name in names or name in ("context", "ctx"):
        value.report_problem(f"{name!r} already has a meaning in expressions; choose another name")
        return None
    return name


def _read_batch(value: LocatedValue, names: Collection[str]) -> Batch | None:
    fields = value.read_fields(_BATCH)
    total = fields.get_required("total", ": an expression for a number, such as results.count.rows")
    size = fields.get_required("size", ": the number of items for each instance")
    text = None if total is None else parts.read_expression(total, names)
    number = None if size is None else read_integer(size, 1, _MOST)
    most = fields.read("max_instances", read_integer, 1, limits.INSTANCES)
    return (
        None
        if text is None or number is None
        else Batch(total=text, size=number, max_instances=most)
    )


def _read_repeat(value: LocatedValue, names: Collection[str]) -> Repeat | None:
    fields = value.read_fields(_REPEAT)
    until = fields.get_required("until", ": a condition, such as results.status.done")
    most = fields.get_required("max", ": the maximum number of iterations")
    text = None if until is None else parts.read_expression(until, (*names, "iteration"))
    count = None if most is None else read_integer(most, 1, limits.ITERATIONS)
    every = fields.read("every", read_duration, DAYS_30, zero=True)
    return (
        None
        if text is None or count is None
        else Repeat(until=text, every=every or timedelta(0), max=count)
    )


def read_collect(fields: MappingFields, spawning: Spawning) -> tuple[CollectMode, str | None]:
    """Read the kind of result of a step with instances, and the handler that computes it."""
    value = fields.get("collect")
    if value is None:
        return CollectMode.LIST, None
    if isinstance(spawning, Repeat):
        value.report_problem(
            "the result of a 'repeat' is the result of its last iteration; remove 'collect'"
        )
        return CollectMode.LIST, None
    if isinstance(value.node, MappingNode):
        handler = value.read_fields(_COLLECT).get_required("reduce", ": the name of a handler")
        return CollectMode.LIST, None if handler is None else parts.read_handler_name(handler)
    chosen = read_choice(value, tuple(CollectMode))
    return CollectMode(chosen) if chosen else CollectMode.LIST, None


def read_on_failure(fields: MappingFields, spawning: Spawning) -> InstanceFailureHandling:
    """Read `on_failure`; a policy alone may be written as a string."""
    value = fields.get("on_failure")
    if value is None:
        return InstanceFailureHandling()
    if isinstance(spawning, Repeat):
        value.report_problem("a 'repeat' fails as soon as an iteration fails; remove 'on_failure'")
        return InstanceFailureHandling()
    if isinstance(value.node, ScalarNode):
        chosen = read_choice(value, tuple(InstanceFailurePolicy))
        return (
            InstanceFailureHandling(policy=InstanceFailurePolicy(chosen))
            if chosen
            else InstanceFailureHandling()
        )
    written = value.read_fields(_ON_FAILURE)
    chosen = written.read("policy", read_choice, tuple(InstanceFailurePolicy))
    policy = InstanceFailurePolicy(chosen) if chosen else InstanceFailurePolicy.FAIL
    most = written.get("max_failures")
    if most is None:
        return InstanceFailureHandling(policy=policy)
    if policy is not InstanceFailurePolicy.CONTINUE:
        most.report_problem("'max_failures' needs 'policy: continue'")
    return _read_max_failures(most, policy)


def _read_max_failures(
    value: LocatedValue, policy: InstanceFailurePolicy
) -> InstanceFailureHandling:
    if isinstance(value.node, ScalarNode) and isinstance(value.node.value, str):
        written = read_text(value) or ""
        match = _PERCENT.fullmatch(written)
        if match and float(match[1]) <= 100:
            return InstanceFailureHandling(policy=policy, max_failed_percent=float(match[1]))
        value.report_problem(
            f"{written!r} is not a valid share of instances; write a percentage such as '5%'"
        )
        return InstanceFailureHandling(policy=policy)
    return InstanceFailureHandling(
        policy=policy, max_failures=read_integer(value, 0, limits.INSTANCES)
    )


def check_keys_of_step_with_instances(fields: MappingFields) -> None:
    """Report keys that a step with instances cannot have, and those that belong to its body."""
    if (value := fields.get("type")) is not None:
        value.report_problem("a step with 'map', 'batch' or 'repeat' cannot have a type; remove it")
    if "steps" not in fields:
        return
    if (task := task_field_of_map(fields)) is not None:
        task.report_problem(
            "a step has either a 'task' in its 'map' or 'steps'; move the task into 'steps'"
        )
    for key in OF_HANDLERS:
        if (value := fields.get(key)) is not None:
            value.report_problem(f"{key!r} belongs to a step of the body: move it into 'steps'")


def reject_max_concurrency_of_waiting_instances(fields: MappingFields, spec: StepSpec) -> None:
    """Report a `max_concurrency` of instances that only wait: it limits steps in progress."""
    kind = next((key for key in ("task", "wait", "approval") if getattr(spec, key)), None)
    value = fields.get("map")
    if kind and isinstance(spec.spawning, Map) and spec.spawning.max_concurrency and value:
        value.report_problem(
            f"'max_concurrency' does not apply to a {kind}: it limits steps in progress, not"
            " waiting steps; remove it"
        )


def check_results_come_from_ancestors(steps: list[ParsedStep]) -> None:
    """Report `results` in expressions that do not belong to ancestors."""
    _check_results_in_scope(steps, {})


def _check_results_in_scope(steps: list[ParsedStep], outer: Mapping[str, None]) -> None:
    known = {read.spec.name: read for read in steps}
    for read in steps:
        if not read.expressions and not read.body:
            continue
        before = {**outer, **dict.fromkeys(_find_ancestors(read, known))}
        for text, value in read.expressions:
            ends_loop = value.path.endswith("repeat.until")
            body = (step.spec.name for step in read.body or (read,)) if ends_loop else ()
            _reject_results_of_non_ancestors(text, value, {**before, **dict.fromkeys(body)})
        if read.body:
            _check_results_in_scope(list(read.body), before)


def _find_ancestors(read: ParsedStep, known: Mapping[str, ParsedStep]) -> Iterator[str]:
    seen, stack = {read.spec.name}, list(read.spec.dependencies)
    while stack:
        name = stack.pop()
        if name not in seen and name in known:
            seen.add(name)
            yield name
            stack += known[name].spec.dependencies


def _reject_results_of_non_ancestors(
    text: str, value: LocatedValue, before: Mapping[str, None]
) -> None:
    try:
        paths = compile_expression(text).paths
    except InvalidExpression:
        return  # reported where it was read
    for path in paths:
        if path.keys[0] == "results" and len(path.keys) > 1 and path.keys[1] not in before:
            name = str(path.keys[1])
            value.report_problem(
                f"{path} reads the result of {name!r}, which is not an earlier step"
                f"{suggest_allowed(name, before)}"
            )

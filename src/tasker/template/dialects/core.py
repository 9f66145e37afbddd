"""The core dialect: `steps`, `handler.callable`, `dependencies`, `retry`."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from tasker import limits
from tasker.layout import instance_input_names
from tasker.model import (
    Backoff,
    CollectMode,
    CompensateSpec,
    InstanceFailureHandling,
    JsonObject,
    Map,
    Retry,
    StepSpec,
    StepType,
    TriggerRule,
)
from tasker.template import instances, parts
from tasker.template.approval_reading import read_approval, read_external
from tasker.template.declared_events import read_step_events
from tasker.template.http_reading import read_http
from tasker.template.parts import Dialect, EnvironmentChange, ParsedStep, RetrySettings
from tasker.template.reading import (
    DAYS_30,
    YEARS_10,
    AllowedKeys,
    LocatedValue,
    MappingFields,
    node_to_json,
    read_boolean,
    read_choice,
    read_duration,
    read_integer,
    read_json_object,
    read_number,
    read_optional,
    read_text,
)
from tasker.template.source import MappingNode, ScalarNode
from tasker.template.step_limits import read_limits
from tasker.template.wait_reading import read_child_task, read_wait

_RAILS = "it belongs to the rails dialect (with 'step_templates'); in this dialect, write "
_RAILS_ONLY = "it belongs to the rails dialect (with 'step_templates'); remove it: "
_NO_EVENTS = "write 'events' in the step that publishes them"
_KEPT = (
    "task_handler",
    "identity_strategy",
    "domain_events",
)  #: of Tasker Core, kept in the metadata
_STALENESS = (
    "max_waiting_for_dependencies_minutes",
    "max_waiting_for_retry_minutes",
    "max_steps_in_process_minutes",
    "staleness_action",
    "auto_fail_on_timeout",
    "auto_dlq_on_timeout",
)  #: of Tasker Core, kept in the metadata under "lifecycle"

_TOP = AllowedKeys(
    what="a template",
    allowed=(
        "name",
        "namespace_name",
        "version",
        "description",
        "title",
        "attributes",
        "sensitive",
        "retention",
        "priority",
        "durability",
        "limits",
        "concurrency",
        "compensation",
        "events",
        "schedules",
        "deadline_seconds",
        "input_schema",
        "steps",
        "environments",
        "metadata",
        "lifecycle",
        "system_dependencies",
        "domain_events",
        "task_handler",
        "identity_strategy",
    ),
    aliases={"namespace": "namespace_name", "schema": "input_schema"},
    rejected={
        "custom_events": _NO_EVENTS,
        "task_handler_class": f"{_RAILS_ONLY}a template needs no class",
        "module_namespace": f"{_RAILS}the whole name in 'handler.callable'",
        "default_dependent_system": f"{_RAILS}'system_dependency' in each step",
        "named_steps": f"{_RAILS_ONLY}the names are taken from 'steps'",
        "handler_config": f"{_RAILS}'metadata', or 'handler.initialization' in a step",
        "concurrent": f"{_RAILS_ONLY}the dependencies define the order of steps",
    },
)

_STEP = AllowedKeys(
    what="a step",
    allowed=(
        "name",
        "description",
        "handler",
        "dependencies",
        "trigger",
        "when",
        "allow_failure",
        "retry",
        "timeout_seconds",
        "queue_timeout",
        "heartbeat_timeout",
        "requires",
        "result_schema",
        "system_dependency",
        "limits",
        "compensate",
        "type",
        "events",
        "http",
        "wait",
        "approval",
        "external",
        "task",
        "batch_config",
        *instances.KINDS,
        *instances.OF_INSTANCES,
    ),
    aliases={
        "depends_on": "dependencies",
        "step_type": "type",
        "publishes_events": "events",
    },
    rejected={
        "custom_events": _NO_EVENTS,
        "timeout": "write 'timeout_seconds', the time limit of one attempt",
        "composition": "composed handlers are not supported",
        "handler_class": f"{_RAILS}'handler: {{callable: ...}}'",
        "handler_config": f"{_RAILS}'handler: {{initialization: ...}}'",
        "depends_on_step": f"{_RAILS}'dependencies: [...]'",
        "depends_on_steps": f"{_RAILS}'dependencies: [...]'",
        "default_retryable": f"{_RAILS}'retry: {{retryable: ...}}'",
        "default_retry_limit": f"{_RAILS}'retry: {{max_attempts: ...}}'",
        "dependent_system": f"{_RAILS}'system_dependency'",
        "skippable": f"{_RAILS_ONLY}operators can skip any step, and 'when' sets a "
        "condition under which a step runs",
    },
)

_HANDLER = AllowedKeys(
    what="a handler",
    allowed=("callable", "method", "version", "initialization", "resolver"),
)

_BATCH_CONFIG = AllowedKeys(
    what="a batch_config",
    allowed=(
        "batch_size",
        "parallelism",
        "cursor_field",
        "worker_template",
        "failure_strategy",
        "checkpoint_interval",
    ),
)
_CONTINUE = "continue_on_failure"
_FAILURE_STRATEGIES = (_CONTINUE, "fail_fast", "isolate")  #: for handlers only

_COMPENSATE = AllowedKeys(
    what="a compensate",
    allowed=("callable", "method", "version", "retry", "timeout_seconds"),
    rejected={"limits": "limits do not apply to compensating steps"},
)

_RETRY = AllowedKeys(
    what="a retry",
    allowed=(
        "retryable",
        "max_attempts",
        "backoff",
        "initial_delay",
        "max_delay",
        "jitter",
        "backoff_base_ms",
        "max_backoff_ms",
        "retry_on",
        "give_up_on",
    ),
    rejected={"limit": "write 'max_attempts', which includes the first attempt"},
)

_LIFECYCLE = AllowedKeys(
    what="a lifecycle",
    allowed=("max_duration_minutes", *_STALENESS),
)

_ENVIRONMENT = AllowedKeys(
    what="an environment",
    allowed=("steps",),
    rejected={"step_templates": f"{_RAILS}'steps'"},
)

_OVERRIDE = AllowedKeys(
    what="a step of an environment",
    allowed=("name", "handler", "timeout_seconds", "retry"),
    rejected={"handler_config": f"{_RAILS}'handler: {{initialization: ...}}'"},
)

_OVERRIDE_HANDLER = AllowedKeys(
    what="a handler of an environment",
    allowed=("initialization",),
    rejected=dict.fromkeys(
        ("callable", "method", "version"), "an environment cannot change which code runs"
    ),
)

_BATCHABLE, _BATCH_WORKER = "batchable", "batch_worker"
"""Step types of Tasker Core: the first creates batches, and the second runs once for each batch."""

_CONVERGENCE = "deferred_convergence"  #: Tasker Core's name of a trigger rule
_BACKOFFS = tuple(kind.value for kind in Backoff)
_MS = timedelta(milliseconds=1)


def _read_metadata(top: MappingFields) -> JsonObject:
    """Read the informational part of a template."""
    metadata = dict(top.read("metadata", read_json_object) or {})
    systems = top.get("system_dependencies")
    if systems is not None:
        if "system_dependencies" in metadata:
            systems.report_problem(
                "'system_dependencies' is given both here and in 'metadata'; remove one of the two"
            )
        metadata["system_dependencies"] = read_json_object(systems)
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    limits = _read_staleness_limits(top)
    if limits:
        metadata.setdefault("lifecycle", limits)
    return metadata


def _read_staleness_limits(top: MappingFields) -> JsonObject:
    """Read the limits of Tasker Core's staleness detection, which Tasker does not enforce."""
    lifecycle = top.get("lifecycle")
    table = lifecycle.mapping_values() if lifecycle else {}
    return {key: node_to_json(value.node) for key, value in table.items() if key in _STALENESS}


def _read_deadline(top: MappingFields) -> timedelta | None:
    """Read the maximum duration of a task, also from the place where Tasker Core stored it."""
    lifecycle = top.get("lifecycle")
    minutes = lifecycle.read_fields(_LIFECYCLE).get("max_duration_minutes") if lifecycle else None
    first = top.read("deadline_seconds", read_duration, YEARS_10)
    second = read_optional(minutes, read_duration, YEARS_10, unit=timedelta(minutes=1))
    if minutes and first is not None and second is not None and first != second:
        minutes.report_problem("'deadline_seconds' and 'max_duration_minutes' differ; keep one")
    return second if first is None else first


_TOO_DEEP = f"steps may be nested at most {limits.NESTING} levels deep"


def _read_step(
    value: LocatedValue, names: tuple[str, ...] = (), depth: int = 0
) -> ParsedStep | None:
    """Read a step.

    Args:
        value: The step.
        names: The names of the inputs of the instances around it.
        depth: The number of bodies that the step is part of.
    """
    fields = value.read_fields(_STEP)
    named = fields.get_required("name")
    name = read_optional(named, parts.read_step_name)
    handler = fields.read("handler", _read_handler) or _HandlerFields()
    dependencies = parts.read_dependencies(
        fields.list_items("dependencies", "a list of step names")
    )
    retry = fields.read("retry", _read_retry) or RetrySettings()
    kind = fields.read("type", _read_step_type)
    trigger = (
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS if kind == _CONVERGENCE else TriggerRule.ALL_SUCCESS
    )
    spawning = instances.read_spawning(fields, ("input", "results", *names))
    batches = _read_batch_worker_map(fields, kind)
    if spawning is None and batches is not None:
        spawning = batches.map
    if spawning is not None and depth >= limits.NESTING and fields.get("steps") is None:
        value.report_problem(_TOO_DEEP)
    within = ("input", "results", *names, *instance_input_names(spawning))
    body = _read_body(fields, within[2:], depth + 1)
    collect, reduce = CollectMode.LIST, None
    on_failure = InstanceFailureHandling()
    if spawning is not None and batches is None:
        instances.check_keys_of_step_with_instances(fields)
        collect, reduce = instances.read_collect(fields, spawning)
        on_failure = instances.read_on_failure(fields, spawning)
    spec = StepSpec(
        name=name or "",
        description=fields.read("description", read_text) or "",
        callable=handler.callable,
        method=handler.method,
        handler_version=handler.version or "",
        config={**(handler.config or {}), **(batches.config if batches else {})},
        dependencies=tuple(name for name, _ in dependencies),
        type=StepType.DECISION if kind == StepType.DECISION else StepType.STANDARD,
        trigger=fields.read("trigger", parts.read_trigger_rule) or trigger,
        when=fields.read("when", parts.read_expression, ("input", "results", *names)),
        allow_failure=fields.read("allow_failure", read_boolean) or False,
        retry=retry.apply_to(Retry()),
        timeout=fields.read("timeout_seconds", read_duration, YEARS_10),
        queue_timeout=fields.read("queue_timeout", read_duration, YEARS_10),
        heartbeat_timeout=fields.read("heartbeat_timeout", read_duration, DAYS_30),
        requires=fields.read("requires", parts.read_required_labels) or {},
        result_schema=fields.read("result_schema", parts.read_schema),
        events=read_step_events(fields.list_items("events", "a list of events")),
        dependent_system=fields.read("system_dependency", read_text),
        compensate=fields.read("compensate", read_compensate),
        limits=fields.read("limits", read_limits),
        http=fields.read("http", read_http, within),
        wait=fields.read("wait", read_wait, within),
        external=fields.read("external", read_external),
        approval=fields.read("approval", read_approval, within),
        task=read_optional(_find_child_task_field(fields), read_child_task, within),
        spawning=spawning,
        steps=tuple(step.spec for step in body),
        collect=collect,
        reduce=reduce,
        on_failure=on_failure,
    )
    _reject_several_kinds_of_work(fields)
    instances.reject_max_concurrency_of_waiting_instances(fields, spec)
    if named is None or name is None:
        return None
    return ParsedStep(
        spec=spec,
        name=named,
        dependencies=dependencies,
        when=fields.get("when"),
        expressions=tuple(_spawning_expressions(fields)),
        body=body,
    )


def _find_child_task_field(fields: MappingFields) -> LocatedValue | None:
    """Return the task that a step, or each instance of its map, runs."""
    return instances.task_field_of_map(fields) or fields.get("task")


def _reject_several_kinds_of_work(fields: MappingFields) -> None:
    """Report a step with several of a handler, an HTTP call, a wait, an approval or a task."""
    given = [key for key in ("http", "wait", "approval", "task", "handler") if key in fields]
    for key in given[1:]:
        if (written := fields.get(key)) is not None:
            written.report_problem(f"a step has either {key!r} or {given[0]!r}; remove one")
    of_map = instances.task_field_of_map(fields)
    if of_map is not None and given:
        of_map.report_problem(
            f"a step has either a 'task' in its 'map' or {given[0]!r}; remove one"
        )
    external = fields.get("external")
    if external is not None and of_map is not None:
        external.report_problem(
            "a step with a 'task' in its 'map' cannot be 'external'; remove one"
        )
    elif external is not None and given and given[0] not in ("http", "handler"):
        external.report_problem(f"a step with {given[0]!r} cannot be 'external'; remove one")


def _read_body(fields: MappingFields, names: tuple[str, ...], depth: int) -> tuple[ParsedStep, ...]:
    """Read the steps of a body."""
    value = fields.get("steps")
    if value is None:
        return ()
    if depth > limits.NESTING:
        value.report_problem(_TOO_DEEP)
        return ()
    items = value.list_items("a list of steps")
    if not items:
        value.report_problem("a body needs at least one step")
    steps = (_read_step(item, names, depth) for item in items)
    return tuple(step for step in steps if step is not None)


def _spawning_expressions(fields: MappingFields) -> Iterator[tuple[str, LocatedValue]]:
    """Yield the expression of a step's `map`, `batch` or `repeat`, with its place."""
    for kind, key in (*(("map", "over"), ("batch", "total"), ("repeat", "until")),):
        table = fields.get(kind)
        if table is not None and isinstance(table.node, MappingNode):
            value = table.mapping_values().get(key)
            if value is not None and isinstance(value.node, ScalarNode):
                yield value.node.text, value


def _read_environment_change(value: LocatedValue) -> EnvironmentChange | None:
    fields = value.read_fields(_OVERRIDE)
    named = fields.get_required("name", f": the name of a step, or {parts.ALL}")
    name = read_optional(named, read_text)
    config = fields.read("handler", _read_config_override)
    retry = fields.read("retry", _read_retry)
    timeout = fields.read("timeout_seconds", read_duration, YEARS_10)
    if named is None or name is None:
        return None
    return EnvironmentChange(name=named, step=name, config=config, retry=retry, timeout=timeout)


def _read_config_override(value: LocatedValue) -> JsonObject | None:
    return value.read_fields(_OVERRIDE_HANDLER).read("initialization", read_json_object)


class _HandlerFields(NamedTuple):
    """The `handler` of a step."""

    callable: str | None = None
    method: str | None = None
    version: str | None = None
    config: JsonObject | None = None


def _read_handler(value: LocatedValue) -> _HandlerFields:
    """Read a step's handler; a plain string is the callable."""
    if isinstance(value.node, ScalarNode):
        return _HandlerFields(parts.read_handler_name(value))
    fields = value.read_fields(_HANDLER)
    return _HandlerFields(
        fields.read("callable", parts.read_handler_name),
        fields.read("method", parts.read_handler_method),
        fields.read("version", parts.read_version_range),
        fields.read("initialization", read_json_object),
    )


def read_compensate(value: LocatedValue) -> CompensateSpec | None:
    """Read how a step is undone; a plain string is the callable."""
    if isinstance(value.node, ScalarNode):
        handler = parts.read_handler_name(value)
        return None if handler is None else CompensateSpec(callable=handler)
    fields = value.read_fields(_COMPENSATE)
    named = fields.get_required("callable", ": the name of a handler")
    handler = None if named is None else parts.read_handler_name(named)
    method = fields.read("method", parts.read_handler_method)
    version = fields.read("version", parts.read_version_range) or ""
    retry = fields.read("retry", _read_retry) or RetrySettings()
    timeout = fields.read("timeout_seconds", read_duration, YEARS_10)
    if handler is None:
        return None
    return CompensateSpec(
        callable=handler,
        method=method,
        version=version,
        retry=retry.apply_to(Retry()),
        timeout=timeout,
    )


def _read_step_type(value: LocatedValue) -> str | None:
    """Read the type of a step; types that only Tasker Core has are translated."""
    types = (*map(str, StepType), _CONVERGENCE, _BATCHABLE, _BATCH_WORKER)
    return read_choice(value, types)


BATCHES = "batch_processing_outcome.cursor_configs"
"""Path to the batches in the result of a `batchable` step."""


class _BatchWorkerMap(NamedTuple):
    """A `batch_worker` of Tasker Core: a map over the batches of the preceding step."""

    map: Map
    config: JsonObject  #: what its handler reads


def _read_batch_worker_map(fields: MappingFields, kind: str | None) -> _BatchWorkerMap | None:
    """Read the map of a step of type `batch_worker`; None for steps of other types."""
    given = fields.get("batch_config")
    if kind != _BATCH_WORKER:
        if given is not None:
            given.report_problem("'batch_config' is allowed only in steps of type 'batch_worker'")
        return None
    config = given.read_fields(_BATCH_CONFIG) if given is not None else None
    names = [
        read_text(value) for value in fields.list_items("dependencies", "a list of step names")
    ]
    if not names and (written := fields.get("type")) is not None:
        written.report_problem(
            "a step of type 'batch_worker' must depend on the step that creates its batches"
        )
    if config is None:
        parallelism, cursor, strategy = None, None, None
    else:
        parallelism = config.read("parallelism", read_integer, 1, limits.LIMIT_CONCURRENCY)
        cursor = config.read("cursor_field", read_text)
        strategy = config.read("failure_strategy", read_choice, _FAILURE_STRATEGIES)
    analyzer = json.dumps(names[0] if names else "")
    over = f"results[{analyzer}].{BATCHES}"
    metadata = {"cursor_field": cursor or "id", "failure_strategy": strategy or _CONTINUE}
    return _BatchWorkerMap(
        Map(over=over, item="batch", max_concurrency=parallelism), {"batch_metadata": metadata}
    )


def _read_retry(value: LocatedValue) -> RetrySettings:
    """Read a retry block; absent settings stay None."""
    fields = value.read_fields(_RETRY)
    kind = fields.read("backoff", read_choice, _BACKOFFS)
    change = RetrySettings(
        retryable=fields.read("retryable", read_boolean),
        max_attempts=fields.read("max_attempts", parts.read_max_attempts),
        backoff=Backoff(kind) if kind else None,
        initial_delay=_read_delay_in_either_unit(fields, "initial_delay", "backoff_base_ms"),
        max_delay=_read_delay_in_either_unit(fields, "max_delay", "max_backoff_ms"),
        jitter=fields.read("jitter", read_number, 0, 1),
        retry_on=fields.read("retry_on", parts.read_error_names),
        give_up_on=fields.read("give_up_on", parts.read_error_names),
    )
    return parts.report_initial_delay_above_maximum(value, change)


def _read_delay_in_either_unit(
    fields: MappingFields, in_seconds: str, in_ms: str
) -> timedelta | None:
    """Read a delay that may be written in seconds, in milliseconds, or equally in both."""
    ms = fields.get(in_ms)
    first = fields.read(in_seconds, read_duration, DAYS_30, zero=True)
    second = read_optional(ms, read_duration, DAYS_30, unit=_MS, zero=True)
    if ms and first is not None and second is not None and first != second:
        ms.report_problem(f"{in_seconds!r} and {in_ms!r} differ; keep one")
    return second if first is None else first


DIALECT = Dialect(
    steps="steps",
    schema="input_schema",
    top=_TOP,
    environment=_ENVIRONMENT,
    metadata=_read_metadata,
    deadline=_read_deadline,
    step=_read_step,
    change=_read_environment_change,
    finish=lambda _, steps: steps,
)

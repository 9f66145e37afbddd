"""The core dialect: `steps`, `handler.callable`, `dependencies`, `retry`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from tasker import limits
from tasker.layout import item_names
from tasker.model import Backoff, Collect, JsonObject, OnFailure, Retry, StepSpec, StepType, Trigger
from tasker.template import instances, parts
from tasker.template.approval_reading import read_approval, read_external
from tasker.template.declared_events import read_events
from tasker.template.http_reading import read_http
from tasker.template.parts import Dialect, EnvironmentChange, ReadStep, RetryChange
from tasker.template.reading import (
    DAYS_30,
    YEARS_10,
    Fields,
    Keys,
    Value,
    optional,
    read_choice,
    read_duration,
    read_flag,
    read_json_object,
    read_number,
    read_text,
    to_json,
)
from tasker.template.source import Scalar, Table
from tasker.template.step_limits import read_limits
from tasker.template.wait_reading import read_task, read_wait

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

_TOP = Keys(
    what="a template",
    allowed=(
        "name",
        "namespace_name",
        "version",
        "description",
        "title",
        "attributes",
        "retention",
        "priority",
        "durability",
        "limits",
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
    refused={
        "custom_events": _NO_EVENTS,
        "task_handler_class": f"{_RAILS_ONLY}a template needs no class",
        "module_namespace": f"{_RAILS}the whole name in 'handler.callable'",
        "default_dependent_system": f"{_RAILS}'system_dependency' in each step",
        "named_steps": f"{_RAILS_ONLY}the list of steps names them",
        "handler_config": f"{_RAILS}'metadata', or 'handler.initialization' in a step",
        "concurrent": f"{_RAILS_ONLY}the dependencies define the order of steps",
    },
)

_STEP = Keys(
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
        "type",
        "events",
        "http",
        "wait",
        "approval",
        "external",
        "task",
        *instances.KINDS,
        *instances.OF_INSTANCES,
    ),
    aliases={
        "depends_on": "dependencies",
        "step_type": "type",
        "publishes_events": "events",
    },
    refused={
        "custom_events": _NO_EVENTS,
        "timeout": "write 'timeout_seconds', the time limit of one attempt",
        "batch_config": "write 'batch: {total: ..., size: ...}'",
        "composition": "composed handlers are not supported",
        "handler_class": f"{_RAILS}'handler: {{callable: ...}}'",
        "handler_config": f"{_RAILS}'handler: {{initialization: ...}}'",
        "depends_on_step": f"{_RAILS}'dependencies: [...]'",
        "depends_on_steps": f"{_RAILS}'dependencies: [...]'",
        "default_retryable": f"{_RAILS}'retry: {{retryable: ...}}'",
        "default_retry_limit": f"{_RAILS}'retry: {{max_attempts: ...}}'",
        "dependent_system": f"{_RAILS}'system_dependency'",
        "skippable": f"{_RAILS_ONLY}steps cannot be skipped",
    },
)

_HANDLER = Keys(
    what="a handler",
    allowed=("callable", "method", "version", "initialization"),
    refused={"resolver": "handlers are found by name, not by resolvers"},
)

_RETRY = Keys(
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
    refused={"limit": "write 'max_attempts', which counts the first attempt too"},
)

_LIFECYCLE = Keys(
    what="a lifecycle",
    allowed=("max_duration_minutes", *_STALENESS),
)

_ENVIRONMENT = Keys(
    what="an environment",
    allowed=("steps",),
    refused={"step_templates": f"{_RAILS}'steps'"},
)

_OVERRIDE = Keys(
    what="a step of an environment",
    allowed=("name", "handler", "timeout_seconds", "retry"),
    refused={"handler_config": f"{_RAILS}'handler: {{initialization: ...}}'"},
)

_OVERRIDE_HANDLER = Keys(
    what="a handler of an environment",
    allowed=("initialization",),
    refused=dict.fromkeys(
        ("callable", "method", "version"), "an environment cannot change what runs"
    ),
)

_NOT_BUILT = ("batchable", "batch_worker")
_CONVERGENCE = "deferred_convergence"  #: Tasker Core's name of a trigger rule
_BACKOFFS = tuple(kind.value for kind in Backoff)
_MS = timedelta(milliseconds=1)


def _read_metadata(top: Fields) -> JsonObject:
    """Read the informational part of a template."""
    metadata = dict(top.read("metadata", read_json_object) or {})
    systems = top.get("system_dependencies")
    if systems is not None:
        if "system_dependencies" in metadata:
            systems.refuse("'metadata' has 'system_dependencies' too; keep one")
        metadata["system_dependencies"] = read_json_object(systems)
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    limits = _read_staleness_limits(top)
    if limits:
        metadata.setdefault("lifecycle", limits)
    return metadata


def _read_staleness_limits(top: Fields) -> JsonObject:
    """Read the limits of Tasker Core's staleness detection, which Tasker does not enforce."""
    lifecycle = top.get("lifecycle")
    table = lifecycle.table() if lifecycle else {}
    return {key: to_json(value.node) for key, value in table.items() if key in _STALENESS}


def _read_deadline(top: Fields) -> timedelta | None:
    """Read the longest time a task may take, also from where Tasker Core kept it."""
    lifecycle = top.get("lifecycle")
    minutes = lifecycle.fields(_LIFECYCLE).get("max_duration_minutes") if lifecycle else None
    first = top.read("deadline_seconds", read_duration, YEARS_10)
    second = optional(minutes, read_duration, YEARS_10, unit=timedelta(minutes=1))
    if minutes and first is not None and second is not None and first != second:
        minutes.refuse("'deadline_seconds' and 'max_duration_minutes' differ; keep one")
    return second if first is None else first


def _read_step(value: Value, names: tuple[str, ...] = (), depth: int = 0) -> ReadStep | None:
    """Read a step.

    Args:
        value: The step.
        names: The names of what the instances around it are given.
        depth: The number of bodies that it is part of.
    """
    fields = value.fields(_STEP)
    named = fields.required("name")
    name = optional(named, parts.read_step_name)
    handler = fields.read("handler", _read_handler) or _HandlerFields()
    dependencies = parts.read_dependencies(fields.items("dependencies", "a list of step names"))
    retry = fields.read("retry", _read_retry) or RetryChange()
    kind = fields.read("type", _read_step_type)
    trigger = Trigger.NONE_FAILED_MIN_ONE_SUCCESS if kind == _CONVERGENCE else Trigger.ALL_SUCCESS
    spawning = instances.read_spawning(fields, ("input", "results", *names))
    body = _read_body(fields, (*names, *item_names(spawning)), depth + 1)
    collect, reduce = Collect.LIST, None
    on_failure = OnFailure()
    if spawning is not None:
        instances.check_step_keys(fields)
        collect, reduce = instances.read_collect(fields, spawning)
        on_failure = instances.read_on_failure(fields, spawning)
    spec = StepSpec(
        name=name or "",
        description=fields.read("description", read_text) or "",
        callable=handler.callable,
        method=handler.method,
        handler_version=handler.version or "",
        config=handler.config or {},
        dependencies=tuple(name for name, _ in dependencies),
        type=StepType.DECISION if kind == StepType.DECISION else StepType.STANDARD,
        trigger=fields.read("trigger", parts.read_trigger) or trigger,
        when=fields.read("when", parts.read_expression, ("input", "results", *names)),
        allow_failure=fields.read("allow_failure", read_flag) or False,
        retry=retry.applied_to(Retry()),
        timeout=fields.read("timeout_seconds", read_duration, YEARS_10),
        queue_timeout=fields.read("queue_timeout", read_duration, YEARS_10),
        heartbeat_timeout=fields.read("heartbeat_timeout", read_duration, DAYS_30),
        requires=fields.read("requires", parts.read_labels) or {},
        result_schema=fields.read("result_schema", parts.read_schema),
        events=read_events(fields.items("events", "a list of events")),
        dependent_system=fields.read("system_dependency", read_text),
        limits=fields.read("limits", read_limits),
        http=fields.read("http", read_http),
        wait=fields.read("wait", read_wait, ("input", "results", *names)),
        external=fields.read("external", read_external),
        approval=fields.read("approval", read_approval, ("input", "results", *names)),
        task=fields.read("task", read_task, ("input", "results", *names)),
        spawning=spawning,
        steps=tuple(step.spec for step in body),
        collect=collect,
        reduce=reduce,
        on_failure=on_failure,
    )
    _require_one_kind_of_work(fields)
    if named is None or name is None:
        return None
    return ReadStep(
        spec=spec,
        name=named,
        dependencies=dependencies,
        expressions=tuple(_expressions_of(fields)),
        body=body,
    )


def _require_one_kind_of_work(fields: Fields) -> None:
    """Report a step with several of a handler, an HTTP call, a wait, an approval and a task."""
    given = [key for key in ("http", "wait", "approval", "task", "handler") if key in fields]
    for key in given[1:]:
        if (written := fields.get(key)) is not None:
            written.refuse(f"a step has either {key!r} or {given[0]!r}; remove one")
    external = fields.get("external")
    if external is not None and given and given[0] not in ("http", "handler"):
        external.refuse(f"a step with {given[0]!r} cannot be 'external'; remove one")


def _read_body(fields: Fields, names: tuple[str, ...], depth: int) -> tuple[ReadStep, ...]:
    """Read the steps of a body."""
    value = fields.get("steps")
    if value is None:
        return ()
    if depth > limits.NESTING:
        value.refuse(f"steps may be nested to a depth of {limits.NESTING}")
        return ()
    items = value.items("a list of steps")
    if not items:
        value.refuse("a body needs at least one step")
    steps = (_read_step(item, names, depth) for item in items)
    return tuple(step for step in steps if step is not None)


def _expressions_of(fields: Fields) -> Iterator[tuple[str, Value]]:
    """Yield the expressions of a step that were read, and their places."""
    for kind, key in (*(("map", "over"), ("batch", "total"), ("repeat", "until")),):
        table = fields.get(kind)
        if table is not None and isinstance(table.node, Table):
            value = table.table().get(key)
            if value is not None and isinstance(value.node, Scalar):
                yield value.node.text, value


def _read_environment_change(value: Value) -> EnvironmentChange | None:
    fields = value.fields(_OVERRIDE)
    named = fields.required("name", f": the name of a step, or {parts.ALL}")
    name = optional(named, read_text)
    config = fields.read("handler", _override_config)
    retry = fields.read("retry", _read_retry)
    timeout = fields.read("timeout_seconds", read_duration, YEARS_10)
    if named is None or name is None:
        return None
    return EnvironmentChange(name=named, step=name, config=config, retry=retry, timeout=timeout)


def _override_config(value: Value) -> JsonObject | None:
    return value.fields(_OVERRIDE_HANDLER).read("initialization", read_json_object)


class _HandlerFields(NamedTuple):
    """The `handler` of a step."""

    callable: str | None = None
    method: str | None = None
    version: str | None = None
    config: JsonObject | None = None


def _read_handler(value: Value) -> _HandlerFields:
    """Read a step's handler; a text alone is the callable."""
    if isinstance(value.node, Scalar):
        return _HandlerFields(parts.read_handler(value))
    fields = value.fields(_HANDLER)
    return _HandlerFields(
        fields.read("callable", parts.read_handler),
        fields.read("method", parts.read_method),
        fields.read("version", parts.read_version_range),
        fields.read("initialization", read_json_object),
    )


def _read_step_type(value: Value) -> str | None:
    """Read the type of a step; `deferred_convergence` of Tasker Core is a trigger rule here."""
    written = read_text(value)
    if written in _NOT_BUILT:
        value.refuse(
            f"steps of type {written!r} are not supported; only 'standard' and 'decision' steps are"
        )
        return None
    return None if written is None else read_choice(value, (*map(str, StepType), _CONVERGENCE))


def _read_retry(value: Value) -> RetryChange:
    """Read a retry block; absent settings stay None."""
    fields = value.fields(_RETRY)
    kind = fields.read("backoff", read_choice, _BACKOFFS)
    change = RetryChange(
        retryable=fields.read("retryable", read_flag),
        max_attempts=fields.read("max_attempts", parts.read_attempts),
        backoff=Backoff(kind) if kind else None,
        initial_delay=_read_delay(fields, "initial_delay", "backoff_base_ms"),
        max_delay=_read_delay(fields, "max_delay", "max_backoff_ms"),
        jitter=fields.read("jitter", read_number, 0, 1),
        retry_on=fields.read("retry_on", parts.read_error_names),
        give_up_on=fields.read("give_up_on", parts.read_error_names),
    )
    return parts.check_delay_order(value, change)


def _read_delay(fields: Fields, in_seconds: str, in_ms: str) -> timedelta | None:
    """Read a delay that may be written in seconds, in milliseconds, or the same in both."""
    ms = fields.get(in_ms)
    first = fields.read(in_seconds, read_duration, DAYS_30, zero=True)
    second = optional(ms, read_duration, DAYS_30, unit=_MS, zero=True)
    if ms and first is not None and second is not None and first != second:
        ms.refuse(f"{in_seconds!r} and {in_ms!r} differ; keep one")
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

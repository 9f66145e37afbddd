"""The core dialect: `steps`, `handler.callable`, `dependencies`, `retry`."""

from datetime import timedelta
from typing import NamedTuple

from tasker.model import Backoff, JsonObject, Retry, StepSpec
from tasker.template import parts
from tasker.template.parts import Change, Dialect, ReadStep, RetryChange
from tasker.template.reading import (
    DAYS_30,
    YEARS_10,
    Fields,
    Keys,
    Value,
    choice,
    duration,
    flag,
    number,
    plain,
    text,
)
from tasker.template.source import Scalar

_RAILS = "it belongs to the rails dialect (with 'step_templates'); in this dialect, write "
_RAILS_ONLY = "it belongs to the rails dialect (with 'step_templates'); remove it: "
_NO_EVENTS = "events are not supported"
_KEPT = ("task_handler", "identity_strategy")  #: of Tasker Core, kept in the metadata
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
        "durability",
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
        "retry",
        "timeout_seconds",
        "queue_timeout",
        "heartbeat_timeout",
        "requires",
        "result_schema",
        "system_dependency",
        "type",
        "publishes_events",
    ),
    aliases={"depends_on": "dependencies", "step_type": "type"},
    refused={
        "custom_events": _NO_EVENTS,
        "timeout": "write 'timeout_seconds', the time limit of one attempt",
        "batch_config": "batches are not supported",
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

_NOT_BUILT = ("decision", "deferred_convergence", "batchable", "batch_worker")
_BACKOFFS = tuple(kind.value for kind in Backoff)
_MS = timedelta(milliseconds=1)


def _metadata(top: Fields) -> JsonObject:
    """Read the informational part of a template."""
    metadata = dict(top.json_object("metadata") or {})
    systems = top.get("system_dependencies")
    if systems is not None:
        if "system_dependencies" in metadata:
            systems.refuse("'metadata' has 'system_dependencies' too; keep one")
        metadata["system_dependencies"] = top.json_object("system_dependencies")
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    limits = _staleness_limits(top)
    if limits:
        metadata.setdefault("lifecycle", limits)
    parts.refuse_events(top.get("domain_events"))
    return metadata


def _staleness_limits(top: Fields) -> JsonObject:
    """Read the limits of Tasker Core's staleness detection, which Tasker does not enforce."""
    lifecycle = top.get("lifecycle")
    table = lifecycle.table() if lifecycle else {}
    return {key: plain(value.node) for key, value in table.items() if key in _STALENESS}


def _deadline(top: Fields) -> timedelta | None:
    """Read the longest time a task may take, also from where Tasker Core kept it."""
    seconds, lifecycle = top.get("deadline_seconds"), top.get("lifecycle")
    minutes = lifecycle.fields(_LIFECYCLE).get("max_duration_minutes") if lifecycle else None
    first = duration(seconds, YEARS_10) if seconds else None
    second = duration(minutes, YEARS_10, unit=timedelta(minutes=1)) if minutes else None
    if minutes and first is not None and second is not None and first != second:
        minutes.refuse("'deadline_seconds' and 'max_duration_minutes' differ; keep one")
    return second if first is None else first


def _step(value: Value) -> ReadStep | None:
    fields = value.fields(_STEP)
    named = fields.required("name")
    name = parts.step_name(named) if named else None
    handler = _handler(fields.get("handler"))
    waits = fields.get("dependencies")
    dependencies = parts.dependencies(waits.items("a list of step names")) if waits else ()
    retry, timeout = fields.get("retry"), fields.get("timeout_seconds")
    queue_timeout, heartbeat = fields.get("queue_timeout"), fields.get("heartbeat_timeout")
    requires = fields.get("requires")
    _check_type(fields.get("type"))
    parts.refuse_events(fields.get("publishes_events"))
    spec = StepSpec(
        name=name or "",
        description=fields.text("description") or "",
        callable=handler.callable,
        method=handler.method,
        handler_version=handler.version or "",
        config=handler.config or {},
        dependencies=tuple(name for name, _ in dependencies),
        retry=_retry(retry).applied_to(Retry()) if retry else Retry(),
        timeout=duration(timeout, YEARS_10) if timeout else None,
        queue_timeout=duration(queue_timeout, YEARS_10) if queue_timeout else None,
        heartbeat_timeout=duration(heartbeat, DAYS_30) if heartbeat else None,
        requires=parts.labels(requires) if requires else {},
        result_schema=parts.schema(fields.get("result_schema")),
        dependent_system=fields.text("system_dependency"),
    )
    if named is None or name is None:
        return None
    return ReadStep(spec=spec, name=named, dependencies=dependencies)


def _change(value: Value) -> Change | None:
    fields = value.fields(_OVERRIDE)
    named = fields.required("name", f": the name of a step, or {parts.ALL}")
    name = text(named) if named else None
    handler, retry, timeout = (fields.get(key) for key in ("handler", "retry", "timeout_seconds"))
    config = handler.fields(_OVERRIDE_HANDLER).json_object("initialization") if handler else None
    written = _retry(retry) if retry else None
    limit = duration(timeout, YEARS_10) if timeout else None
    if named is None or name is None:
        return None
    return Change(name=named, step=name, config=config, retry=written, timeout=limit)


class _Handler(NamedTuple):
    """The `handler` of a step."""

    callable: str | None = None
    method: str | None = None
    version: str | None = None
    config: JsonObject | None = None


def _handler(value: Value | None) -> _Handler:
    """Read a step's handler; a text alone is the callable."""
    if value is None:
        return _Handler()
    if isinstance(value.node, Scalar):
        return _Handler(parts.handler(value))
    fields = value.fields(_HANDLER)
    callable_, method, version = (fields.get(key) for key in ("callable", "method", "version"))
    return _Handler(
        parts.handler(callable_) if callable_ else None,
        parts.method(method) if method else None,
        parts.version_range(version) if version else None,
        fields.json_object("initialization"),
    )


def _check_type(value: Value | None) -> None:
    written = text(value) if value else None
    if value and written in _NOT_BUILT:
        value.refuse(f"steps of type {written!r} are not supported; only 'standard' steps are")
    elif value and written is not None:
        choice(value, ("standard",))


def _retry(value: Value) -> RetryChange:
    """Read a retry block; absent settings stay None."""
    fields = value.fields(_RETRY)
    attempts, backoff, jitter = (fields.get(key) for key in ("max_attempts", "backoff", "jitter"))
    retryable = fields.get("retryable")
    kind = choice(backoff, _BACKOFFS) if backoff else None
    initial = _delay(fields, "initial_delay", "backoff_base_ms")
    most = _delay(fields, "max_delay", "max_backoff_ms")
    change = RetryChange(
        retryable=flag(retryable) if retryable else None,
        max_attempts=parts.attempts(attempts),
        backoff=Backoff(kind) if kind else None,
        initial_delay=initial,
        max_delay=most,
        jitter=number(jitter, 0, 1) if jitter else None,
    )
    return parts.delays_in_order(value, change)


def _delay(fields: Fields, in_seconds: str, in_ms: str) -> timedelta | None:
    """Read a delay that may be written in seconds, in milliseconds, or the same in both."""
    seconds, ms = fields.get(in_seconds), fields.get(in_ms)
    first = duration(seconds, DAYS_30, zero=True) if seconds else None
    second = duration(ms, DAYS_30, unit=_MS, zero=True) if ms else None
    if ms and first is not None and second is not None and first != second:
        ms.refuse(f"{in_seconds!r} and {in_ms!r} differ; keep one")
    return second if first is None else first


DIALECT = Dialect(
    steps="steps",
    schema="input_schema",
    top=_TOP,
    environment=_ENVIRONMENT,
    metadata=_metadata,
    deadline=_deadline,
    step=_step,
    change=_change,
    finish=lambda _, steps: steps,
)

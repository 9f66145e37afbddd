"""The rails dialect: `step_templates`, `handler_class`, `depends_on_step`, `handler_config`."""

from dataclasses import replace
from datetime import timedelta

from tasker.model import Backoff, JsonObject, Retry, StepSpec
from tasker.template import parts
from tasker.template.parts import Change, Dialect, ReadStep, RetryChange
from tasker.template.reading import (
    DAYS_30,
    YEARS_10,
    Fields,
    Keys,
    Value,
    duration,
    flag,
    json_object,
    number,
    text,
)
from tasker.template.source import Items, Table

_CORE = "it belongs to the core dialect (with 'steps'); in this dialect, write "
_CORE_ONLY = "it belongs to the core dialect (with 'steps'); remove it: "
_NO_EVENTS = "events are not supported"

_TOP = Keys(
    what="a template",
    allowed=(
        "name",
        "namespace_name",
        "version",
        "description",
        "task_handler_class",
        "module_namespace",
        "default_dependent_system",
        "named_steps",
        "schema",
        "step_templates",
        "environments",
        "handler_config",
        "concurrent",
        "metadata",
        "title",
        "attributes",
        "retention",
        "durability",
        "deadline_seconds",
        "domain_events",
    ),
    aliases={"namespace": "namespace_name"},
    refused={
        "custom_events": _NO_EVENTS,
        "input_schema": f"{_CORE}'schema'",
        "lifecycle": f"{_CORE}'deadline_seconds'",
        "system_dependencies": f"{_CORE}'default_dependent_system'",
    },
)

_STEP = Keys(
    what="a step",
    allowed=(
        "name",
        "description",
        "handler_class",
        "depends_on_step",
        "depends_on_steps",
        "default_retryable",
        "default_retry_limit",
        "dependent_system",
        "skippable",
        "handler_config",
        "queue_timeout",
        "heartbeat_timeout",
        "requires",
        "publishes_events",
    ),
    refused={
        "custom_events": _NO_EVENTS,
        "handler": f"{_CORE}'handler_class', and 'handler_config' for its settings",
        "dependencies": f"{_CORE}'depends_on_step' or 'depends_on_steps'",
        "depends_on": f"{_CORE}'depends_on_step' or 'depends_on_steps'",
        "retry": f"{_CORE}'default_retryable', 'default_retry_limit' and 'handler_config'",
        "timeout_seconds": f"{_CORE}'handler_config: {{timeout_seconds: ...}}'",
        "system_dependency": f"{_CORE}'dependent_system'",
        "result_schema": f"{_CORE_ONLY}that dialect has no schemas for results",
        "type": f"{_CORE_ONLY}that dialect has no types of steps",
    },
)

_ENVIRONMENT = Keys(
    what="an environment",
    allowed=("step_templates",),
    refused={"steps": f"{_CORE}'step_templates'"},
)

_OVERRIDE = Keys(
    what="a step of an environment",
    allowed=("name", "handler_config", "default_retryable", "default_retry_limit"),
    refused={
        key: _STEP.refused[key] for key in ("handler", "retry", "timeout_seconds", "dependencies")
    },
)

_KEPT = ("task_handler_class", "module_namespace", "handler_config", "concurrent")


def _metadata(top: Fields) -> JsonObject:
    """Read the informational part of a template that no other field keeps."""
    metadata = dict(top.json_object("metadata") or {})
    for key in ("task_handler_class", "module_namespace"):
        top.text(key)
    top.json_object("handler_config")
    top.flag("concurrent")
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    parts.refuse_events(top.get("domain_events"))
    return metadata


def _step(value: Value) -> ReadStep | None:
    fields = value.fields(_STEP)
    named = fields.required("name")
    name = parts.step_name(named) if named else None
    handler, config = fields.get("handler_class"), fields.get("handler_config")
    dependencies = _dependencies(fields)
    settings = _settings(config)
    timeout = settings.get("timeout_seconds")
    queue_timeout, heartbeat = fields.get("queue_timeout"), fields.get("heartbeat_timeout")
    requires = fields.get("requires")
    parts.refuse_events(fields.get("publishes_events"))
    skippable = fields.get("skippable")
    if skippable and flag(skippable):
        skippable.refuse("steps cannot be skipped; only 'skippable: false' is allowed")
    spec = StepSpec(
        name=name or "",
        description=fields.text("description") or "",
        callable=parts.handler(handler) if handler else None,
        config=(json_object(config) if config else None) or {},
        dependencies=tuple(name for name, _ in dependencies),
        retry=_retry(value, fields, settings).applied_to(Retry()),
        timeout=duration(timeout, YEARS_10) if timeout else None,
        queue_timeout=duration(queue_timeout, YEARS_10) if queue_timeout else None,
        heartbeat_timeout=duration(heartbeat, DAYS_30) if heartbeat else None,
        requires=parts.labels(requires) if requires else {},
        dependent_system=fields.text("dependent_system"),
    )
    if named is None or name is None:
        return None
    return ReadStep(spec=spec, name=named, dependencies=dependencies)


def _change(value: Value) -> Change | None:
    fields = value.fields(_OVERRIDE)
    named = fields.required("name", f": the name of a step, or {parts.ALL}")
    name = text(named) if named else None
    config = fields.get("handler_config")
    settings = _settings(config)
    timeout = settings.get("timeout_seconds")
    retry = _retry(value, fields, settings)
    limit = duration(timeout, YEARS_10) if timeout else None
    if named is None or name is None:
        return None
    return Change(
        name=named,
        step=name,
        config=json_object(config) if config else None,
        retry=None if retry == RetryChange() else retry,
        timeout=limit,
    )


def _deadline(top: Fields) -> timedelta | None:
    seconds = top.get("deadline_seconds")
    return duration(seconds, YEARS_10) if seconds else None


def _finish(top: Fields, steps: list[ReadStep]) -> list[ReadStep]:
    """Give every step the default system; check that `named_steps` names them all."""
    named_steps = top.get("named_steps")
    if named_steps is not None:
        named = {text(item) for item in named_steps.items("a list of step names")}
        for read in steps:
            if isinstance(named_steps.node, Items) and read.spec.name not in named:
                named_steps.refuse(f"'named_steps' does not name the step {read.spec.name!r}")
    system = top.text("default_dependent_system")
    if system is None:
        return steps
    return [
        replace(read, spec=replace(read.spec, dependent_system=system))
        if read.spec.dependent_system is None
        else read
        for read in steps
    ]


def _dependencies(fields: Fields) -> tuple[tuple[str, Value], ...]:
    """Read `depends_on_step` and `depends_on_steps`; a step may be in both."""
    one, several = fields.get("depends_on_step"), fields.get("depends_on_steps")
    first = dict(parts.dependencies([one])) if one else {}
    others = several.items("a list of step names") if several else []
    return tuple((first | dict(parts.dependencies(others))).items())


def _settings(config: Value | None) -> dict[str, Value]:
    """Return the handler's settings that have a meaning here."""
    table = config.table() if config and isinstance(config.node, Table) else {}
    return {key: value for key, value in table.items() if not value.is_missing}


def _retry(value: Value, fields: Fields, settings: dict[str, Value]) -> RetryChange:
    """Read the retry settings of a step; the delays are kept with the handler's settings."""
    limit, retryable = fields.get("default_retry_limit"), fields.get("default_retryable")
    grows, jitter = settings.get("enable_exponential_backoff"), settings.get("jitter_factor")
    initial, most = settings.get("retry_delay"), settings.get("max_delay")
    exponential = flag(grows) if grows else None
    kinds = {True: Backoff.EXPONENTIAL, False: Backoff.FIXED}
    change = RetryChange(
        retryable=flag(retryable) if retryable else None,
        max_attempts=parts.attempts(limit),
        backoff=None if exponential is None else kinds[exponential],
        initial_delay=duration(initial, DAYS_30, zero=True) if initial else None,
        max_delay=duration(most, DAYS_30, zero=True) if most else None,
        jitter=number(jitter, 0, 1) if jitter else None,
    )
    return parts.delays_in_order(value, change)


DIALECT = Dialect(
    steps="step_templates",
    schema="schema",
    top=_TOP,
    environment=_ENVIRONMENT,
    metadata=_metadata,
    deadline=_deadline,
    step=_step,
    change=_change,
    finish=_finish,
)

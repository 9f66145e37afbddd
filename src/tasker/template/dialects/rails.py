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
    optional,
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
    metadata = dict(top.read("metadata", json_object) or {})
    for key in ("task_handler_class", "module_namespace"):
        top.read(key, text)
    top.read("handler_config", json_object)
    top.read("concurrent", flag)
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    top.read("domain_events", parts.refuse_events)
    return metadata


def _step(value: Value) -> ReadStep | None:
    fields = value.fields(_STEP)
    named = fields.required("name")
    name = optional(named, parts.step_name)
    dependencies = _dependencies(fields)
    settings = _settings(fields)
    fields.read("publishes_events", parts.refuse_events)
    skippable = fields.get("skippable")
    if skippable and flag(skippable):
        skippable.refuse("steps cannot be skipped; only 'skippable: false' is allowed")
    spec = StepSpec(
        name=name or "",
        description=fields.read("description", text) or "",
        callable=fields.read("handler_class", parts.handler),
        config=fields.read("handler_config", json_object) or {},
        dependencies=tuple(name for name, _ in dependencies),
        retry=_retry(value, fields, settings).applied_to(Retry()),
        timeout=optional(settings.get("timeout_seconds"), duration, YEARS_10),
        queue_timeout=fields.read("queue_timeout", duration, YEARS_10),
        heartbeat_timeout=fields.read("heartbeat_timeout", duration, DAYS_30),
        requires=fields.read("requires", parts.labels) or {},
        dependent_system=fields.read("dependent_system", text),
    )
    if named is None or name is None:
        return None
    return ReadStep(spec=spec, name=named, dependencies=dependencies)


def _change(value: Value) -> Change | None:
    fields = value.fields(_OVERRIDE)
    named = fields.required("name", f": the name of a step, or {parts.ALL}")
    name = optional(named, text)
    config = fields.read("handler_config", json_object)
    settings = _settings(fields)
    timeout = optional(settings.get("timeout_seconds"), duration, YEARS_10)
    retry = _retry(value, fields, settings)
    if named is None or name is None:
        return None
    return Change(
        name=named,
        step=name,
        config=config,
        retry=None if retry == RetryChange() else retry,
        timeout=timeout,
    )


def _deadline(top: Fields) -> timedelta | None:
    return top.read("deadline_seconds", duration, YEARS_10)


def _finish(top: Fields, steps: list[ReadStep]) -> list[ReadStep]:
    """Give every step the default system; check that `named_steps` names them all."""
    named_steps = top.get("named_steps")
    if named_steps is not None:
        named = {text(item) for item in named_steps.items("a list of step names")}
        for read in steps:
            if isinstance(named_steps.node, Items) and read.spec.name not in named:
                named_steps.refuse(f"'named_steps' does not name the step {read.spec.name!r}")
    system = top.read("default_dependent_system", text)
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


def _settings(fields: Fields) -> dict[str, Value]:
    """Return the handler's settings."""
    config = fields.get("handler_config")
    table = config.table() if config and isinstance(config.node, Table) else {}
    return {key: value for key, value in table.items() if not value.is_missing}


def _retry(value: Value, fields: Fields, settings: dict[str, Value]) -> RetryChange:
    """Read the retry settings of a step; the delays are kept with the handler's settings."""
    exponential = optional(settings.get("enable_exponential_backoff"), flag)
    kinds = {True: Backoff.EXPONENTIAL, False: Backoff.FIXED}
    change = RetryChange(
        retryable=fields.read("default_retryable", flag),
        max_attempts=fields.read("default_retry_limit", parts.attempts),
        backoff=None if exponential is None else kinds[exponential],
        initial_delay=optional(settings.get("retry_delay"), duration, DAYS_30, zero=True),
        max_delay=optional(settings.get("max_delay"), duration, DAYS_30, zero=True),
        jitter=optional(settings.get("jitter_factor"), number, 0, 1),
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

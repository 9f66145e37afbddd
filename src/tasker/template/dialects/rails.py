"""The rails dialect: `step_templates`, `handler_class`, `depends_on_step`, `handler_config`."""

from dataclasses import replace
from datetime import timedelta

from tasker.model import Backoff, JsonObject, Retry, StepSpec, TriggerRule
from tasker.template import parts
from tasker.template.declared_events import read_step_events
from tasker.template.dialects.core import read_compensate
from tasker.template.parts import Dialect, EnvironmentChange, ParsedStep, RetrySettings
from tasker.template.reading import (
    DAYS_30,
    YEARS_10,
    AllowedKeys,
    LocatedValue,
    MappingFields,
    read_boolean,
    read_duration,
    read_json_object,
    read_number,
    read_optional,
    read_text,
)
from tasker.template.source import ListNode, MappingNode
from tasker.template.step_limits import read_limits

_CORE = "it belongs to the core dialect (with 'steps'); in this dialect, write "
_CORE_ONLY = "it belongs to the core dialect (with 'steps'); remove it: "
_NO_EVENTS = "write 'events' in the step that publishes them"

_TOP = AllowedKeys(
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
        "configuration",
        "concurrent",
        "metadata",
        "title",
        "attributes",
        "sensitive",
        "retention",
        "priority",
        "durability",
        "limits",
        "concurrency",
        "compensation",
        "schedules",
        "deadline_seconds",
        "domain_events",
    ),
    aliases={"namespace": "namespace_name"},
    rejected={
        "custom_events": _NO_EVENTS,
        "input_schema": f"{_CORE}'schema'",
        "lifecycle": f"{_CORE}'deadline_seconds'",
        "system_dependencies": f"{_CORE}'default_dependent_system'",
    },
)

_STEP = AllowedKeys(
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
        "when",
        "trigger",
        "allow_failure",
        "limits",
        "compensate",
        "events",
    ),
    aliases={"publishes_events": "events"},
    rejected={
        "custom_events": _NO_EVENTS,
        "handler": f"{_CORE}'handler_class', and 'handler_config' for its settings",
        "dependencies": f"{_CORE}'depends_on_step' or 'depends_on_steps'",
        "depends_on": f"{_CORE}'depends_on_step' or 'depends_on_steps'",
        "retry": f"{_CORE}'default_retryable', 'default_retry_limit' and 'handler_config'",
        "timeout_seconds": f"{_CORE}'handler_config: {{timeout_seconds: ...}}'",
        "system_dependency": f"{_CORE}'dependent_system'",
        "result_schema": f"{_CORE_ONLY}the rails dialect has no result schemas",
        "type": f"{_CORE_ONLY}the rails dialect has no step types",
    },
)

_ENVIRONMENT = AllowedKeys(
    what="an environment",
    allowed=("step_templates",),
    rejected={"steps": f"{_CORE}'step_templates'"},
)

_OVERRIDE = AllowedKeys(
    what="a step of an environment",
    allowed=("name", "handler_config", "default_retryable", "default_retry_limit"),
    rejected={
        key: _STEP.rejected[key] for key in ("handler", "retry", "timeout_seconds", "dependencies")
    },
)

_KEPT = (
    *("task_handler_class", "module_namespace"),
    *("handler_config", "configuration", "concurrent"),
)


def _read_metadata(top: MappingFields) -> JsonObject:
    """Read the informational part of a template that has no field of its own."""
    metadata = dict(top.read("metadata", read_json_object) or {})
    for key in ("task_handler_class", "module_namespace"):
        top.read(key, read_text)
    for key in ("handler_config", "configuration"):
        top.read(key, read_json_object)
    top.read("concurrent", read_boolean)
    for key in _KEPT:
        value = top.get(key)
        if value is not None:
            parts.keep_in_metadata(value, key, metadata)
    return metadata


def _read_step(value: LocatedValue) -> ParsedStep | None:
    fields = value.read_fields(_STEP)
    named = fields.get_required("name")
    name = read_optional(named, parts.read_step_name)
    dependencies = _read_dependencies(fields)
    settings = _read_handler_settings(fields)
    fields.read("skippable", read_boolean)  # operators can skip any step
    spec = StepSpec(
        name=name or "",
        description=fields.read("description", read_text) or "",
        callable=fields.read("handler_class", parts.read_handler_name),
        config=fields.read("handler_config", read_json_object) or {},
        dependencies=tuple(name for name, _ in dependencies),
        when=fields.read("when", parts.read_expression, ("input", "results")),
        trigger=fields.read("trigger", parts.read_trigger_rule) or TriggerRule.ALL_SUCCESS,
        allow_failure=fields.read("allow_failure", read_boolean) or False,
        limits=fields.read("limits", read_limits),
        compensate=fields.read("compensate", read_compensate),
        retry=_read_retry(value, fields, settings).apply_to(Retry()),
        timeout=read_optional(settings.get("timeout_seconds"), read_duration, YEARS_10),
        queue_timeout=fields.read("queue_timeout", read_duration, YEARS_10),
        heartbeat_timeout=fields.read("heartbeat_timeout", read_duration, DAYS_30),
        requires=fields.read("requires", parts.read_required_labels) or {},
        events=read_step_events(fields.list_items("events", "a list of events")),
        dependent_system=fields.read("dependent_system", read_text),
    )
    if named is None or name is None:
        return None
    return ParsedStep(spec=spec, name=named, dependencies=dependencies, when=fields.get("when"))


def _read_environment_change(value: LocatedValue) -> EnvironmentChange | None:
    fields = value.read_fields(_OVERRIDE)
    named = fields.get_required("name", f": the name of a step, or {parts.ALL}")
    name = read_optional(named, read_text)
    config = fields.read("handler_config", read_json_object)
    settings = _read_handler_settings(fields)
    timeout = read_optional(settings.get("timeout_seconds"), read_duration, YEARS_10)
    retry = _read_retry(value, fields, settings)
    if named is None or name is None:
        return None
    return EnvironmentChange(
        name=named,
        step=name,
        config=config,
        retry=None if retry == RetrySettings() else retry,
        timeout=timeout,
    )


def _read_deadline(top: MappingFields) -> timedelta | None:
    return top.read("deadline_seconds", read_duration, YEARS_10)


def _check_named_steps_and_apply_default_system(
    top: MappingFields, steps: list[ParsedStep]
) -> list[ParsedStep]:
    """Give every step the default system; check that `named_steps` names them all."""
    named_steps = top.get("named_steps")
    if named_steps is not None:
        named = {read_text(item) for item in named_steps.list_items("a list of step names")}
        for read in steps:
            if isinstance(named_steps.node, ListNode) and read.spec.name not in named:
                named_steps.report_problem(
                    f"'named_steps' does not list the step {read.spec.name!r}"
                )
    system = top.read("default_dependent_system", read_text)
    if system is None:
        return steps
    return [
        replace(read, spec=replace(read.spec, dependent_system=system))
        if read.spec.dependent_system is None
        else read
        for read in steps
    ]


def _read_dependencies(fields: MappingFields) -> tuple[tuple[str, LocatedValue], ...]:
    """Read `depends_on_step` and `depends_on_steps`; a step may be in both."""
    one, several = fields.get("depends_on_step"), fields.get("depends_on_steps")
    first = dict(parts.read_dependencies([one])) if one else {}
    others = several.list_items("a list of step names") if several else []
    return tuple((first | dict(parts.read_dependencies(others))).items())


def _read_handler_settings(fields: MappingFields) -> dict[str, LocatedValue]:
    """Return the handler's settings."""
    config = fields.get("handler_config")
    table = config.mapping_values() if config and isinstance(config.node, MappingNode) else {}
    return {key: value for key, value in table.items() if not value.is_missing}


def _read_retry(
    value: LocatedValue, fields: MappingFields, settings: dict[str, LocatedValue]
) -> RetrySettings:
    """Read the retry settings of a step; the delays are stored with the handler's settings."""
    exponential = read_optional(settings.get("enable_exponential_backoff"), read_boolean)
    kinds = {True: Backoff.EXPONENTIAL, False: Backoff.FIXED}
    change = RetrySettings(
        retryable=fields.read("default_retryable", read_boolean),
        max_attempts=fields.read("default_retry_limit", parts.read_max_attempts),
        backoff=None if exponential is None else kinds[exponential],
        initial_delay=read_optional(settings.get("retry_delay"), read_duration, DAYS_30, zero=True),
        max_delay=read_optional(settings.get("max_delay"), read_duration, DAYS_30, zero=True),
        jitter=read_optional(settings.get("jitter_factor"), read_number, 0, 1),
    )
    return parts.report_initial_delay_above_maximum(value, change)


DIALECT = Dialect(
    steps="step_templates",
    schema="schema",
    top=_TOP,
    environment=_ENVIRONMENT,
    metadata=_read_metadata,
    deadline=_read_deadline,
    step=_read_step,
    change=_read_environment_change,
    finish=_check_named_steps_and_apply_default_system,
)

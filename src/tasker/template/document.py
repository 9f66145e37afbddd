"""Templates as JSON documents, the form in which they are stored, compared and shown."""

import hashlib
from datetime import timedelta

import orjson

from tasker.model import (
    DEFAULT_PRIORITY,
    AtCapacityAction,
    Batch,
    CollectMode,
    CompensateSpec,
    Compensation,
    EventCondition,
    EventSpec,
    ExternalSpec,
    InstanceFailureHandling,
    Json,
    JsonObject,
    Limit,
    Map,
    Repeat,
    Retry,
    SettlementDurability,
    Spawning,
    StepOverride,
    StepSpec,
    StepType,
    TaskConcurrency,
    Template,
    TimeoutAction,
    TriggerRule,
    flatten_steps,
)
from tasker.schedules.document import schedule_to_document as schedule_document
from tasker.template.approvals import approval_to_document
from tasker.template.http import http_to_document
from tasker.template.waits import child_task_to_document, wait_to_document


def template_to_document(template: Template) -> JsonObject:
    """Write a template in the core dialect, as a JSON object.

    Defaults are omitted; the order of keys is fixed.
    """
    steps = [_step_to_document(spec) for spec in template.steps]
    specs = {spec.name: spec for spec in flatten_steps(template.steps)}
    return _omit_none(
        name=template.name,
        namespace_name=template.namespace,
        version=template.version,
        description=template.description or None,
        title=template.title or None,
        attributes=template.attributes or None,
        sensitive=list(template.sensitive) or None,
        retention=_to_seconds(template.retention),
        priority=None if template.priority == DEFAULT_PRIORITY else template.priority,
        durability=None
        if template.durability is SettlementDurability.FULL
        else template.durability.value,
        deadline_seconds=_to_seconds(template.deadline),
        input_schema=template.input_schema,
        schedules=[schedule_document(schedule) for schedule in template.schedules] or None,
        limits=_limits_to_document(template.limits) or None,
        concurrency=None
        if template.concurrency is None
        else _concurrency_to_document(template.concurrency),
        events=list(template.events) or None,
        compensation=compensation_to_document(template.compensation) or None,
        steps=steps,
        environments={
            name: {
                "steps": [
                    _override_to_document(specs.get(step, StepSpec(name=step)), change)
                    for step, change in changes.items()
                ]
            }
            for name, changes in template.environments.items()
        }
        or None,
        metadata=template.metadata or None,
    )


def hash_template_document(document: JsonObject) -> str:
    """Return the SHA-256 of a template's document in hexadecimal: equal for equal content."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _step_to_document(spec: StepSpec) -> JsonObject:
    handler = _omit_none(
        callable=spec.callable,
        method=spec.method,
        version=spec.handler_version or None,
        initialization=spec.config or None,
    )
    return _omit_none(
        name=spec.name,
        description=spec.description or None,
        handler=handler or None,
        dependencies=list(spec.dependencies) or None,
        type=None if spec.type is StepType.STANDARD else spec.type.value,
        trigger=None if spec.trigger is TriggerRule.ALL_SUCCESS else spec.trigger.value,
        when=spec.when,
        allow_failure=spec.allow_failure or None,
        retry=_retry_to_document(spec.retry, Retry()) or None,
        timeout_seconds=_to_seconds(spec.timeout),
        queue_timeout=_to_seconds(spec.queue_timeout),
        heartbeat_timeout=_to_seconds(spec.heartbeat_timeout),
        requires=spec.requires or None,
        result_schema=spec.result_schema,
        events=[_event_to_document(event) for event in spec.events] or None,
        system_dependency=spec.dependent_system,
        http=None if spec.http is None else http_to_document(spec.http),
        wait=None if spec.wait is None else wait_to_document(spec.wait),
        external=None if spec.external is None else _external_to_document(spec.external),
        approval=None if spec.approval is None else approval_to_document(spec.approval),
        task=None if spec.task is None else child_task_to_document(spec.task),
        **_instances_to_document(spec),
        compensate=None if spec.compensate is None else _compensate_to_document(spec.compensate),
        limits=None if spec.limits is None else _limits_to_document(spec.limits),
    )


def _instances_to_document(spec: StepSpec) -> dict[str, Json]:
    """Write how a step creates instances; nothing if it has none."""
    spawning = spec.spawning
    if spawning is None:
        return {}
    failure = spec.on_failure
    most: Json = failure.max_failures
    if failure.max_failed_percent is not None:
        most = f"{failure.max_failed_percent:g}%"
    return {
        **_map_batch_or_repeat_to_document(spawning),
        **_omit_none(
            steps=[_step_to_document(step) for step in spec.steps] or None,
            collect=_collect_to_document(spec),
            on_failure=None
            if failure == InstanceFailureHandling()
            else _omit_none(policy=failure.policy.value, max_failures=most),
        ),
    }


def _map_batch_or_repeat_to_document(spawning: Spawning) -> dict[str, Json]:
    match spawning:
        case Map(over=over, item=item, max_concurrency=most):
            name = None if item == "item" else item
            return {"map": {"over": over, **_omit_none(**{"as": name}, max_concurrency=most)}}
        case Batch(total=total, size=size, max_instances=most):
            return {"batch": _omit_none(total=total, size=size, max_instances=most)}
        case Repeat(until=until, every=every, max=most):
            return {"repeat": _omit_none(until=until, every=_to_seconds(every) or None, max=most)}


def _collect_to_document(spec: StepSpec) -> Json:
    if spec.reduce is not None:
        return {"reduce": spec.reduce}
    return None if spec.collect is CollectMode.LIST else spec.collect.value


def _event_to_document(event: EventSpec) -> JsonObject:
    return _omit_none(
        name=event.name,
        on=None if event.on is EventCondition.SUCCESS else event.on.value,
        payload=None if event.payload == "" else event.payload,
        schema=event.schema,
        description=event.description or None,
    )


def _override_to_document(spec: StepSpec, change: StepOverride) -> JsonObject:
    return _omit_none(
        name=spec.name,
        handler=None if change.config is None else {"initialization": change.config},
        retry=None if change.retry is None else _retry_to_document(change.retry, spec.retry),
        timeout_seconds=_to_seconds(change.timeout),
    )


def _limits_to_document(limits: tuple[Limit, ...]) -> list[Json]:
    return [{"key": limit.key, **limit.to_json()} for limit in limits]


def _concurrency_to_document(concurrency: TaskConcurrency) -> JsonObject:
    when_full = concurrency.when_full
    return _omit_none(
        key=concurrency.key,
        tasks=concurrency.tasks,
        when_full=None if when_full is AtCapacityAction.WAIT else when_full.value,
    )


def compensation_to_document(compensation: Compensation) -> JsonObject:
    """Write the parts of a template's compensation that differ from the defaults."""
    default = Compensation()
    return _omit_none(
        on=None if compensation.on == default.on else list(compensation.on),
        keep_going=None if compensation.keep_going else False,
        hold=_to_seconds(compensation.hold) or None,
    )


def _compensate_to_document(undo: CompensateSpec) -> JsonObject:
    return _omit_none(
        callable=undo.callable,
        method=undo.method,
        version=undo.version or None,
        retry=_retry_to_document(undo.retry, Retry()) or None,
        timeout_seconds=_to_seconds(undo.timeout),
    )


def _external_to_document(external: ExternalSpec) -> JsonObject:
    on_timeout = external.on_timeout
    return _omit_none(
        timeout=_to_seconds(external.timeout),
        on_timeout=None if on_timeout is TimeoutAction.FAIL else on_timeout.value,
    )


def _retry_to_document(retry: Retry, base: Retry) -> JsonObject:
    """Write the parts of `retry` that differ from `base`."""
    written: dict[str, Json] = {
        "retryable": retry.retryable,
        "max_attempts": retry.max_attempts,
        "backoff": retry.backoff.value,
        "initial_delay": _to_seconds(retry.initial_delay),
        "max_delay": _to_seconds(retry.max_delay),
        "jitter": retry.jitter,
        "retry_on": list(retry.retry_on),
        "give_up_on": list(retry.give_up_on),
    }
    return {
        key: value for key, value in written.items() if getattr(retry, key) != getattr(base, key)
    }


def _omit_none(**parts: Json) -> dict[str, Json]:
    return {key: part for key, part in parts.items() if part is not None}


def _to_seconds(length: timedelta | None) -> int | float | None:
    """Return a duration in seconds, as an integer if it is whole."""
    if length is None:
        return None
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds

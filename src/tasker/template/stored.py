"""Reads templates from stores without repeating the checks that they passed before.

Checking them again takes 60 us per step, during which a worker's event loop would be blocked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from tasker.model import (
    DEFAULT_PRIORITY,
    Backoff,
    Batch,
    CollectMode,
    CompensateSpec,
    Compensation,
    EventCondition,
    EventSpec,
    ExternalSpec,
    InstanceFailureHandling,
    InstanceFailurePolicy,
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
    TaskEndEvent,
    Template,
    TimeoutAction,
    TriggerRule,
    UnsuccessfulEnd,
    flatten_steps,
)
from tasker.schedules.document import schedule_from_document as read_schedule
from tasker.template.approvals import approval_from_document
from tasker.template.http import http_from_document
from tasker.template.waits import child_task_from_document, wait_from_document

_DEFAULTS = Retry()


def template_from_stored_document(document: Mapping[str, Any]) -> Template:
    """Read a template document written by `template_to_document`."""
    steps = tuple(map(_read_step, document["steps"]))
    return Template(
        namespace=document["namespace_name"],
        name=document["name"],
        version=document["version"],
        description=document.get("description", ""),
        steps=steps,
        input_schema=document.get("input_schema"),
        deadline=_seconds_to_timedelta(document.get("deadline_seconds")),
        title=document.get("title", ""),
        attributes=document.get("attributes", {}),
        sensitive=tuple(document.get("sensitive", ())),
        retention=_seconds_to_timedelta(document.get("retention")),
        priority=document.get("priority", DEFAULT_PRIORITY),
        schedules=tuple(map(read_schedule, document.get("schedules", ()))),
        durability=SettlementDurability(document.get("durability", SettlementDurability.FULL)),
        limits=_read_limits(document.get("limits")) or (),
        concurrency=TaskConcurrency(**document["concurrency"])
        if "concurrency" in document
        else None,
        events=tuple(map(TaskEndEvent, document.get("events", ()))),
        compensation=_read_compensation(document.get("compensation", {})),
        environments=_read_environments(document.get("environments"), steps),
        metadata=document.get("metadata", {}),
    )


def _read_step(step: Mapping[str, Any]) -> StepSpec:
    handler, retry = step.get("handler", {}), step.get("retry")
    return StepSpec(
        name=step["name"],
        description=step.get("description", ""),
        callable=handler.get("callable"),
        method=handler.get("method"),
        handler_version=handler.get("version", ""),
        config=handler.get("initialization", {}),
        dependencies=tuple(step.get("dependencies", ())),
        type=StepType(step.get("type", StepType.STANDARD)),
        trigger=TriggerRule(step.get("trigger", TriggerRule.ALL_SUCCESS)),
        when=step.get("when"),
        allow_failure=step.get("allow_failure", False),
        retry=_DEFAULTS if retry is None else _read_retry(retry, _DEFAULTS),
        timeout=_seconds_to_timedelta(step.get("timeout_seconds")),
        queue_timeout=_seconds_to_timedelta(step.get("queue_timeout")),
        heartbeat_timeout=_seconds_to_timedelta(step.get("heartbeat_timeout")),
        requires=step.get("requires", {}),
        result_schema=step.get("result_schema"),
        events=tuple(map(_read_event, step.get("events", ()))),
        dependent_system=step.get("system_dependency"),
        http=http_from_document(step["http"]) if "http" in step else None,
        external=_read_external(step["external"]) if "external" in step else None,
        approval=approval_from_document(step["approval"]) if "approval" in step else None,
        wait=wait_from_document(step["wait"]) if "wait" in step else None,
        task=child_task_from_document(step["task"]) if "task" in step else None,
        **_read_instances(step),
        compensate=_read_compensate(step["compensate"]) if "compensate" in step else None,
        limits=_read_limits(step.get("limits")),
    )


def _read_limits(written: Sequence[Mapping[str, Any]] | None) -> tuple[Limit, ...] | None:
    if written is None:
        return None
    return tuple(
        Limit(
            limit["key"],
            concurrency=limit.get("concurrency"),
            rate=limit.get("rate"),
            burst=limit.get("burst"),
        )
        for limit in written
    )


def _read_instances(step: Mapping[str, Any]) -> dict[str, Any]:
    """Read how a step creates instances; nothing if it has none."""
    spawning = _read_spawning(step)
    if spawning is None:
        return {}
    collect = step.get("collect", CollectMode.LIST)
    reduced = isinstance(collect, Mapping)
    return {
        "spawning": spawning,
        "steps": tuple(map(_read_step, step.get("steps", ()))),
        "collect": CollectMode.LIST if reduced else CollectMode(collect),
        "reduce": collect["reduce"] if reduced else None,
        "on_failure": _read_on_failure(step.get("on_failure", {})),
    }


def _read_spawning(step: Mapping[str, Any]) -> Spawning | None:
    if written := step.get("map"):
        return Map(
            over=written["over"],
            item=written.get("as", "item"),
            max_concurrency=written.get("max_concurrency"),
        )
    if written := step.get("batch"):
        return Batch(**written)
    if written := step.get("repeat"):
        every = timedelta(seconds=written.get("every", 0))
        return Repeat(until=written["until"], every=every, max=written["max"])
    return None


def _read_on_failure(written: Mapping[str, Any]) -> InstanceFailureHandling:
    policy = InstanceFailurePolicy(written.get("policy", InstanceFailurePolicy.FAIL))
    most = written.get("max_failures")
    if isinstance(most, str):
        return InstanceFailureHandling(
            policy=policy, max_failed_percent=float(most.removesuffix("%"))
        )
    return InstanceFailureHandling(policy=policy, max_failures=most)


def _read_event(event: Mapping[str, Any]) -> EventSpec:
    return EventSpec(
        event["name"],
        EventCondition(event.get("on", EventCondition.SUCCESS)),
        event.get("payload", ""),
        schema=event.get("schema"),
        description=event.get("description", ""),
    )


def _read_compensation(written: Mapping[str, Any]) -> Compensation:
    default = Compensation()
    return Compensation(
        on=tuple(map(UnsuccessfulEnd, written.get("on", default.on))),
        keep_going=written.get("keep_going", True),
        hold=timedelta(seconds=written.get("hold", 0)),
    )


def _read_compensate(written: Mapping[str, Any]) -> CompensateSpec:
    retry = written.get("retry")
    return CompensateSpec(
        callable=written["callable"],
        method=written.get("method"),
        version=written.get("version", ""),
        retry=_DEFAULTS if retry is None else _read_retry(retry, _DEFAULTS),
        timeout=_seconds_to_timedelta(written.get("timeout_seconds")),
    )


def _read_external(written: Mapping[str, Any]) -> ExternalSpec:
    on_timeout = TimeoutAction(written.get("on_timeout", TimeoutAction.FAIL))
    return ExternalSpec(
        timeout=_seconds_to_timedelta(written.get("timeout")), on_timeout=on_timeout
    )


def _read_environments(
    written: Mapping[str, Any] | None, steps: tuple[StepSpec, ...]
) -> Mapping[str, Mapping[str, StepOverride]]:
    if not written:
        return {}
    retries = {spec.name: spec.retry for spec in flatten_steps(steps)}
    return {
        environment: {
            step["name"]: StepOverride(
                config=step.get("handler", {}).get("initialization"),
                retry=_read_retry(step["retry"], retries[step["name"]])
                if "retry" in step
                else None,
                timeout=_seconds_to_timedelta(step.get("timeout_seconds")),
            )
            for step in changes["steps"]
        }
        for environment, changes in written.items()
    }


def _read_retry(written: Mapping[str, Any], base: Retry) -> Retry:
    """Read the fields that differ from `base`."""
    read = dict(written)
    if "backoff" in read:
        read["backoff"] = Backoff(read["backoff"])
    for delay in read.keys() & {"initial_delay", "max_delay"}:
        read[delay] = _seconds_to_timedelta(read[delay])
    return Retry(**{**asdict(base), **read})


def _seconds_to_timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)

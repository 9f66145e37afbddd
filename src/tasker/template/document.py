"""Templates as JSON documents: the form in which they are stored, compared and shown."""

import hashlib
from datetime import timedelta

import orjson

from tasker.model import (
    DEFAULT_PRIORITY,
    Durability,
    Json,
    JsonObject,
    Retry,
    StepOverride,
    StepSpec,
    Template,
)


def to_document(template: Template) -> JsonObject:
    """Write a template in the core dialect, as a JSON object.

    Defaults are left out; the order of keys is fixed.
    """
    steps = [_step_document(spec) for spec in template.steps]
    specs = {spec.name: spec for spec in template.steps}
    return _without_none(
        name=template.name,
        namespace_name=template.namespace,
        version=template.version,
        description=template.description or None,
        title=template.title or None,
        attributes=template.attributes or None,
        retention=_seconds(template.retention),
        priority=None if template.priority == DEFAULT_PRIORITY else template.priority,
        durability=None if template.durability is Durability.FULL else template.durability.value,
        deadline_seconds=_seconds(template.deadline),
        input_schema=template.input_schema,
        steps=steps,
        environments={
            name: {
                "steps": [
                    _override_document(specs.get(step, StepSpec(name=step)), change)
                    for step, change in changes.items()
                ]
            }
            for name, changes in template.environments.items()
        }
        or None,
        metadata=template.metadata or None,
    )


def digest(document: JsonObject) -> str:
    """Return the SHA-256 of a template's document in hexadecimal: equal for equal content."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _step_document(spec: StepSpec) -> JsonObject:
    handler = _without_none(
        callable=spec.callable,
        method=spec.method,
        version=spec.handler_version or None,
        initialization=spec.config or None,
    )
    return _without_none(
        name=spec.name,
        description=spec.description or None,
        handler=handler or None,
        dependencies=list(spec.dependencies) or None,
        retry=_retry_document(spec.retry, Retry()) or None,
        timeout_seconds=_seconds(spec.timeout),
        queue_timeout=_seconds(spec.queue_timeout),
        heartbeat_timeout=_seconds(spec.heartbeat_timeout),
        requires=spec.requires or None,
        result_schema=spec.result_schema,
        system_dependency=spec.dependent_system,
    )


def _override_document(spec: StepSpec, change: StepOverride) -> JsonObject:
    return _without_none(
        name=spec.name,
        handler=None if change.config is None else {"initialization": change.config},
        retry=None if change.retry is None else _retry_document(change.retry, spec.retry),
        timeout_seconds=_seconds(change.timeout),
    )


def _retry_document(retry: Retry, base: Retry) -> JsonObject:
    """Write what of `retry` differs from `base`."""
    written: dict[str, Json] = {
        "retryable": retry.retryable,
        "max_attempts": retry.max_attempts,
        "backoff": retry.backoff.value,
        "initial_delay": _seconds(retry.initial_delay),
        "max_delay": _seconds(retry.max_delay),
        "jitter": retry.jitter,
    }
    return {
        key: value for key, value in written.items() if getattr(retry, key) != getattr(base, key)
    }


def _without_none(**parts: Json) -> dict[str, Json]:
    return {key: part for key, part in parts.items() if part is not None}


def _seconds(length: timedelta | None) -> int | float | None:
    """Return a duration in seconds, as an integer if it is whole."""
    if length is None:
        return None
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds

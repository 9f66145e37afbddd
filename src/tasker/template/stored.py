"""Reads templates from stores, without validation.

A store holds documents that `to_document` wrote of valid templates. Validating them again
takes 60 us per step, during which a worker's event loop would be blocked.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tasker.model import Backoff, Durability, Retry, StepSpec, Template
from tasker.template.document import from_document

_TOP = {
    *("name", "namespace_name", "version", "description", "title", "attributes", "retention"),
    *("durability", "deadline_seconds", "input_schema", "steps", "metadata"),
}
_STEP = {
    *("name", "description", "handler", "dependencies"),
    *("retry", "timeout_seconds", "result_schema", "system_dependency"),
    *("queue_timeout", "heartbeat_timeout", "requires"),
}
_HANDLER = {"callable", "method", "version", "initialization"}
_PLAIN = Retry()


def from_stored(document: Mapping[str, Any]) -> Template:
    """Read what `to_document` wrote, exactly as `from_document` does.

    What has keys that are not known here (environments, or what another release wrote) is
    left to that.
    """
    steps = document.get("steps", ())
    if not document.keys() <= _TOP or not all(map(_is_known, steps)):
        return from_document(document)
    return Template(
        namespace=document["namespace_name"],
        name=document["name"],
        version=document["version"],
        description=document.get("description", ""),
        steps=tuple(map(_step, steps)),
        input_schema=document.get("input_schema"),
        deadline=_timedelta(document.get("deadline_seconds")),
        title=document.get("title", ""),
        attributes=document.get("attributes", {}),
        retention=_timedelta(document.get("retention")),
        durability=Durability(document.get("durability", Durability.FULL)),
        metadata=document.get("metadata", {}),
    )


def _is_known(step: Mapping[str, Any]) -> bool:
    handler = step.get("handler", {})
    return step.keys() <= _STEP and isinstance(handler, dict) and handler.keys() <= _HANDLER


def _step(step: Mapping[str, Any]) -> StepSpec:
    handler, retry = step.get("handler", {}), step.get("retry")
    return StepSpec(
        name=step["name"],
        description=step.get("description", ""),
        callable=handler.get("callable"),
        method=handler.get("method"),
        handler_version=handler.get("version", ""),
        config=handler.get("initialization", {}),
        dependencies=tuple(step.get("dependencies", ())),
        retry=_PLAIN if retry is None else _retry(retry),
        timeout=_timedelta(step.get("timeout_seconds")),
        queue_timeout=_timedelta(step.get("queue_timeout")),
        heartbeat_timeout=_timedelta(step.get("heartbeat_timeout")),
        requires=step.get("requires", {}),
        result_schema=step.get("result_schema"),
        dependent_system=step.get("system_dependency"),
    )


def _retry(written: Mapping[str, Any]) -> Retry:
    read = dict(written)
    if "backoff" in read:
        read["backoff"] = Backoff(read["backoff"])
    for delay in read.keys() & {"initial_delay", "max_delay"}:
        read[delay] = _timedelta(read[delay])
    return Retry(**read)


def _timedelta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)

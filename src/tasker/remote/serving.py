"""The JSON of claimed steps. Stored JSON is passed on as text, without being parsed."""

import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from tasker.engine.task_cache import CachedTask
from tasker.handlers.instances import InstanceInput
from tasker.model import Claim, JsonText, Map
from tasker.remote.registered import RegisteredWorker
from tasker.remote.tasks import RemoteTemplate
from tasker.remote.tickets import Ticket, TicketSigner

PAYLOAD = 4 << 20  #: bytes of contexts and results in one response
_NULL = orjson.Fragment(b"null")


class ServedStep(NamedTuple):
    """A claimed step with its task."""

    claim: Claim
    task: CachedTask
    node: int  #: the template's node that it is
    given_at: float | None = None
    """Time at which the step was handed to its worker, in seconds since 1970; None means now."""

    completion_url: str | None = None

    @classmethod
    def for_claim(cls, claim: Claim, task: CachedTask) -> "ServedStep":
        """Return a step that is handed to its worker now."""
        return cls(claim, task, claim.no if task.instance is None else task.instance.node)

    @property
    def name(self) -> str:
        """The name of the step. The name of an instance includes its number."""
        instance = self.task.instance
        return self.task.compiled.step_spec(self.node).name if instance is None else instance.name

    @property
    def ran_for(self) -> timedelta:
        """Time since it was handed to its worker."""
        since = 0.0 if self.given_at is None else time.time() - self.given_at
        return timedelta(seconds=max(since, 0.0))


def serialize_steps_with_tickets(
    worker: RegisteredWorker, steps: Iterable[ServedStep], tickets: TicketSigner
) -> list[dict[str, Any]]:
    """Return the JSON objects of claimed steps; payloads that are too large are omitted."""
    left, now = PAYLOAD, time.time()
    served: list[dict[str, Any]] = []
    for step in steps:
        payload, size = build_payload(worker, step)
        left -= size
        claim = step.claim._replace(checkpoint=None) if step.claim.checkpoint else step.claim
        ticket = Ticket(claim, step.task.input.template_id, step.node, worker.id, now)
        text = tickets.sign(ticket)
        worker.given[text] = ticket
        body = _serialize_step_metadata(step, text)
        index = worker.get_handler_assignment(
            _require_remote_template(step.task), step.node
        ).handler_index
        if index is not None:
            body["handler_index"] = index
        body.update(payload if left >= 0 or not served else {"payload": True})
        served.append(body)
    return served


def build_payload(worker: RegisteredWorker, step: ServedStep) -> tuple[dict[str, Any], int]:
    """Return the values that a handler reads, and their size in bytes."""
    claim, task, node = step.claim, step.task, step.node
    template = _require_remote_template(task)
    size, results = len(task.input.context) + len(claim.checkpoint or ""), {}
    failures = {}
    known, missed = task.known, task.missed
    for name, no in worker.get_handler_assignment(template, node).readable:
        if not known >> no & 1 and no not in missed:
            continue
        text = task.results.get(no)
        size += len(text or "")
        results[name] = _json_fragment(text)
        if (
            no in missed
            and (error := missed[no].error) is not None
            and no in task.failed_step_errors()
        ):
            failures[name] = _json_fragment(error)
    return {
        "context": _json_fragment(task.input.context),
        "config": template.response_fields(node).config,
        "results": results,
        "failures": failures,
        "checkpoint": _json_fragment(claim.checkpoint),
        "items": {
            name: _json_fragment(text) for name, text in _build_instance_inputs(step).items()
        },
    }, size


def _build_instance_inputs(step: ServedStep) -> Mapping[str, JsonText | None]:
    """Return the inputs of an instance; the element of the innermost map is also its `item`."""
    if step.task.instance is None:
        return {}
    items, layout = step.task.instance.items, step.task.compiled.graph.layout
    scope = 0 if "item" in items else layout.spawner_around(step.node)
    while scope:
        spawning = layout.bodies[scope].spawning
        if isinstance(spawning, Map) and spawning.item in items:
            return {**items, "item": items[spawning.item]}
        scope = layout.spawner_around(scope)
    return items


def _serialize_step_metadata(step: ServedStep, ticket: str) -> dict[str, Any]:
    claim, task, node, name = step.claim, step.task, step.node, step.name
    given, instance = task.input, task.instance
    return {
        "ticket": ticket,
        "task_id": claim.task_id,
        "step": name,
        **_require_remote_template(task).response_fields(node).head,
        "attempt": claim.attempt,
        "counted_attempts": claim.counted_attempts,
        "idempotency_key": f"{claim.task_id}:{name}",
        "correlation_id": given.correlation_id,
        "parent_id": given.parent_id,
        "traceparent": given.trace,
        "priority": given.priority,
        "completion_url": step.completion_url,
        "instance": None if instance is None else instance.instance,
        "no": claim.no,
        "template_id": given.template_id,
        "queued_s": claim.queued,
        **({} if instance is None else {"surroundings": _instance_position(instance)}),
    }


def _instance_position(instance: InstanceInput) -> dict[str, Any]:
    """Return the facts about an instance for SDKs that read the template."""
    return {
        "node": instance.node,
        "spawned_by": instance.spawned_by,
        "offsets": {str(scope): offset for scope, offset in instance.offsets.items()},
    }


def _require_remote_template(task: CachedTask) -> RemoteTemplate:
    template = task.compiled
    if not isinstance(template, RemoteTemplate):
        raise TypeError(f"expected a RemoteTemplate, found {template!r}")
    return template


def _json_fragment(text: str | None) -> orjson.Fragment:
    return _NULL if text is None else orjson.Fragment(text)

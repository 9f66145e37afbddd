"""The JSON of claimed steps. Stored JSON is passed on as text, without being parsed."""

import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from tasker.engine.task_cache import CachedTask
from tasker.handlers.instances import InstanceInput
from tasker.model import Claim, Map, StepSpec
from tasker.remote.registered import HandlerAssignment, RegisteredWorker
from tasker.remote.tasks import RemoteTemplate
from tasker.remote.tickets import Ticket, TicketSigner

PAYLOAD = 4 << 20  #: bytes of contexts and results in one response
_NULL = orjson.Fragment(b"null")
_NO_INSTANCE = {"instance": None}


class ServedStep(NamedTuple):
    """A claimed step with its task."""

    claim: Claim
    task: CachedTask
    node: int  #: the template's node that it is
    spec: StepSpec
    given_at: float | None = None
    """Time at which the step was handed to its worker, in seconds since 1970; None means now."""

    completion_url: str | None = None

    @classmethod
    def for_claim(cls, claim: Claim, task: CachedTask) -> "ServedStep":
        """Return a step that is handed to its worker now."""
        node = claim.no if task.instance is None else task.instance.node
        return cls(claim, task, node, task.compiled.step_spec(node))

    @property
    def name(self) -> str:
        """The name of the step. The name of an instance includes its number."""
        instance = self.task.instance
        return self.spec.name if instance is None else instance.name

    @property
    def ran_for(self) -> timedelta:
        """Time since it was handed to its worker."""
        since = 0.0 if self.given_at is None else time.time() - self.given_at
        return timedelta(seconds=max(since, 0.0))


def issue_tickets_and_serialize_steps(
    worker: RegisteredWorker, steps: Iterable[ServedStep], tickets: TicketSigner
) -> list[dict[str, Any]]:
    """Give a worker tickets for claimed steps; return the steps as JSON objects with their tickets.

    Payloads are omitted when they are too large for one response.
    """
    left, now = PAYLOAD, time.time()
    served: list[dict[str, Any]] = []
    for step in steps:
        claim, given, name = step.claim, step.task.input, step.name
        assigned = worker.handler_assignment_of_node(_require_remote_template(step.task), step.node)
        payload, size = _build_and_measure_payload(step, assigned)
        left -= size
        plain = claim._replace(checkpoint=None) if claim.checkpoint else claim
        ticket = Ticket(plain, given.template_id, step.node, worker.id, now)
        text = tickets.sign(ticket)
        worker.given[text] = ticket
        served.append(
            {
                **assigned.fields,
                "ticket": text,
                "task_id": claim.task_id,
                "step": name,
                "attempt": claim.attempt,
                "counted_attempts": claim.counted_attempts,
                "idempotency_key": f"{claim.task_id}:{name}",
                "correlation_id": given.correlation_id,
                "parent_id": given.parent_id,
                "traceparent": given.trace,
                "priority": given.priority,
                "completion_url": step.completion_url,
                "no": claim.no,
                "template_id": given.template_id,
                "queued_s": claim.queued,
                **_serialize_instance_position(step.task.instance),
                **(payload if left >= 0 or not served else {"payload": True}),
            }
        )
    return served


def build_payload(worker: RegisteredWorker, step: ServedStep) -> dict[str, Any]:
    """Return the values that a handler reads."""
    return _build_and_measure_payload(
        step, worker.handler_assignment_of_node(_require_remote_template(step.task), step.node)
    )[0]


def _build_and_measure_payload(
    step: ServedStep, assigned: HandlerAssignment
) -> tuple[dict[str, Any], int]:
    """Return the values that a handler reads, and their size in bytes."""
    task, checkpoint = step.task, step.claim.checkpoint
    context, known, missed = task.input.context, task.known, task.missed
    size = len(context) + len(checkpoint or "")
    results = {}
    for name, no in assigned.readable:
        if known >> no & 1 or no in missed:
            text = task.results.get(no)
            size += len(text or "")
            results[name] = _json_fragment(text)
    errors = task.failed_step_errors() if missed else {}
    failures = {name: _json_fragment(errors[no]) for name, no in assigned.readable if no in errors}
    return {
        "context": _json_fragment(context),
        "config": assigned.config,
        "results": results,
        "failures": failures,
        "checkpoint": _json_fragment(checkpoint),
        "items": _build_instance_inputs(step),
    }, size


def _build_instance_inputs(step: ServedStep) -> Mapping[str, orjson.Fragment]:
    """Return the inputs of an instance; the element of the innermost map is also its `item`."""
    if step.task.instance is None:
        return {}
    items = {name: _json_fragment(text) for name, text in step.task.instance.items.items()}
    layout = step.task.compiled.graph.layout
    scope = 0 if "item" in items else layout.spawner_around(step.node)
    while scope:
        spawning = layout.bodies[scope].spawning
        if isinstance(spawning, Map) and spawning.item in items:
            return {**items, "item": items[spawning.item]}
        scope = layout.spawner_around(scope)
    return items


def _serialize_instance_position(instance: InstanceInput | None) -> dict[str, Any]:
    """Return the number of an instance and its surroundings, for SDKs that read the template."""
    if instance is None:
        return _NO_INSTANCE
    surroundings = {
        "node": instance.node,
        "spawned_by": instance.spawned_by,
        "offsets": {str(scope): offset for scope, offset in instance.offsets.items()},
    }
    return {"instance": instance.instance, "surroundings": surroundings}


def _require_remote_template(task: CachedTask) -> RemoteTemplate:
    template = task.compiled
    if not isinstance(template, RemoteTemplate):
        raise TypeError(f"expected a RemoteTemplate, found {template!r}")
    return template


def _json_fragment(text: str | None) -> orjson.Fragment:
    return _NULL if text is None else orjson.Fragment(text)

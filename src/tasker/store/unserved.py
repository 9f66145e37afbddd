"""Explains why no live worker can run a step."""

from collections.abc import Sequence

from tasker.model import HTTP_HANDLER, NO_HTTP_WORKER, Queue, WorkerInfo, WorkerRequirement
from tasker.plurals import pluralize


def explain_unserved_queue(queue: Queue, workers: Sequence[WorkerInfo]) -> str:
    """Return what live workers lack to serve a queue: the handler, its version, a label, a binding.

    Args:
        queue: A queue that no live worker serves.
        workers: All workers; those that are not alive are ignored.
    """
    requirement = WorkerRequirement.parse(queue.requirement)
    labels = dict(requirement.labels)
    having = [worker for worker in workers if worker.alive and _has_handler(worker, queue.handler)]
    if queue.handler == HTTP_HANDLER and not having:
        return f"no live worker runs http steps: {NO_HTTP_WORKER}"
    if not having:
        return f"no live worker has handler {queue.handler!r}"
    if not any(labels.items() <= worker.process.labels.items() for worker in having):
        shown = ", ".join(f"{name}={value}" for name, value in requirement.labels)
        what = pluralize("label", len(labels))
        return f"no live worker with handler {queue.handler!r} has the required {what} {shown}"
    if requirement.version:
        return f"no live worker has handler {queue.handler!r} at version {requirement.version}"
    return (
        f"no live worker with handler {queue.handler!r} binds it to namespace {queue.namespace!r}"
    )


def _has_handler(worker: WorkerInfo, handler: str) -> bool:
    """Whether a worker has a handler, under its full name or the last part of it."""
    if handler == HTTP_HANDLER:
        return handler in worker.handlers
    names = {name.rpartition(".")[2] for name in worker.handlers}
    return handler.rpartition(".")[2] in names

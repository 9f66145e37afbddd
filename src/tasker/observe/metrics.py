"""Counters and durations for Prometheus, from events and requests.

Labels are names of namespaces, templates, steps and routes, never ids; and there are at
most some thousand values of each, whatever is registered: what comes later is `other`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tasker.events import (
    AttemptStopped,
    Event,
    LoopBlocked,
    SettleRefused,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.model import Task, TemplateName

if TYPE_CHECKING:
    from tasker.model import WorkerInfo

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_VALUES = 2_000  #: of one label
_OTHER = "other"
_STEP = ("namespace", "template", "step")
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)
_HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._values: dict[str, set[str]] = {}
        on = self.registry
        self.created = Counter(
            "tasker_tasks_created_total",
            "Tasks that this process created.",
            ("namespace", "template"),
            registry=on,
        )
        self.ended = Counter(
            "tasker_tasks_ended_total",
            "Tasks that ended by what this process settled.",
            ("state",),
            registry=on,
        )
        self.attempts = Counter(
            "tasker_attempts_total",
            "Attempts that this process ran to their end.",
            (*_STEP, "outcome"),
            registry=on,
        )
        self.attempt_seconds = Histogram(
            "tasker_attempt_duration_seconds",
            "How long attempts ran.",
            _STEP,
            buckets=_SECONDS,
            registry=on,
        )
        self.running = Gauge(
            "tasker_attempts_running", "Attempts that run in this process.", registry=on
        )
        self.refused = Counter(
            "tasker_settlements_refused_total",
            "Attempts that ended when they were no longer this worker's.",
            registry=on,
        )
        self.blocked = Counter(
            "tasker_loop_blocked_seconds_total",
            "How long handlers held up the event loop.",
            registry=on,
        )
        self.requests = Counter(
            "tasker_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=on,
        )
        self.request_seconds = Histogram(
            "tasker_http_request_duration_seconds",
            "How long requests took.",
            ("method", "route"),
            buckets=_HTTP_SECONDS,
            registry=on,
        )
        self.steps = Gauge(
            "tasker_queue_steps",
            "Steps in the store, by what they wait for.",
            ("state",),
            registry=on,
        )
        self.steps_without_worker = Gauge(
            "tasker_steps_without_worker",
            "Due steps that no live worker can run.",
            registry=on,
        )
        self.workers = Gauge("tasker_workers", "Workers whose lease holds.", registry=on)
        self.slots = Gauge(
            "tasker_worker_slots", "Slots of all workers, by use.", ("use",), registry=on
        )

    def observe(self, event: Event) -> None:
        """Count an event; for `Worker(observers=...)`."""
        if isinstance(event, StepStarted):
            self.running.inc()
        elif isinstance(event, StepSettled):
            labels = self._step(event.template, event.step)
            self.running.dec()
            self.attempts.labels(*labels, event.outcome.value).inc()
            self.attempt_seconds.labels(*labels).observe(event.ran_for.total_seconds())
        elif isinstance(event, StepWaiting):
            self.running.dec()
            self.attempts.labels(*self._step(event.template, event.step), "parked").inc()
        elif isinstance(event, AttemptStopped):
            self.running.dec()
        elif isinstance(event, SettleRefused):
            self.running.dec()
            self.refused.inc()
        elif isinstance(event, TaskEnded):
            self.ended.labels(event.status.value).inc()
        elif isinstance(event, LoopBlocked):
            self.blocked.inc(event.blocked_for.total_seconds())

    def tasks_created(self, tasks: Iterable[Task]) -> None:
        """Count tasks, where they are new."""
        for task in tasks:
            if task.created:
                namespace, name, _ = task.template
                self.created.labels(
                    self._bounded("namespace", namespace), self._bounded("template", name)
                ).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def store(self, *, due: int, scheduled: int, running: int, no_worker: int) -> None:
        """Take over what a store says of its steps."""
        for state, count in (("due", due), ("scheduled", scheduled), ("running", running)):
            self.steps.labels(state).set(count)
        self.steps_without_worker.set(no_worker)

    def workforce(self, workers: Iterable["WorkerInfo"]) -> None:
        """Take over what a store says of its workers."""
        alive = [worker for worker in workers if worker.alive]
        self.workers.set(len(alive))
        running = sum(worker.running for worker in alive)
        self.slots.labels("busy").set(running)
        self.slots.labels("free").set(max(sum(worker.slots for worker in alive) - running, 0))

    def text(self) -> bytes:
        """Write all metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _step(self, template: TemplateName, step: str) -> tuple[str, str, str]:
        return (
            self._bounded("namespace", template.namespace),
            self._bounded("template", template.name),
            self._bounded("step", step),
        )

    def _bounded(self, label: str, value: str) -> str:
        known = self._values.setdefault(label, set())
        if value in known:
            return value
        if len(known) >= MOST_VALUES:
            return _OTHER
        known.add(value)
        return value

"""Prometheus counters and histograms, fed by notices and requests.

Labels are names of namespaces, templates, steps, handlers and routes, never ids. Each label has at
most 2,000 values; further values are reported as `other`.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from tasker.model import AttemptOutcome, Task, TaskStatus, TemplateName
from tasker.notices import (
    AttemptLost,
    AttemptStopped,
    EventLoopBlocked,
    Notice,
    SettlementRejected,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
    TickHandled,
)
from tasker.times import StepPhase, phase_durations_in_notice

if TYPE_CHECKING:
    from tasker.analytics.model import HandlerBacklog, OldestSnapshot
    from tasker.events import Subscription
    from tasker.model import WorkerInfo

M = TypeVar("M", Counter, "BatchHistogram")

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series `_created` beside each counter and histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED = "PROMETHEUS_MULTIPROC_DIR"  #: variable that names the directory of merged metrics
MOST_VALUES = 2_000  #: maximum number of values of one label
_MOST_SERIES = 10 * MOST_VALUES  #: that are found without their labels
_OTHER = "other"
_UNKNOWN = "unknown"
_TASK = ("namespace", "template")
_STEP = (*_TASK, "step")
_PHASES = {phase: phase.name.lower() for phase in StepPhase}
_SCHEDULE = ("namespace", "schedule")
_SNAPSHOT = ("kind", "name", "user")
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)
_TASK_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600, 21_600, 86_400, 604_800)
_HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def remove_process_gauges(pid: int, directory: str) -> None:
    """Remove an ended process's gauges from merged metrics; its counters remain.

    Args:
        pid: The id of the process.
        directory: The directory of the merged metrics.
    """
    mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]


class BatchHistogram(Histogram):
    """A histogram to which many values can be added at once."""

    def observe_all(self, values: Sequence[float]) -> None:
        """Observe values; this takes less time than observing one after the other."""
        counts: dict[int, int] = {}
        for value in values:
            place = bisect_left(self._upper_bounds, value)
            counts[place] = counts.get(place, 0) + 1
        self._sum.inc(sum(values))
        for place, count in counts.items():
            self._buckets[place].inc(count)


class StoreGauge(Collector):
    """A gauge of the store, set as a whole.

    It is never merged with those of other processes: all of them read the same store, and the
    latest value is correct.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def set_value(self, value: float) -> None:
        """Set the value of a gauge without labels."""
        self._values = {(): value}

    def set_labelled_values(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Set the values by labels; other labels have none from now on."""
        self._values = values

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._values: dict[str, set[str]] = {}
        # The series of frequent labels, because looking them up takes longer than counting.
        self._requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._series: dict[tuple[Any, ...], Any] = {}  # by metric, template, step and last label
        on = self.registry
        self.created = Counter(
            "tasker_tasks_created_total",
            "Tasks that this process created.",
            _TASK,
            registry=on,
        )
        self.ended = Counter(
            "tasker_tasks_ended_total",
            "Tasks whose last step this process settled.",
            (*_TASK, "status"),
            registry=on,
        )
        self.task_seconds = BatchHistogram(
            "tasker_task_duration_seconds",
            "Time from a task's creation to its end, including delays and waits.",
            _TASK,
            buckets=_TASK_SECONDS,
            registry=on,
        )
        self.attempts = Counter(
            "tasker_attempts_total",
            "Attempts that ended in this process, and those it settled for remote or lost workers.",
            (*_STEP, "outcome"),
            registry=on,
        )
        self.attempt_seconds = BatchHistogram(
            "tasker_attempt_duration_seconds",
            "Run time of attempts.",
            _STEP,
            buckets=_SECONDS,
            registry=on,
        )
        self.queued_seconds = BatchHistogram(
            "tasker_attempt_queued_seconds",
            "Time from an attempt's due time to its claim.",
            _TASK,
            buckets=_SECONDS,
            registry=on,
        )
        self.step_seconds = Counter(
            "tasker_step_seconds_total",
            "Time that steps spent queued, running, in backoff or parked.",
            (*_TASK, "kind"),
            registry=on,
        )
        self.running = Gauge(
            "tasker_attempts_running",
            "Attempts that are running in this process.",
            registry=on,
            multiprocess_mode="livesum",
        )
        self.rejected = Counter(
            "tasker_settlements_rejected_total",
            "Attempts whose outcomes were rejected because they no longer held their steps.",
            registry=on,
        )
        self.blocked = Counter(
            "tasker_loop_blocked_seconds_total",
            "Time during which handlers blocked the event loop.",
            registry=on,
        )
        self.ticks = Counter(
            "tasker_schedule_ticks_total",
            "Schedule ticks that this process handled; consecutive missed ticks count as one.",
            (*_SCHEDULE, "outcome"),
            registry=on,
        )
        self.tick_seconds = Histogram(
            "tasker_schedule_delay_seconds",
            "Time from a tick to the creation of its task.",
            _SCHEDULE,
            buckets=_TASK_SECONDS,
            registry=on,
        )
        self.requests = Counter(
            "tasker_http_requests_total",
            "Answered requests.",
            ("method", "route", "status"),
            registry=on,
        )
        self.request_seconds = Histogram(
            "tasker_http_request_duration_seconds",
            "Time from request to response.",
            ("method", "route"),
            buckets=_HTTP_SECONDS,
            registry=on,
        )
        self._store = CollectorRegistry()
        self.steps = StoreGauge(
            "tasker_queue_steps",
            "Due, scheduled, running and paused steps in the store; each count stops at 100,000.",
            ("namespace", "handler", "state"),
            registry=self._store,
        )
        self.steps_without_worker = StoreGauge(
            "tasker_steps_without_worker",
            "Due steps that no live worker can run.",
            registry=self._store,
        )
        self.workers = StoreGauge(
            "tasker_workers", "Workers whose lease has not expired.", registry=self._store
        )
        self.slots = StoreGauge(
            "tasker_worker_slots",
            "Busy and free slots of all workers.",
            ("use",),
            registry=self._store,
        )
        self.deliveries = StoreGauge(
            "tasker_event_deliveries",
            "Pending and dead deliveries to a webhook or subscriber.",
            ("namespace", "subscription", "status"),
            registry=self._store,
        )
        self.delivery_seconds = StoreGauge(
            "tasker_oldest_event_delivery_seconds",
            "Age of the oldest event with a pending delivery. No value if no delivery is pending.",
            ("namespace", "subscription"),
            registry=self._store,
        )
        self.snapshot_seconds = StoreGauge(
            "tasker_oldest_snapshot_seconds",
            "Age of the oldest open snapshot in PostgreSQL, by holder. No value if it is unknown.",
            _SNAPSHOT,
            registry=self._store,
        )
        self.snapshot_transactions = StoreGauge(
            "tasker_oldest_snapshot_transactions",
            "Transactions that began after the oldest open snapshot in PostgreSQL, by holder.",
            _SNAPSHOT,
            registry=self._store,
        )

    def count_notice(self, notice: Notice) -> None:
        """Count a notice; for `Worker(observers=...)`."""
        self.count_notices((notice,))

    def count_notices(self, notices: Sequence[Notice]) -> None:
        """Count notices; those with the same labels are counted together."""
        queued: dict[TemplateName, list[float]] = {}
        ran: dict[tuple[TemplateName, str, AttemptOutcome], list[float]] = {}
        ended: dict[tuple[TemplateName | None, TaskStatus], list[float | None]] = {}
        running = 0
        for notice in notices:
            if isinstance(notice, StepStarted):
                queued.setdefault(notice.template, []).append(notice.queued_for.total_seconds())
                running += not notice.is_remote
                if notice.parked_for:
                    parked = notice.parked_for.total_seconds()
                    self._add_phase_seconds(StepPhase.PARKED, notice.template, [parked])
            elif isinstance(notice, StepSettled):
                labels = notice.template, notice.step, notice.outcome
                ran.setdefault(labels, []).append(notice.ran_for.total_seconds())
                running -= not notice.is_remote
                if notice.delay:
                    delay = notice.delay.total_seconds()
                    self._add_phase_seconds(StepPhase.BACKOFF, notice.template, [delay])
            elif isinstance(notice, TaskEnded):
                took = None if notice.took is None else notice.took.total_seconds()
                ended.setdefault((notice.template, notice.status), []).append(took)
            else:
                self._count_ungrouped_notice(notice)
        for template, seconds in queued.items():
            self._add_phase_seconds(StepPhase.QUEUED, template, seconds)
            self._get_or_create_series(self.queued_seconds, template).observe_all(seconds)
        for (template, step, outcome), seconds in ran.items():
            self._get_or_create_series(self.attempts, template, step, outcome.value).inc(
                len(seconds)
            )
            self._add_phase_seconds(StepPhase.RAN, template, seconds)
            self._get_or_create_series(self.attempt_seconds, template, step).observe_all(seconds)
        for (of, status), times in ended.items():
            self._get_or_create_series(self.ended, of, last=status.value).inc(len(times))
            if known := [took for took in times if took is not None]:
                self._get_or_create_series(self.task_seconds, of).observe_all(known)
        if running:
            self.running.inc(running)

    def _add_phase_seconds(
        self, phase: StepPhase, template: TemplateName, seconds: Sequence[float]
    ) -> None:
        series = self._get_or_create_series(self.step_seconds, template, last=_PHASES[phase])
        series.inc(sum(each for each in seconds if each > 0.0))

    def _count_ungrouped_notice(self, notice: Notice) -> None:
        for phase, template, seconds in phase_durations_in_notice(notice):
            self._add_phase_seconds(phase, template, [seconds])
        if isinstance(notice, StepWaiting):
            self.running.dec(not notice.is_remote)
            self._get_or_create_series(self.attempts, notice.template, notice.step, "parked").inc()
        elif isinstance(notice, AttemptLost):
            lost = AttemptOutcome.LOST.value
            self._get_or_create_series(self.attempts, notice.template, notice.step, lost).inc()
        elif isinstance(notice, AttemptStopped):
            self.running.dec()
        elif isinstance(notice, SettlementRejected):
            self.running.dec()
            self.rejected.inc()
        elif isinstance(notice, EventLoopBlocked):
            self.blocked.inc(notice.blocked_for.total_seconds())
        elif isinstance(notice, TickHandled):
            schedule = (
                self._label_value_or_other("namespace", notice.namespace),
                self._label_value_or_other("schedule", notice.schedule),
            )
            self.ticks.labels(*schedule, notice.outcome).inc()
            if notice.outcome == "created":
                late = max(notice.late_by.total_seconds(), 0.0)
                self.tick_seconds.labels(*schedule).observe(late)

    def count_created_tasks(self, tasks: Iterable[Task]) -> None:
        """Count the new ones among tasks."""
        for task in tasks:
            if task.created:
                self._get_or_create_series(self.created, task.template).inc()

    def _get_or_create_series(
        self, metric: M, template: TemplateName | None, step: str | None = None, last: str = ""
    ) -> M:
        """Return a metric's series of a template or step; `last` is the value of its last label."""
        key = (metric, template, step, last)
        series: M | None = self._series.get(key)
        if series is None:
            labels: tuple[str, ...] = self._template_label_values(template)
            if step is not None:
                labels += (self._label_value_or_other("step", step),)
            series = metric.labels(*labels, last) if last else metric.labels(*labels)
            if len(self._series) < _MOST_SERIES:
                self._series[key] = series
        return series

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a completed request of the HTTP API, and observe its duration."""
        key = (method, route, status)
        series = self._requests.get(key)
        if series is None:
            count = self.requests.labels(method, route, str(status))
            series = self._requests[key] = (count, self.request_seconds.labels(method, route))
        series[0].inc()
        series[1].observe(seconds)

    def set_backlog_gauges(self, backlog: Iterable["HandlerBacklog"]) -> None:
        """Set the numbers of steps that are due, scheduled, running and paused, by handler."""
        steps: Counts[tuple[str, ...]] = Counts()
        for one in backlog:
            labels = (
                self._label_value_or_other("namespace", one.namespace),
                self._label_value_or_other("handler", one.handler),
            )
            for state in ("due", "scheduled", "running", "paused"):
                steps[*labels, state] += getattr(one, state)  # `other` is a sum
        self.steps.set_labelled_values(steps)

    def set_worker_gauges(self, workers: Iterable["WorkerInfo"]) -> None:
        """Set the numbers of live workers, and of their busy and free slots."""
        alive = [worker for worker in workers if worker.alive]
        running = sum(worker.running for worker in alive)
        free = max(sum(worker.slots for worker in alive) - running, 0)
        self.workers.set_value(len(alive))
        self.slots.set_labelled_values({("busy",): running, ("free",): free})

    def set_delivery_gauges(self, subscriptions: Iterable["Subscription"], now: datetime) -> None:
        """Set the numbers of pending and dead deliveries, and the age of the oldest pending one."""
        counts: Counts[tuple[str, ...]] = Counts()
        oldest: dict[tuple[str, ...], float] = {}
        for one in subscriptions:
            labels = (
                self._label_value_or_other("namespace", one.namespace),
                self._label_value_or_other("subscription", one.name),
            )
            counts[*labels, "pending"] += one.pending
            counts[*labels, "dead"] += one.dead
            if one.oldest_pending is not None:
                age = max((now - one.oldest_pending).total_seconds(), 0.0)
                oldest[labels] = max(age, oldest.get(labels, 0.0))
        self.deliveries.set_labelled_values(counts)
        self.delivery_seconds.set_labelled_values(oldest)

    def set_oldest_snapshot_gauges(self, oldest: "OldestSnapshot | None") -> None:
        """Set the age of the store's oldest snapshot, in seconds and in transactions."""
        seconds: dict[tuple[str, ...], float] = {}
        transactions: dict[tuple[str, ...], float] = {}
        if oldest is not None:
            holder = oldest.kind, oldest.name, oldest.user
            transactions[holder] = oldest.transactions
            if oldest.age_seconds is not None:
                seconds[holder] = oldest.age_seconds
        self.snapshot_seconds.set_labelled_values(seconds)
        self.snapshot_transactions.set_labelled_values(transactions)

    def render_text(self) -> bytes:
        """Return all metrics in the Prometheus text format.

        If `PROMETHEUS_MULTIPROC_DIR` is set, the metrics of all processes that share this directory
        are added up.
        """
        return generate_latest(self._merge_process_metrics()) + generate_latest(self._store)

    def _merge_process_metrics(self) -> CollectorRegistry:
        directory = os.environ.get(SHARED)
        if directory is None:
            return self.registry
        merged = CollectorRegistry()
        MultiProcessCollector(merged, directory)  # type: ignore[no-untyped-call]
        return merged

    def _template_label_values(self, template: TemplateName | None) -> tuple[str, str]:
        if template is None:
            return _UNKNOWN, _UNKNOWN
        return (
            self._label_value_or_other("namespace", template.namespace),
            self._label_value_or_other("template", template.name),
        )

    def _label_value_or_other(self, label: str, value: str) -> str:
        known = self._values.setdefault(label, set())
        if value in known:
            return value
        if len(known) >= MOST_VALUES:
            return _OTHER
        known.add(value)
        return value

"""Statistics on recent work, read from a snapshot with a bounded number of rows."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tasker import codec
from tasker.analytics import compute
from tasker.analytics.compute import BottleneckInputs, ResolvedWindow, WindowCounts
from tasker.analytics.failures import FailedStep, FailureMute, FailureTriage, FailureTriageChange
from tasker.analytics.figures import FIGURES_KEPT, MERGED_AFTER, IntervalFigures, MinuteFigures
from tasker.analytics.model import (
    MOST_ATTEMPTS,
    MOST_STEP_KINDS,
    MOST_TASKS,
    USUAL_SEEN,
    USUAL_STEPS,
    USUAL_TASKS,
    AnalysisWindow,
    Bottlenecks,
    HandlerBacklog,
    Performance,
    RetryStatistics,
    StoreLoad,
    UsualDurations,
    make_usual_durations,
)
from tasker.model import StoredTemplate, TaskId
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.operations.templates import find_template_ids
from tasker.store.protocol import AuditNote
from tasker.store.session import Session, T, Transaction, TransactionalStore

_CAUGHT_UP = 60  #: minutes that are counted after an outage
_SETTLES = 10  #: seconds after the end of a minute in which its tasks may still be committed


class RowLimits(NamedTuple):
    """Maximum numbers of rows that one analysis reads."""

    tasks: int
    attempts: int


class Analytics(TransactionalStore):
    """Implements `tasker.store.protocol.AnalyticsStore`."""

    MERGES_APART = False  #: whether merged rows are deleted by a statement of their own

    async def list_failed_steps(
        self, window: AnalysisWindow, *, limit: int = 1000
    ) -> list[FailedStep]:
        async def read_failed_steps(tx: Session) -> list[FailedStep]:
            period = await _resolve_window(tx, window)
            rows = await tx.fetch_all(
                "list_failed_steps",
                templates=period.templates,
                since=period.lowest_task_id,
                limit=limit,
            )
            return [tx.read.parse_failed_step(row) for row in rows]

        return await self._in_read_transaction(read_failed_steps)

    async def usual_durations(self, stored: StoredTemplate) -> UsualDurations:
        names = [spec.name for spec in stored.template.steps]
        each = max(len(names), USUAL_STEPS // USUAL_TASKS)
        rows = await self._fetch_all(
            "sample_durations",
            template_id=stored.id,
            seen=USUAL_SEEN,
            tasks=max(1, min(USUAL_TASKS, USUAL_STEPS // each)),
            steps=each,
        )
        return make_usual_durations(((row["node"], row["seconds"]) for row in rows), names)

    async def list_failure_triage(self, fingerprints: Sequence[str]) -> list[FailureTriage]:
        async def read_failure_triage(tx: Session) -> list[FailureTriage]:
            rows = await tx.fetch_all("list_failure_triage", fingerprints=list(fingerprints))
            return [tx.read.parse_failure_triage(row) for row in rows]

        return await self._in_read_transaction(read_failure_triage)

    async def change_failure_triage(
        self, namespace: str, fingerprint: str, change: FailureTriageChange, act: AuditNote
    ) -> FailureTriage:
        mute = change.mute or FailureMute()

        async def update_and_audit_triage(tx: Session) -> FailureTriage:
            rows = await tx.fetch_all("list_failure_triage", fingerprints=[fingerprint])
            given = [tx.read.parse_failure_triage(row) for row in rows]
            before = next((each for each in given if each.namespace == namespace), None)
            (row,) = await tx.fetch_all(
                "change_failure_triage",
                fingerprint=fingerprint,
                namespace=namespace,
                assignee=change.assignee,
                note=change.note,
                mutes=change.mute is not None,
                muted_until=mute.until,
                muted_below=mute.below,
                actor=act.actor,
            )
            stored = tx.read.parse_failure_triage(row)
            old = None if before is None else _failure_triage_document(before)
            new, subject = _failure_triage_document(stored), f"failure {fingerprint}"
            action = "change_failure_triage"
            await add_team_audit_entry(tx, act, action, subject, old, new, namespace=namespace)
            return stored

        return await self._in_write_transaction(update_and_audit_triage)

    async def performance(self, window: AnalysisWindow) -> Performance:
        bounds = self._row_limits()

        async def compute_performance(tx: Session) -> Performance:
            period = await _resolve_window(tx, window)
            return compute.compute_performance(
                period, await _read_window_counts(tx, period, bounds)
            )

        return await self._run_analysis(compute_performance)

    async def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        bounds = self._row_limits()

        async def compute_bottlenecks(tx: Session) -> Bottlenecks:
            period = await _resolve_window(tx, window)
            counted = await _read_window_counts(tx, period, bounds)
            findings = await self._read_bottleneck_rows(tx, period, limit, min_executions)
            return compute.compute_bottlenecks(period, counted, findings, limit)

        return await self._run_analysis(compute_bottlenecks)

    async def insert_minute_figures(self, figures: Sequence[MinuteFigures]) -> None:
        await self._execute_in_transaction(
            "insert_minute_figures", rows=codec.dumps([row._asdict() for row in figures])
        )

    async def maintain_minute_figures(self) -> None:
        async def maintain_minute_figures(tx: Session) -> None:
            now = int(tx.now.timestamp()) // 60
            (row,) = await tx.fetch_all("last_counted_minute")
            begin = now - 1 if row["minute"] is None else max(row["minute"] + 1, now - _CAUGHT_UP)
            for minute in range(begin, now - (tx.now.second < _SETTLES)):
                if await tx.fetch_all("mark_minute_counted", minute=minute):
                    first, last = (_first_task_id_of_minute(one) for one in (minute, minute + 1))
                    await tx.fetch_all(
                        "record_created_task_counts", minute=minute, first=first, last=last
                    )
            before = now - MERGED_AFTER
            await tx.fetch_all("merge_minute_figures", before=before)
            if self.MERGES_APART:
                await tx.fetch_all("delete_merged_minute_figures", before=before)
            oldest = now - int(FIGURES_KEPT.total_seconds()) // 60
            await tx.fetch_all("prune_minute_figures", before=oldest)

        await self._in_write_transaction(maintain_minute_figures)

    async def list_minute_figures(
        self, window: AnalysisWindow, *, step_seconds: int
    ) -> list[IntervalFigures]:
        async def read_minute_figures(tx: Session) -> list[IntervalFigures]:
            period = await _resolve_window(tx, window)
            rows = await tx.fetch_all(
                "list_minute_figures",
                minutes=step_seconds // 60,
                since=int(tx.now.timestamp() - window.hours * 3600) // 60,
                templates=period.templates,
            )
            return [
                IntervalFigures(*(row[field] for field in IntervalFigures._fields)) for row in rows
            ]

        return await self._in_read_transaction(read_minute_figures)

    async def count_backlog(self) -> StoreLoad:
        return await self._run_analysis(self._read_backlog_counts)

    async def count_backlog_by_queue(self) -> list[HandlerBacklog]:
        async def count_backlog_by_queue(tx: Session) -> list[HandlerBacklog]:
            rows = await tx.fetch_all("count_backlog_by_queue", most=self._row_limits().attempts)
            return [
                HandlerBacklog(*(row[field] for field in HandlerBacklog._fields)) for row in rows
            ]

        return await self._run_analysis(count_backlog_by_queue)

    @abstractmethod
    async def _run_analysis(self, transaction: Transaction[T]) -> T:
        """Run one analysis at a time on a snapshot, with a time limit.

        Raises: StoreUnavailable (the time limit was exceeded).
        """

    @abstractmethod
    def _connection_pool_utilization(self) -> float:
        """Return the share of connections in use, excluding the caller's."""

    def _row_limits(self) -> RowLimits:
        return RowLimits(MOST_TASKS, MOST_ATTEMPTS)

    async def _read_bottleneck_rows(
        self, tx: Session, period: ResolvedWindow, limit: int, min_executions: int
    ) -> BottleneckInputs:
        bounds = self._row_limits()
        tasks = _sample_parameters(period, bounds)
        attempts = {**tasks, "most_attempts": bounds.attempts}
        steps = await tx.fetch_all(
            "step_statistics",
            min_executions=min_executions,
            most_kinds=MOST_STEP_KINDS,
            **attempts,
        )
        slow = await tx.fetch_all(
            "slowest_templates", min_executions=min_executions, limit=limit, **tasks
        )
        patterns = await tx.fetch_all("error_patterns", limit=limit, **attempts)
        (retries,) = await tx.fetch_all("retry_statistics", **attempts)
        waited = await tx.fetch_all(
            "blocking_steps", most_steps=bounds.attempts, limit=limit, **tasks
        )
        return BottleneckInputs(
            [compute.step_figures_from_row(row, tx.read.instant) for row in steps],
            [compute.task_figures_from_row(row, tx.read.instant) for row in slow],
            [compute.error_pattern_from_row(row, tx.read.instant) for row in patterns],
            RetryStatistics(
                retried_steps=retries["retried"],
                succeeded=retries["succeeded"],
                failed=retries["failed"],
            ),
            [compute.blocking_step_from_row(row) for row in waited],
            await self._read_backlog_counts(tx),
        )

    async def _read_backlog_counts(self, tx: Session) -> StoreLoad:
        (backlog,) = await tx.fetch_all("count_backlog", most=self._row_limits().attempts)
        return StoreLoad(
            database_pool_utilization=self._connection_pool_utilization(),
            due_steps=backlog["due"],
            scheduled_steps=backlog["scheduled"],
            running_steps=backlog["running"],
            steps_without_worker=backlog["without_worker"],
        )


def _failure_triage_document(triage: FailureTriage) -> dict[str, Any]:
    """Return the form in which the audit log stores it."""
    until = None if triage.muted_until is None else triage.muted_until.isoformat()
    return {
        "assignee": triage.assignee,
        "note": triage.note,
        "muted_until": until,
        "muted_below": triage.muted_below,
    }


def _first_task_id_of_minute(minute: int) -> TaskId:
    return TaskId(codec.lowest_task_id_at(datetime.fromtimestamp(minute * 60, UTC)))


async def _resolve_window(tx: Session, window: AnalysisWindow) -> ResolvedWindow:
    if window.is_unfiltered:
        return ResolvedWindow(window, tx.now, None)
    templates = await find_template_ids(
        tx, window.namespace, window.name, window.version, visible=window.visible
    )
    return ResolvedWindow(window, tx.now, templates)


def _sample_parameters(period: ResolvedWindow, bounds: RowLimits) -> dict[str, Any]:
    return {"since": period.lowest_task_id, "templates": period.templates, "most": bounds.tasks}


async def _read_window_counts(
    tx: Session, period: ResolvedWindow, bounds: RowLimits
) -> WindowCounts:
    sample = _sample_parameters(period, bounds)
    (tasks,) = await tx.fetch_all(
        "task_statistics", last_hour=period.lowest_task_id_of_last_hour, **sample
    )
    (attempts,) = await tx.fetch_all("attempt_statistics", most_attempts=bounds.attempts, **sample)
    start = period.counted_period_start(tasks["oldest"], counted=tasks["total"], most=bounds.tasks)
    attempt_start = period.counted_period_start(
        attempts["oldest"], counted=attempts["total"], most=bounds.attempts
    )
    return WindowCounts(tasks, start, attempts, max(start, attempt_start))

"""Counts what this worker did, by minute and template, and appends the figures to the store."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from tasker import codec
from tasker.analytics.figures import MinuteFigures
from tasker.engine.running import FinishedAttempt
from tasker.engine.task_cache import CachedTask
from tasker.model import OutcomeCode, TaskEnd, TaskId, TaskStatus
from tasker.store.protocol import Store

_COMPLETED, _FAILED, _CANCELLED, _STEPS, _RETRIES, _SECONDS = range(6)
_ENDS = {
    TaskStatus.COMPLETE: _COMPLETED,
    TaskStatus.ERROR: _FAILED,
    TaskStatus.CANCELLED: _CANCELLED,
}
_KINDS: dict[int, int | None] = {
    code.value: None
    if code in (OutcomeCode.PARKED, OutcomeCode.RELEASED)
    else _RETRIES
    if code in (OutcomeCode.RETRY, OutcomeCode.LOST)
    else _STEPS
    for code in OutcomeCode
}
"""The figure in which each outcome is counted, or None if the outcome is not counted."""


class OutcomeCounter:
    """Counts the outcomes of steps and tasks per minute and template.

    Figures are kept in memory until `write_counts` appends them to the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: dict[tuple[int, int], list[float]] = {}

    def count_settlement(self, batch: Sequence[FinishedAttempt], rejected: Collection[int]) -> None:
        """Count the outcomes of a settlement."""
        minute = int(time.time() // 60)
        last, counted = -1, None
        for index, finished in enumerate(batch):
            kind = _KINDS[finished.outcome.outcome]
            if kind is None or index in rejected:
                continue
            template = finished.running.task.input.template_id
            if counted is None or template != last:
                last, counted = template, self._get_or_add_minute_counts(minute, template)
            counted[kind] += 1

    def count_remote_outcomes(self, outcomes: Iterable[tuple[int, OutcomeCode]]) -> None:
        """Count outcomes of remote workers, given with their template."""
        minute = int(time.time() // 60)
        for (template, outcome), number in Counter(outcomes).items():
            if (kind := _KINDS[outcome]) is not None:
                self._get_or_add_minute_counts(minute, template)[kind] += number

    def count_ended_tasks(
        self, ended: Iterable[TaskEnd], tasks: Mapping[TaskId, CachedTask]
    ) -> None:
        """Count ended tasks whose template is known here."""
        now = time.time()
        for task_id, status in ended:
            task, kind = tasks.get(task_id), _ENDS.get(status)
            if task is None or kind is None:
                continue
            counted = self._get_or_add_minute_counts(int(now // 60), task.input.template_id)
            counted[kind] += 1
            counted[_SECONDS] += max(0.0, now - codec.task_id_timestamp(task_id))

    def _get_or_add_minute_counts(self, minute: int, template: int) -> list[float]:
        key = (minute, template)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = [0, 0, 0, 0, 0, 0.0]
        return counted

    async def write_counts(self) -> None:
        """Append the figures to the store, or keep them for the next call if it is unavailable."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        rows = [
            MinuteFigures(
                minute,
                template,
                completed=int(values[_COMPLETED]),
                failed=int(values[_FAILED]),
                cancelled=int(values[_CANCELLED]),
                steps=int(values[_STEPS]),
                retries=int(values[_RETRIES]),
                seconds=values[_SECONDS],
            )
            for (minute, template), values in counted.items()
        ]
        try:
            await self._store.insert_minute_figures(rows)
        except BaseException:
            for key, values in counted.items():
                later = self._counted.setdefault(key, [0, 0, 0, 0, 0, 0.0])
                later[:] = [a + b for a, b in zip(later, values, strict=True)]
            raise

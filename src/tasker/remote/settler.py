"""Stores the outcomes that remote workers reported and the server decided about."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from tasker.engine.publishing import compute_outcome_and_events
from tasker.errors import Misuse, StoreError, StoreUnavailable, TaskerError
from tasker.model import Claim, NewEvent, Outcome, OutcomeCode, Settlement, SettleResult
from tasker.remote.grouping import GroupSettler
from tasker.remote.outcomes import OutcomeEvaluator
from tasker.remote.registered import RegisteredWorker
from tasker.remote.reporting import RemoteReporter
from tasker.remote.serving import ServedStep
from tasker.remote.steps import StepFinder
from tasker.store.protocol import Store

_WORDS = {
    OutcomeCode.COMPLETE: "complete",
    OutcomeCode.RETRY: "retry",
    OutcomeCode.ERROR: "error",
    OutcomeCode.RELEASED: "released",
    OutcomeCode.PARKED: "parked",
}


class DecidedOutcome(NamedTuple):
    """An outcome to settle: its index among the reported ones, and its step."""

    place: int
    step: ServedStep
    outcome: Outcome


class SettlementReport:
    """The effects of the outcomes that a worker reported, by their indexes."""

    def __init__(self, reported: int) -> None:
        self.words = ["refused"] * reported
        self.problems: dict[str, dict[str, str]] = {}

    def add_problem(self, place: int, error: TaskerError) -> None:
        """Record why the server replaced an outcome."""
        self.problems[str(place)] = {"code": error.code, "detail": str(error)}


class RemoteSettler:
    """Settles decided outcomes of remote workers with their events, and reports them.

    Args:
        store: The store.
        finder: Its caches learn results and ends.
        judge: Decides about outcomes that cannot be stored.
        reporter: Reports the stored outcomes.
        claim_again_in: Called with the seconds until a step is due that an outcome enqueued again.
    """

    def __init__(
        self,
        store: Store,
        finder: StepFinder,
        judge: OutcomeEvaluator,
        reporter: RemoteReporter,
        claim_again_in: Callable[[float], None],
    ) -> None:
        self._claim_again_in = claim_again_in
        self._store = store
        self._groups = GroupSettler(store)
        self._finder = finder
        self._judge = judge
        self._reporter = reporter

    async def settle(
        self,
        worker: RegisteredWorker,
        decided: Sequence[DecidedOutcome],
        most: int,
        consequences: SettlementReport,
    ) -> list[Claim]:
        """Settle outcomes; return up to `most` claims of the steps that they freed.

        Raises: StoreError, StoreUnavailable.
        """
        outcomes, events = _collect_outcomes_and_events(decided)
        try:
            settled = await self._groups.settle(
                Settlement(
                    worker.id,
                    outcomes,
                    most,
                    events,
                    gated=any(each.step.claim.gated for each in decided),
                )
            )
        except StoreUnavailable:
            raise
        except StoreError as error:
            return await self._settle_in_halves(worker, decided, most, error, consequences)
        self._cache_and_report_settlement(worker, decided, outcomes, settled, consequences)
        if settled.ended:
            await self._admit_waiting_tasks(decided, settled)
        return list(settled.claims)

    async def fail_external_step_unless_completed(
        self, worker: RegisteredWorker, failure: DecidedOutcome, consequences: SettlementReport
    ) -> bool:
        """Settle the last failure of an external step; return False if the step was completed.

        Raises: StoreError, StoreUnavailable.
        """
        outcomes, events = _collect_outcomes_and_events([failure])
        settled = await self._store.fail_external_step_unless_completed(outcomes[0], events)
        if settled is None:
            return False
        self._cache_and_report_settlement(worker, [failure], outcomes, settled, consequences)
        await self._admit_waiting_tasks([failure], settled)
        return True

    async def _admit_waiting_tasks(
        self, decided: Sequence[DecidedOutcome], settled: SettleResult
    ) -> None:
        """Start tasks that waited for a place that a settlement freed by ending its task."""
        bounding = {
            each.step.claim.task_id for each in decided if each.step.task.compiled.bounds_open_tasks
        }
        if ended := [task_id for task_id, _ in settled.ended if task_id in bounding]:
            with suppress(StoreUnavailable):  # janitors start them within 2 s
                await self._store.admit_tasks_to_freed_places(ended)

    def _cache_and_report_settlement(
        self,
        worker: RegisteredWorker,
        decided: Sequence[DecidedOutcome],
        outcomes: Sequence[Outcome],
        settled: SettleResult,
        consequences: SettlementReport,
    ) -> None:
        """Record what a settlement did for the response and in the cache, and report it."""
        rejected, cache = set(settled.rejected), self._finder.get_or_add_task_cache(worker)
        for task_id, _ in settled.ended:
            cache.remove_task(task_id)
        stored: list[tuple[ServedStep, Outcome]] = []
        for index, (each, outcome) in enumerate(zip(decided, outcomes, strict=True)):
            if index in rejected:
                continue
            consequences.words[each.place] = _WORDS[outcome.outcome]
            stored.append((each.step, outcome))
            if outcome.outcome is OutcomeCode.COMPLETE:
                cache.add_result(outcome.task_id, outcome.no, outcome.result)
            elif outcome.outcome is not OutcomeCode.ERROR:
                self._claim_again_in(outcome.delay)
        self._reporter.report_settlement(stored)
        if settled.ended:
            tasks = {each.step.claim.task_id: each.step.task for each in decided}
            self._reporter.report_ended_tasks(settled.ended, tasks)

    async def _settle_in_halves(
        self,
        worker: RegisteredWorker,
        decided: Sequence[DecidedOutcome],
        most: int,
        error: StoreError,
        consequences: SettlementReport,
    ) -> list[Claim]:
        """Settle the outcomes in halves, to find the one that cannot be stored."""
        if len(decided) > 1:
            half = len(decided) // 2
            first = await self.settle(worker, decided[:half], most, consequences)
            left = max(0, most - len(first))
            return first + await self.settle(worker, decided[half:], left, consequences)
        [only] = decided
        if only.outcome.outcome is OutcomeCode.ERROR:
            raise error
        rejection = Misuse(f"the outcome could not be stored: {error}")
        consequences.add_problem(only.place, rejection)
        failure = self._judge.build_invalid_outcome_failure(only.step, rejection).outcome
        return await self.settle(worker, [only._replace(outcome=failure)], most, consequences)


def _collect_outcomes_and_events(
    decided: Sequence[DecidedOutcome],
) -> tuple[list[Outcome], list[NewEvent]]:
    """Return the outcomes to settle, and the events that they publish."""
    outcomes: list[Outcome] = []
    events: list[NewEvent] = []
    for index, (_, step, reported) in enumerate(decided):
        outcome, spec = reported, step.spec
        if spec.events:
            task = step.task.input
            outcome, published = compute_outcome_and_events(
                step.claim, spec, reported, task.context
            )
            events += (
                NewEvent(index, task.template_id, spec.name, task.correlation_id, *event, None)
                for event in published
            )
        outcomes.append(outcome)
    return outcomes, events

"""Decides about the outcomes that remote workers report and settles them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasker.durable import DurableCall, DurableCallKind
from tasker.engine.services import HandlerServices
from tasker.engine.settler import park_step_in_store
from tasker.engine.spawning import cancel_siblings_if_fail_fast
from tasker.errors import AttemptCancelled, Misuse, ParkedForTask, ParkedForTime, WaitCycle
from tasker.handlers.external import build_completion_wait
from tasker.model import Claim, ExternalSpec, OutcomeCode, TaskId, released_outcome, sleep_outcome
from tasker.remote import fields
from tasker.remote.attempts import AttemptService
from tasker.remote.claim_responses import ClaimResponseBuilder
from tasker.remote.errors import InvalidRequest, InvalidTicket
from tasker.remote.outcomes import OUTCOMES, EvaluatedOutcome, OutcomeEvaluator
from tasker.remote.registered import RegisteredWorker
from tasker.remote.registration import MOST_SLOTS
from tasker.remote.reporting import RemoteReporter
from tasker.remote.serving import ServedStep
from tasker.remote.settler import DecidedOutcome, RemoteSettler, SettlementReport
from tasker.remote.steps import StepFinder
from tasker.remote.tickets import Ticket
from tasker.remote.waits import evaluate_requested_wait
from tasker.store.protocol import Store

MOST_OUTCOMES = 500


class SettlementService:
    """Settles the outcomes that remote workers report, or parks their steps.

    Args:
        store: The store.
        finder: Finds the steps of tickets.
        settler: Settles the decided outcomes.
        responses: Builds the responses.
        judge: Decides about results and failures.
        attempts: Stores the data that outcomes contain besides their results.
        services: Returns the services that handlers use through their context.
        reporter: Reports steps that wait.
    """

    def __init__(
        self,
        store: Store,
        finder: StepFinder,
        settler: RemoteSettler,
        responses: ClaimResponseBuilder,
        judge: OutcomeEvaluator,
        attempts: AttemptService,
        services: Callable[[], HandlerServices],
        reporter: RemoteReporter,
    ) -> None:
        self._store = store
        self._finder = finder
        self._settler = settler
        self._responses = responses
        self._judge = judge
        self._attempts = attempts
        self._services = services
        self._reporter = reporter

    async def settle(self, worker: RegisteredWorker, body: fields.JsonBody) -> dict[str, Any]:
        """Settle reported outcomes. Raises InvalidRequest, StoreUnavailable."""
        reported = fields.read_list(body, "outcomes", dict, most=MOST_OUTCOMES)
        most = fields.read_integer(body, "max", 0, MOST_SLOTS, 0)
        consequences = SettlementReport(len(reported))
        decided: list[DecidedOutcome] = []
        for place, step in await self._verify_tickets_and_find_steps(
            worker, reported, consequences
        ):
            try:
                verdict = await self._evaluate_outcome_or_park(
                    worker, place, step, reported[place], consequences
                )
            except AttemptCancelled:
                continue  # the attempt had already ended: its outcome is rejected
            except (Misuse, WaitCycle) as error:
                verdict = self._judge.build_invalid_outcome_failure(step, error)
            if verdict is not None:
                if verdict.problem is not None:
                    consequences.add_problem(place, verdict.problem)
                decided.append(DecidedOutcome(place, step, verdict.outcome))
        most = min(most, max(worker.free_capacity, 0)) if worker.is_live and not worker.quiet else 0
        claims: Sequence[Claim] = ()
        if decided:
            claims = await self._settler.settle(worker, decided, most, consequences)
        answer = await self._responses.build_response(worker, claims, settled=consequences.words)
        if consequences.problems:
            answer["problems"] = consequences.problems
        return answer

    async def _verify_tickets_and_find_steps(
        self,
        worker: RegisteredWorker,
        reported: Sequence[Mapping[str, Any]],
        consequences: SettlementReport,
    ) -> list[tuple[int, ServedStep]]:
        """Return the steps of outcomes by index; invalid tickets are recorded in `consequences`."""
        tickets: list[tuple[int, Ticket]] = []
        for place, each in enumerate(reported):
            try:
                text = each.get("ticket")
                ticket = worker.given.pop(text, None) if isinstance(text, str) else None
                if ticket is None:
                    ticket = await self._finder.verify_ticket(worker, text)
                tickets.append((place, ticket))
            except InvalidTicket as error:
                consequences.words[place] = "invalid"
                consequences.add_problem(place, error)
        steps = await self._finder.find_steps_by_tickets(worker, [ticket for _, ticket in tickets])
        return [
            (place, step)
            for (place, _), step in zip(tickets, steps, strict=True)
            if step is not None
        ]

    async def _evaluate_outcome_or_park(
        self,
        worker: RegisteredWorker,
        place: int,
        step: ServedStep,
        reported: Mapping[str, Any],
        consequences: SettlementReport,
    ) -> EvaluatedOutcome | None:
        """Return the outcome to settle; None if the step was parked or settled instead, or if the
        reported outcome is rejected."""
        claim, outcome = step.claim, reported.get("outcome")
        match outcome:
            case "complete" if step.spec.external is not None:
                return await self._park_until_completion(place, step, reported, consequences)
            case "complete":
                return await self._judge.evaluate_result(step, reported.get("result"))
            case "failed":
                verdict = self._judge.evaluate_failure(step, fields.read_object(reported, "error"))
                fails = verdict.outcome.outcome is OutcomeCode.ERROR
                if step.spec.external is not None:
                    return await self._fail_external_step_unless_completed(
                        worker, place, step, verdict, consequences
                    )
                instance = step.task.instance
                if fails and instance is not None and step.task.compiled.fails_fast:
                    await cancel_siblings_if_fail_fast(
                        self._store, step.task.compiled, claim, instance
                    )
                return verdict
            case "released":
                return EvaluatedOutcome(released_outcome(claim))
            case "yielded":
                if await self._attempts.store_checkpoint_if_held(claim, reported.get("checkpoint")):
                    return EvaluatedOutcome(released_outcome(claim))
                return None
            case "spawned":
                await self._attempts.parse_and_spawn_instances(step, reported)
                return await self._judge.evaluate_result(step, reported.get("result"))
            case "parked":
                return await self._park_step(worker, place, step, reported, consequences)
        raise InvalidRequest(
            f"outcome must be one of {', '.join(OUTCOMES)}, not {outcome!r:.50}",
            path=f"$.outcomes[{place}].outcome",
        )

    async def _park_until_completion(
        self,
        place: int,
        step: ServedStep,
        reported: Mapping[str, Any],
        consequences: SettlementReport,
    ) -> EvaluatedOutcome | None:
        """Store the value that an external step's handler returned, and let the step wait."""
        claim, external = step.claim, step.spec.external
        if await self._attempts.store_checkpoint_if_held(claim, reported.get("result")):
            if (completion := await self._find_completion(claim)) is not None:
                return await self._judge.evaluate_completion(step, completion)
            if await self._store.park_for_arrival(
                claim, build_completion_wait(external or ExternalSpec())
            ):
                consequences.words[place] = "parked"
                self._reporter.report_wait(step, None)
        return None

    async def _fail_external_step_unless_completed(
        self,
        worker: RegisteredWorker,
        place: int,
        step: ServedStep,
        verdict: EvaluatedOutcome,
        consequences: SettlementReport,
    ) -> EvaluatedOutcome | None:
        """Return the effect of an external step's failure: its completion, if it has one."""
        if verdict.outcome.outcome is OutcomeCode.ERROR:
            failure = DecidedOutcome(place, step, verdict.outcome)
            if await self._settler.fail_external_step_unless_completed(
                worker, failure, consequences
            ):
                if verdict.problem is not None:
                    consequences.add_problem(place, verdict.problem)
                return None
        completion = await self._find_completion(step.claim)
        return (
            verdict
            if completion is None
            else await self._judge.evaluate_completion(step, completion)
        )

    async def _find_completion(self, claim: Claim) -> DurableCall | None:
        calls = await self._store.load_durable_calls(claim)
        return next((call for call in calls if call.kind is DurableCallKind.EXTERNAL), None)

    async def _park_step(
        self,
        worker: RegisteredWorker,
        place: int,
        step: ServedStep,
        reported: Mapping[str, Any],
        consequences: SettlementReport,
    ) -> EvaluatedOutcome | None:
        """Let a step wait; if the wait is already over, the step is due immediately."""
        wait_for = fields.read_object(reported, "wait_for")
        parked = await evaluate_requested_wait(step, wait_for, self._services())
        if parked is None or isinstance(parked, ParkedForTime):
            return EvaluatedOutcome(sleep_outcome(step.claim, parked.seconds if parked else 0.0))
        if isinstance(parked, ParkedForTask) and not await self._may_wait_for_task(
            worker, step, parked.task_id
        ):
            return EvaluatedOutcome(sleep_outcome(step.claim, 0.0))  # as if the task did not exist
        if await park_step_in_store(self._store, step.claim, parked):
            consequences.words[place] = "parked"
            self._reporter.report_wait(step, parked)
        return None

    async def _may_wait_for_task(
        self, worker: RegisteredWorker, step: ServedStep, task_id: TaskId
    ) -> bool:
        """Return whether a step may wait for a task: its child, or one that its worker may read."""
        readable = await worker.readable_namespaces()
        if readable is None:
            return True
        cache = self._finder.get_or_add_task_cache(worker)
        awaited = (await cache.load_tasks([task_id])).get(task_id)
        if awaited is None:
            return True  # it does not exist
        if awaited.input.parent_id == step.claim.task_id:
            return True
        return awaited.compiled.template.namespace in readable

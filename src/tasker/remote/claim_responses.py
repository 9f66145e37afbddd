"""Builds the responses that hand claimed steps to remote workers."""

import secrets
from collections.abc import Sequence
from typing import Any

from tasker.completions import COMPLETE, hash_token
from tasker.model import Claim
from tasker.remote.outcomes import OutcomeEvaluator
from tasker.remote.registered import RegisteredWorker
from tasker.remote.reporting import RemoteReporter
from tasker.remote.serving import ServedStep, issue_tickets_and_serialize_steps
from tasker.remote.settler import DecidedOutcome, RemoteSettler, SettlementReport
from tasker.remote.steps import StepFinder
from tasker.store.protocol import Store


class ClaimResponseBuilder:
    """Builds the responses that hand claimed steps to remote workers.

    Args:
        store: The store.
        finder: Finds the tasks of claims.
        settler: Settles external steps that are already completed.
        judge: Decides about their completions.
        public_url: The server's address for the completion of external steps.
        reporter: Reports the steps that are handed out.
    """

    def __init__(
        self,
        store: Store,
        finder: StepFinder,
        settler: RemoteSettler,
        judge: OutcomeEvaluator,
        public_url: str,
        reporter: RemoteReporter,
    ) -> None:
        self._store = store
        self._finder = finder
        self._settler = settler
        self._judge = judge
        self._public_url = public_url.rstrip("/")
        self._reporter = reporter

    async def build_response(
        self, worker: RegisteredWorker, claims: Sequence[Claim], **others: Any
    ) -> dict[str, Any]:
        """Return the response that hands claims to a worker."""
        steps = await self._load_steps_or_settle_completed(worker, claims) if claims else []
        served = (
            issue_tickets_and_serialize_steps(
                worker, steps, await self._finder.load_ticket_signer()
            )
            if steps
            else []
        )
        self._reporter.report_starts(steps)
        return {**others, "steps": served, "cancelled": [], "quiet": worker.quiet}

    async def _load_steps_or_settle_completed(
        self, worker: RegisteredWorker, claims: Sequence[Claim]
    ) -> list[ServedStep]:
        """Return claimed steps with their tasks; settle external steps completed before."""
        steps = []
        for claim, task in zip(
            claims, await self._finder.find_tasks_by_claims(worker, claims), strict=True
        ):
            if task is None:
                continue
            step = ServedStep.for_claim(claim, task)
            if step.spec.external is not None:
                opened = await self._add_completion_url_or_settle(worker, step)
                if opened is None:
                    continue
                step = opened
            steps.append(step)
        return steps

    async def _add_completion_url_or_settle(
        self, worker: RegisteredWorker, step: ServedStep
    ) -> ServedStep | None:
        """Return an external step with the URL of its completion; settle it if it is already
        completed."""
        token = secrets.token_urlsafe(32)
        completion = await self._store.add_token_and_find_completion(step.claim, hash_token(token))
        if completion is None:
            return step._replace(completion_url=f"{self._public_url}{COMPLETE}/{token}")
        outcome = (await self._judge.evaluate_completion(step, completion)).outcome
        await self._settler.settle(
            worker, [DecidedOutcome(0, step, outcome)], 0, SettlementReport(1)
        )
        return None

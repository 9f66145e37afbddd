"""Decides the effect of an outcome that a remote worker reports."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from tasker import codec
from tasker.durable import DurableCall
from tasker.engine.failure import (
    decide_failure_outcome,
    outcome_of_exception,
    serialize_error,
    serialize_exception,
)
from tasker.errors import InvalidInput, Misuse, PermanentError, TaskerError
from tasker.handlers.external import read_completion_result
from tasker.model import (
    ExternalSpec,
    JsonObject,
    JsonText,
    Outcome,
    completed_outcome,
    failed_outcome,
)
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest
from tasker.remote.serving import ServedStep
from tasker.settings import JsonSchemaMismatchAction
from tasker.template.schema import find_result_violations, is_quick_to_check

log = logging.getLogger("tasker.remote")

OUTCOMES = ("complete", "failed", "released", "yielded", "parked", "spawned")


class EvaluatedOutcome(NamedTuple):
    """The outcome that the server settles for a reported one."""

    outcome: Outcome
    problem: TaskerError | None = None
    """The reason why the server replaced the reported outcome."""


class OutcomeEvaluator:
    """Turns results and failures that remote workers report into outcomes.

    Args:
        results: What to do with a result that does not match its step's `result_schema`.
    """

    def __init__(self, results: JsonSchemaMismatchAction) -> None:
        self._results = results
        self._rng = Random()

    async def evaluate_result(self, step: ServedStep, value: Any) -> EvaluatedOutcome:
        """Return the effect of a result: success, or failure if it is invalid."""
        claim, compiled = step.claim, step.task.compiled
        try:
            text = codec.dumps(value, what="the result")
            schema = step.spec.result_schema
            if schema is not None and self._results is not JsonSchemaMismatchAction.OFF:
                await self._check_result_schema(step, schema, text)
        except Misuse as error:
            return self.build_invalid_outcome_failure(step, error)
        outcome = completed_outcome(claim, text)
        if compiled.choices is None or (choice := compiled.choices.get(step.node)) is None:
            return EvaluatedOutcome(outcome)
        try:
            return EvaluatedOutcome(
                outcome._replace(choice=choice.read_chosen_children(claim, text))
            )
        except PermanentError as error:
            return EvaluatedOutcome(outcome_of_exception(error, claim, step.spec, self._rng))

    async def _check_result_schema(
        self, step: ServedStep, schema: JsonObject, text: JsonText
    ) -> None:
        """Raise InvalidInput if a result does not match its schema and schemas are enforced."""
        spec, name = step.spec, str(step.task.compiled.key)
        if is_quick_to_check(schema, text):
            problems = find_result_violations(name, spec, text)
        else:
            problems = await asyncio.to_thread(find_result_violations, name, spec, text)
        if not problems:
            return
        message = f"the result does not match the step's result_schema: {'; '.join(problems)}"
        if self._results is JsonSchemaMismatchAction.ENFORCE:
            raise InvalidInput(message)
        facts = {"task_id": step.claim.task_id, "step": spec.name, "problem": message}
        log.warning("result_schema_mismatch", extra=facts)

    async def evaluate_completion(
        self, step: ServedStep, completion: DurableCall
    ) -> EvaluatedOutcome:
        """Return the effect of an external step's completion by another system."""
        external = step.spec.external
        try:
            value = read_completion_result(completion, external or ExternalSpec())
        except PermanentError as error:
            facts = {
                "type": type(error).__name__,
                "message": str(error),
                "code": error.code,
                "details": error.details,
                "retryable": False,
            }
            return self.evaluate_failure(step, facts)
        return await self.evaluate_result(step, value)

    def build_invalid_outcome_failure(
        self, step: ServedStep, error: TaskerError
    ) -> EvaluatedOutcome:
        """Return the failure that replaces an invalid outcome of an attempt; nothing is settled."""
        return EvaluatedOutcome(
            failed_outcome(step.claim, serialize_exception(error, retryable=False)), error
        )

    def evaluate_failure(self, step: ServedStep, error: fields.JsonBody) -> EvaluatedOutcome:
        """Return the effect of a failure: a retry if the step's policy allows one, otherwise the
        end."""
        spec = step.spec
        try:
            reported = ReportedError.parse(error)
        except InvalidRequest as invalid:
            return self.build_invalid_outcome_failure(step, invalid)
        outcome = decide_failure_outcome(
            step.claim,
            spec.retry,
            self._rng,
            names=reported.names_for_retry_policy,
            permanent=not reported.retryable,
            requested=reported.retry_after,
            text=reported.to_json,
        )
        return EvaluatedOutcome(outcome)


class ReportedError(NamedTuple):
    """The error of an attempt in a remote worker."""

    type: str
    message: str
    code: str | None
    retryable: bool
    retry_after: timedelta | None
    details: Any
    trace: str | None

    @classmethod
    def parse(cls, error: fields.JsonBody) -> "ReportedError":
        """Return the error in a report. Raises InvalidRequest."""
        kind, message = error.get("type"), error.get("message")
        if not isinstance(kind, str) or not isinstance(message, str):
            raise InvalidRequest(
                "error must have the strings `type` and `message`", path="$.outcomes.error"
            )
        code, trace, after = error.get("code"), error.get("trace"), error.get("retry_after_s")
        seconds = after if isinstance(after, int | float) and not isinstance(after, bool) else None
        return cls(
            kind[: fields.NAME],
            message,
            None if code is None else str(code)[:200],
            error.get("retryable") is not False,
            None if seconds is None else timedelta(seconds=max(0.0, min(seconds, 1e6))),
            error.get("details"),
            trace if isinstance(trace, str) else None,
        )

    @property
    def names_for_retry_policy(self) -> list[set[str]]:
        """The names by which retry policies may refer to the error: its code, then its types."""
        dotted = self.type.replace("::", ".")
        types = {self.type, dotted, dotted.rpartition(".")[2]}
        return [{self.code}, types] if self.code else [types]

    def to_json(self, retryable: bool) -> JsonText:
        """Return the error in the form in which stores keep it."""
        facts: Mapping[str, Any] = {"type": self.type, "message": self.message}
        return serialize_error(
            facts,
            retryable=retryable,
            code=self.code,
            requested=self.retry_after,
            trace=self.trace,
            details=self.details,
        )

"""Decides the effect of an outcome that a remote worker reports."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from tasker import codec
from tasker.durable import DurableCall
from tasker.engine.failure import error_text, outcome_of, outcome_of_failure, stored_error
from tasker.errors import InvalidInput, Misuse, PermanentError, TaskerError
from tasker.handlers.external import result_of_completion
from tasker.model import ExternalSpec, JsonText, Outcome, completed_outcome, failed_outcome
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest
from tasker.remote.serving import ServedStep
from tasker.settings import SchemaMismatchAction
from tasker.template.schema import find_result_violations, is_quick_to_check

log = logging.getLogger("tasker.remote")

OUTCOMES = ("complete", "failed", "released", "yielded", "parked", "spawned")


class Verdict(NamedTuple):
    """The effect of a reported outcome."""

    outcome: Outcome
    problem: TaskerError | None = None
    """The reason why the server replaced the reported outcome."""


class Judge:
    """Decides about results and failures.

    Args:
        results: What to do with a result that does not match its step's `result_schema`.
    """

    def __init__(self, results: SchemaMismatchAction) -> None:
        self._results = results
        self._rng = Random()

    async def of_result(self, step: ServedStep, value: Any) -> Verdict:
        """Return the effect of a result: success, or failure if it is invalid."""
        claim, compiled = step.claim, step.task.compiled
        try:
            text = codec.dumps(value, what="the result")
            await self._check(step, text)
        except Misuse as error:
            return self.of_error(step, error)
        outcome = completed_outcome(claim, text)
        if compiled.choices is None or (choice := compiled.choices.get(step.node)) is None:
            return Verdict(outcome)
        try:
            return Verdict(outcome._replace(choice=choice.read(claim, text)))
        except PermanentError as error:
            return Verdict(outcome_of(error, claim, compiled.spec(step.node), self._rng))

    async def _check(self, step: ServedStep, text: JsonText) -> None:
        """Raise InvalidInput if a result does not match its schema and schemas are enforced."""
        compiled = step.task.compiled
        spec = compiled.spec(step.node)
        if spec.result_schema is None or self._results is SchemaMismatchAction.OFF:
            return
        name = str(compiled.template.key)
        if is_quick_to_check(spec.result_schema, text):
            problems = find_result_violations(name, spec, text)
        else:
            problems = await asyncio.to_thread(find_result_violations, name, spec, text)
        if not problems:
            return
        message = f"the result does not match the step's result_schema: {'; '.join(problems)}"
        if self._results is SchemaMismatchAction.ENFORCE:
            raise InvalidInput(message)
        facts = {"task_id": step.claim.task_id, "step": spec.name, "problem": message}
        log.warning("result_schema_mismatch", extra=facts)

    async def of_completion(self, step: ServedStep, completion: DurableCall) -> Verdict:
        """Return the effect of an external step's completion by another system."""
        external = step.task.compiled.spec(step.node).external
        try:
            value = result_of_completion(completion, external or ExternalSpec())
        except PermanentError as error:
            facts = {
                "type": type(error).__name__,
                "message": str(error),
                "code": error.code,
                "details": error.details,
                "retryable": False,
            }
            return self.of_failure(step, facts)
        return await self.of_result(step, value)

    def of_error(self, step: ServedStep, error: TaskerError) -> Verdict:
        """Return the failure of an attempt whose reported outcome is invalid."""
        return Verdict(failed_outcome(step.claim, error_text(error, retryable=False)), error)

    def of_failure(self, step: ServedStep, error: fields.JsonBody) -> Verdict:
        """Return the effect of a failure: a retry if the step's policy allows one, otherwise the
        end."""
        spec = step.task.compiled.spec(step.node)
        try:
            reported = ReportedError.read(error)
        except InvalidRequest as invalid:
            return self.of_error(step, invalid)
        outcome = outcome_of_failure(
            step.claim,
            spec.retry,
            self._rng,
            names=reported.names,
            permanent=not reported.retryable,
            requested=reported.retry_after,
            text=reported.text,
        )
        return Verdict(outcome)


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
    def read(cls, error: fields.JsonBody) -> "ReportedError":
        """Read an error. Raises InvalidInput."""
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
    def names(self) -> list[set[str]]:
        """The names by which retry policies may refer to it."""
        dotted = self.type.replace("::", ".")
        types = {self.type, dotted, dotted.rpartition(".")[2]}
        return [{self.code}, types] if self.code else [types]

    def text(self, retryable: bool) -> JsonText:
        """Return the error in the form in which stores keep it."""
        facts: Mapping[str, Any] = {"type": self.type, "message": self.message}
        return stored_error(
            facts,
            retryable=retryable,
            code=self.code,
            requested=self.retry_after,
            trace=self.trace,
            details=self.details,
        )

"""The engine's own steps that wait for a person's decision."""

from collections.abc import Iterable
from typing import Any

from tasker.approvals import REJECT_WHEN
from tasker.codec import dumps
from tasker.engine.engine_steps import EngineAttempt
from tasker.errors import InvalidInput, Misuse, PermanentError
from tasker.handlers.approvals import ApprovalQuestion, wait_for_approval
from tasker.handlers.durable import DurableCalls
from tasker.model import (
    ApprovalSpec,
    Outcome,
    StepSpec,
    TimeoutAction,
    completed_outcome,
    skipped_outcome,
)
from tasker.template.approvals import approval_expressions
from tasker.template.expressions import Names, Path, compile_expression, compile_text

CALL = "approval"  #: name of the durable call


async def run_approval_step(attempt: EngineAttempt) -> Outcome:
    """Complete a step when its approval is decided: the handler of `approval`."""
    spec, approval = attempt.spec, attempt.spec.approval
    if approval is None:
        raise Misuse(f"step {spec.name!r} does not ask for an approval")
    template = attempt.cached.compiled.template
    calls = DurableCalls(attempt, spec.name, template.namespace, spec.retry.attempt_limit)
    question = ApprovalQuestion(
        assignees=_resolve_assignees(attempt, approval.assignees),
        form=approval.form,
        timeout=approval.timeout,
        on_timeout="continue",
        escalate_after=approval.escalate_after,
        escalate_to=_resolve_assignees(attempt, approval.escalate_to),
    )
    decision = await wait_for_approval(
        calls, question, namespace=template.namespace, call_name=CALL
    )
    if decision is None:
        return _timeout_outcome_or_raise(attempt, approval)
    if _is_rejected(attempt, approval, decision.form):
        raise PermanentError(
            f"rejected by {decision.decided_by}",
            code="rejected",
            details={"form": decision.form, "decided_by": decision.decided_by},
        )
    result = {
        "form": decision.form,
        "decided_by": decision.decided_by,
        "decided_at": decision.decided_at,
    }
    return completed_outcome(attempt.claim, dumps(result))


def list_approval_expressions(spec: StepSpec) -> Iterable[str]:
    """Return the expressions of an approval, without those over its form."""
    return () if spec.approval is None else approval_expressions(spec.approval)


def _timeout_outcome_or_raise(attempt: EngineAttempt, approval: ApprovalSpec) -> Outcome:
    message = "the approval was not decided in time"
    if approval.on_timeout is TimeoutAction.FAIL:
        raise PermanentError(message, code="wait_timeout")
    if approval.on_timeout is TimeoutAction.SKIP:
        reason = {"type": "Skipped", "message": message, "code": "wait_timeout"}
        return skipped_outcome(attempt.claim, dumps(reason))
    return completed_outcome(attempt.claim, dumps(None))


def _is_rejected(attempt: EngineAttempt, approval: ApprovalSpec, form: Any) -> bool:
    condition = approval.reject_when
    if condition is None:
        if approval.form is not None:
            return False
        condition = REJECT_WHEN
    return compile_expression(condition).is_true(_expression_values(attempt, approval, form=form))


def _resolve_assignees(attempt: EngineAttempt, assignees: Iterable[str]) -> list[str]:
    """Return assignees with their placeholders filled in. Raises InvalidInput."""
    approval = attempt.spec.approval
    if approval is None:
        return []
    names = _expression_values(attempt, approval)
    filled = [compile_text(assignee).render_key(names) for assignee in assignees]
    if any(len(assignee) > 300 for assignee in filled):
        raise InvalidInput("an assignee must have at most 300 characters")
    return filled


def _expression_values(attempt: EngineAttempt, approval: ApprovalSpec, **others: Any) -> Names:
    paths: Iterable[Path] = (
        path for text in approval_expressions(approval) for path in compile_expression(text).paths
    )
    return attempt.expression_values(paths, **others)

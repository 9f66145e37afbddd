"""Handlers that decide which steps run."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tasker_core.results import StepHandlerResult


class DecisionType(StrEnum):
    """The decision."""

    CREATE_STEPS = "create_steps"
    NO_BRANCHES = "no_branches"


@dataclass
class DecisionPointOutcome:
    """The steps that run after a decision."""

    decision_type: DecisionType
    next_step_names: list[str] = field(default_factory=list)
    dynamic_steps: list[dict[str, Any]] | None = None
    reason: str | None = None
    routing_context: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create_steps(
        cls,
        step_names: list[str],
        dynamic_steps: list[dict[str, Any]] | None = None,
        routing_context: dict[str, Any] | None = None,
    ) -> "DecisionPointOutcome":
        """Let these steps run."""
        return cls(
            DecisionType.CREATE_STEPS, step_names, dynamic_steps, None, routing_context or {}
        )

    @classmethod
    def no_branches(
        cls, reason: str, routing_context: dict[str, Any] | None = None
    ) -> "DecisionPointOutcome":
        """Let none of the steps run that depend on the decision."""
        return cls(DecisionType.NO_BRANCHES, [], None, reason, routing_context or {})

    def as_result(self) -> dict[str, Any]:
        """Return the result of the deciding step."""
        if self.decision_type is DecisionType.NO_BRANCHES:
            outcome: dict[str, Any] = {"type": "no_branches"}
            result: dict[str, Any] = {
                "decision_point_outcome": outcome,
                "reason": self.reason or "No branches",
            }
        else:
            outcome = {"type": "create_steps", "step_names": self.next_step_names}
            result = {"decision_point_outcome": outcome}
        if self.dynamic_steps:
            result["dynamic_steps"] = self.dynamic_steps
        if self.routing_context:
            result["routing_context"] = self.routing_context
        return result


class DecisionMixin:
    """Methods that make the results of decisions."""

    def decision_success(
        self,
        steps: list[str] | DecisionPointOutcome,
        routing_context: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Let steps that depend on this one run."""
        if isinstance(steps, DecisionPointOutcome):
            return self.decision_success_with_outcome(steps, metadata)
        outcome = DecisionPointOutcome.create_steps(steps, routing_context=routing_context)
        return self.decision_success_with_outcome(outcome, metadata)

    route_to_steps = decision_success

    def decision_success_with_outcome(
        self, outcome: DecisionPointOutcome, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return a decision."""
        facts = {
            "decision_handler": getattr(self, "name", type(self).__name__),
            "decision_version": getattr(self, "version", "1.0.0"),
        }
        return StepHandlerResult.make_success(outcome.as_result(), {**(metadata or {}), **facts})

    decision_no_branches = decision_success_with_outcome

    def skip_branches(
        self,
        reason: str,
        routing_context: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Let none of the steps run that depend on this one."""
        outcome = DecisionPointOutcome.no_branches(reason, routing_context)
        return self.decision_success_with_outcome(outcome, metadata)

    def decision_failure(
        self,
        message: str,
        error_type: str = "decision_error",
        retryable: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return a failure of the decision itself."""
        return StepHandlerResult.failure(message, error_type, retryable, metadata)

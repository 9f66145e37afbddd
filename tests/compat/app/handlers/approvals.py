"""Approvals: a class that decides, and classes for the branches."""

from typing import Any

from tasker_core.step_handler import DecisionHandler, StepHandler
from tasker_core.types import StepContext, StepHandlerResult


class RouteApproval(DecisionHandler):
    """Let small amounts pass."""

    handler_name = "route_approval"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Decide."""
        amount = context.get_input("amount")
        if amount == 0:
            return self.skip_branches("nothing to approve")
        steps = ["auto_approve"] if amount < 1000 else ["ask_manager", "ask_finance"]
        return self.decision_success(steps, routing_context={"amount": amount})


class Approve(StepHandler):
    """Approve; another method asks."""

    handler_name = "approve"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Approve at once."""
        return self.success({"by": "rule"}, metadata={"fast": True})

    def ask(self, context: StepContext) -> StepHandlerResult:
        """Ask a person."""
        return self.success({"by": context.get_config("who")})


class Finish(StepHandler):
    """Collect who approved, from the envelopes too."""

    handler_name = "finish"

    async def call(self, context: StepContext) -> StepHandlerResult:
        """Collect."""
        wrapped = context.task_sequence_step.dependency_results
        names = [name for name in wrapped.keys() if name != "route"]  # noqa: SIM118 - not a dict
        return self.success({"by": sorted(wrapped.get_results(name)["by"] for name in names)})


class Refuse(StepHandler):
    """Fail in the ways of classes."""

    handler_name = "refuse"

    def call(self, context: StepContext) -> Any:
        """Fail as the input says."""
        if context.get_input("how") == "raise":
            from tasker_core import PermanentError

            raise PermanentError("raised", error_code="RAISED")
        return self.failure(
            "returned", "limit_reached", retryable=False, metadata={"limit": 5}, error_code="LIMIT"
        )

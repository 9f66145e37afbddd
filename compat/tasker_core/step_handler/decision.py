"""The base class of handlers that decide which steps run."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.decision import (
    DecisionMixin,
    DecisionPointOutcome,
    DecisionType,
)


class DecisionHandler(DecisionMixin, StepHandler):
    """A handler that decides which of the steps run that depend on it."""

    @property
    def capabilities(self) -> list[str]:
        """Its capabilities, for people."""
        return ["process", "decision", "routing"]


__all__ = ["DecisionHandler", "DecisionPointOutcome", "DecisionType"]

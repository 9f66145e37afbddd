"""The base class of handlers, under its older path."""

from tasker_core.step_handler.base import StepHandler, StepHandlerCallResult

__all__ = ["StepHandler", "StepHandlerCallResult"]

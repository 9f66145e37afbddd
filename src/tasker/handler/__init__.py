"""Handlers: marking them, finding them, and calling them with what they ask for."""

from tasker.handler.attempt import LiveAttempt, Services, StepFacts, Upstream
from tasker.handler.check import check, unused
from tasker.handler.child import call_packed
from tasker.handler.context import Context
from tasker.handler.found import Handler
from tasker.handler.marks import Config, Input, Result, StepHandler, handler
from tasker.handler.plan import Plan, compile_plan
from tasker.handler.registry import Handlers

__all__ = [
    "Config",
    "Context",
    "Handler",
    "Handlers",
    "Input",
    "LiveAttempt",
    "Plan",
    "Result",
    "Services",
    "StepFacts",
    "StepHandler",
    "Upstream",
    "call_packed",
    "check",
    "compile_plan",
    "handler",
    "unused",
]

"""Handlers: declaring, finding and calling them."""

from tasker.handlers.attempt import LiveAttempt, Services, StepFacts, Upstream
from tasker.handlers.binding import Plan, compile_plan
from tasker.handlers.check import check, check_assumed_inputs, result_schemas, unused_handlers
from tasker.handlers.context import AsyncContext, Context, SyncContext
from tasker.handlers.decorators import Config, Input, Result, StepHandler, handler
from tasker.handlers.registry import Handlers
from tasker.handlers.subprocess import run_in_subprocess
from tasker.handlers.subscribers import Subscriber, on_event
from tasker.handlers.target import Handler

__all__ = [
    "AsyncContext",
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
    "Subscriber",
    "SyncContext",
    "Upstream",
    "check",
    "check_assumed_inputs",
    "compile_plan",
    "handler",
    "on_event",
    "result_schemas",
    "run_in_subprocess",
    "unused_handlers",
]

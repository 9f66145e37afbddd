"""Handlers: declaring, finding and calling them."""

from tasker.handlers.attempt import AttemptServices, LiveAttempt, StepProperties, UpstreamSteps
from tasker.handlers.binding import CallPlan, compile_call_plan
from tasker.handlers.check import (
    derive_result_schemas,
    find_inputs_named_like_steps,
    find_template_problems,
    find_unused_handlers,
)
from tasker.handlers.context import AsyncContext, Context, SyncContext
from tasker.handlers.decorators import Config, Input, Result, StepHandler, handler
from tasker.handlers.registry import Handlers
from tasker.handlers.subprocess import run_handler_inside_child_process
from tasker.handlers.subscribers import Subscriber, on_event
from tasker.handlers.target import Handler

__all__ = [
    "AsyncContext",
    "AttemptServices",
    "CallPlan",
    "Config",
    "Context",
    "Handler",
    "Handlers",
    "Input",
    "LiveAttempt",
    "Result",
    "StepHandler",
    "StepProperties",
    "Subscriber",
    "SyncContext",
    "UpstreamSteps",
    "compile_call_plan",
    "derive_result_schemas",
    "find_inputs_named_like_steps",
    "find_template_problems",
    "find_unused_handlers",
    "handler",
    "on_event",
    "run_handler_inside_child_process",
]

"""Tasker: workflows of steps that run to the end, whatever dies in between."""

from importlib.metadata import version

from tasker.client import Client, LocalClient, TaskRequest
from tasker.config import SchemaMode, WorkerSettings
from tasker.engine import Worker
from tasker.errors import (
    AttemptCancelled,
    InvalidInput,
    InvalidTemplate,
    NotFound,
    PermanentError,
    RetryableError,
    TaskerError,
    TaskFailed,
    TaskRegistrationError,
)
from tasker.handler import Config, Context, Handlers, Input, Result, StepHandler, handler
from tasker.model import Retry, Step, StepState, Task, TaskState, Template
from tasker.store.open import open_store
from tasker.template import load_template, load_templates, parse_template

__version__ = version("tasker-workflows")

__all__ = [
    "AttemptCancelled",
    "Client",
    "Config",
    "Context",
    "Handlers",
    "Input",
    "InvalidInput",
    "InvalidTemplate",
    "LocalClient",
    "NotFound",
    "PermanentError",
    "Result",
    "Retry",
    "RetryableError",
    "SchemaMode",
    "Step",
    "StepHandler",
    "StepState",
    "Task",
    "TaskFailed",
    "TaskRegistrationError",
    "TaskRequest",
    "TaskState",
    "TaskerError",
    "Template",
    "Worker",
    "WorkerSettings",
    "handler",
    "load_template",
    "load_templates",
    "open_store",
    "parse_template",
]

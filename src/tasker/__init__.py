"""Tasker: durable workflows of steps that survive crashes.

The names below are imported when they are first used, so that `tasker --help` and
programs that need one of them do not wait for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasker.client import Client, LocalClient, SyncClient, TaskRequest
    from tasker.client.connect import connect, connect_sync
    from tasker.engine import Worker
    from tasker.errors import (
        AttemptCancelled,
        Forbidden,
        IdempotencyConflict,
        InvalidInput,
        InvalidTemplate,
        NotApproved,
        NotFound,
        PermanentError,
        RetryableError,
        StoreUnavailable,
        TaskChanged,
        TaskerError,
        TaskExists,
        TaskFailed,
        TaskRegistrationError,
        WaitTimeout,
        WrongStatus,
    )
    from tasker.handlers import (
        AsyncContext,
        Config,
        Context,
        Handlers,
        Input,
        Result,
        StepHandler,
        SyncContext,
        handler,
    )
    from tasker.model import (
        Attempt,
        AttemptOutcome,
        Failure,
        Retry,
        Step,
        StepStatus,
        Task,
        TaskFilter,
        TaskStatus,
        Template,
    )
    from tasker.settings import SchemaMode, WorkerSettings
    from tasker.store.open import open_store
    from tasker.template import load_template, load_templates, parse_template
    from tasker.workflow import Workflow

    __version__: str

__all__ = [
    "AsyncContext",
    "Attempt",
    "AttemptCancelled",
    "AttemptOutcome",
    "Client",
    "Config",
    "Context",
    "Failure",
    "Forbidden",
    "Handlers",
    "IdempotencyConflict",
    "Input",
    "InvalidInput",
    "InvalidTemplate",
    "LocalClient",
    "NotApproved",
    "NotFound",
    "PermanentError",
    "Result",
    "Retry",
    "RetryableError",
    "SchemaMode",
    "Step",
    "StepHandler",
    "StepStatus",
    "StoreUnavailable",
    "SyncClient",
    "SyncContext",
    "Task",
    "TaskChanged",
    "TaskExists",
    "TaskFailed",
    "TaskFilter",
    "TaskRegistrationError",
    "TaskRequest",
    "TaskStatus",
    "TaskerError",
    "Template",
    "WaitTimeout",
    "Worker",
    "WorkerSettings",
    "Workflow",
    "WrongStatus",
    "connect",
    "connect_sync",
    "handler",
    "load_template",
    "load_templates",
    "open_store",
    "parse_template",
]

_HOMES = {
    "client": ("Client", "LocalClient", "SyncClient", "TaskRequest"),
    "client.connect": ("connect", "connect_sync"),
    "settings": ("SchemaMode", "WorkerSettings"),
    "engine": ("Worker",),
    "errors": (
        "AttemptCancelled",
        "Forbidden",
        "IdempotencyConflict",
        "NotApproved",
        "StoreUnavailable",
        "WaitTimeout",
        "WrongStatus",
        "InvalidInput",
        "InvalidTemplate",
        "NotFound",
        "PermanentError",
        "RetryableError",
        "TaskChanged",
        "TaskExists",
        "TaskFailed",
        "TaskRegistrationError",
        "TaskerError",
    ),
    "handlers": (
        "AsyncContext",
        "Config",
        "Context",
        "Handlers",
        "Input",
        "Result",
        "StepHandler",
        "SyncContext",
        "handler",
    ),
    "model": (
        "Attempt",
        "AttemptOutcome",
        "Failure",
        "Retry",
        "Step",
        "StepStatus",
        "Task",
        "TaskFilter",
        "TaskStatus",
        "Template",
    ),
    "store.open": ("open_store",),
    "workflow": ("Workflow",),
    "template": ("load_template", "load_templates", "parse_template"),
}
_HOME = {name: f"tasker.{module}" for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tasker-workflows")
    if name not in _HOME:
        raise AttributeError(f"module 'tasker' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

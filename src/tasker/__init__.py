"""Tasker: durable workflows of steps that survive crashes.

The names below are imported on first use, so that `tasker --help`, and programs that need only one
of them, start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasker.analytics.model import Bottlenecks, Performance, Window
    from tasker.client import Client, LocalClient, SyncClient, TaskOptions, TaskRequest
    from tasker.client.connect import connect, connect_sync
    from tasker.durations import Duration
    from tasker.engine import Worker
    from tasker.errors import (
        AttemptCancelled,
        Forbidden,
        HandlerImportError,
        HandlerNotFound,
        IdempotencyConflict,
        InvalidInput,
        InvalidPolicy,
        InvalidSettings,
        InvalidTemplate,
        Misuse,
        NotAnApprover,
        NotApproved,
        NotFound,
        PermanentError,
        Refused,
        RetryableError,
        SchemaMismatch,
        StepError,
        StoreError,
        StoreUnavailable,
        TaskChanged,
        TaskerError,
        TaskExists,
        TaskFailed,
        TaskRegistrationError,
        TooLarge,
        Unauthenticated,
        WaitCycle,
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
        AuditEntry,
        Backoff,
        BulkAction,
        BulkOutcome,
        BulkRefusal,
        Failure,
        IfExists,
        Retry,
        Step,
        StepCounts,
        StepSpec,
        StepStatus,
        StoredTemplate,
        Task,
        TaskFilter,
        TaskStatus,
        Template,
        TemplateName,
        TemplateVersion,
        UniqueWhile,
    )
    from tasker.settings import SchemaMode, WorkerSettings
    from tasker.store.open import open_store
    from tasker.store.protocol import Registered, Store
    from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamEvent
    from tasker.template import load_template, load_templates, parse_template
    from tasker.times import Timeline
    from tasker.workflow import Workflow

    __version__: str

__all__ = [
    "AsyncContext",
    "Attempt",
    "AttemptCancelled",
    "AttemptOutcome",
    "AuditEntry",
    "Backoff",
    "Bottlenecks",
    "BulkAction",
    "BulkOutcome",
    "BulkRefusal",
    "Client",
    "Config",
    "Context",
    "Duration",
    "Failure",
    "Forbidden",
    "HandlerImportError",
    "HandlerNotFound",
    "Handlers",
    "IdempotencyConflict",
    "IfExists",
    "Input",
    "InvalidInput",
    "InvalidPolicy",
    "InvalidSettings",
    "InvalidTemplate",
    "LocalClient",
    "Misuse",
    "NamespaceInfo",
    "NamespacePolicy",
    "NotAnApprover",
    "NotApproved",
    "NotFound",
    "Performance",
    "PermanentError",
    "Refused",
    "Registered",
    "Result",
    "Retry",
    "RetryableError",
    "SchemaMismatch",
    "SchemaMode",
    "Step",
    "StepCounts",
    "StepError",
    "StepHandler",
    "StepSpec",
    "StepStatus",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "StoredTemplate",
    "SyncClient",
    "SyncContext",
    "Task",
    "TaskChanged",
    "TaskExists",
    "TaskFailed",
    "TaskFilter",
    "TaskOptions",
    "TaskRegistrationError",
    "TaskRequest",
    "TaskStatus",
    "TaskerError",
    "TeamEvent",
    "Template",
    "TemplateName",
    "TemplateVersion",
    "Timeline",
    "TooLarge",
    "Unauthenticated",
    "UniqueWhile",
    "WaitCycle",
    "WaitTimeout",
    "Window",
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
    "analytics.model": (
        "Bottlenecks",
        "Performance",
        "Window",
    ),
    "client": (
        "Client",
        "LocalClient",
        "SyncClient",
        "TaskOptions",
        "TaskRequest",
    ),
    "client.connect": (
        "connect",
        "connect_sync",
    ),
    "durations": ("Duration",),
    "engine": ("Worker",),
    "errors": (
        "AttemptCancelled",
        "Forbidden",
        "HandlerImportError",
        "HandlerNotFound",
        "IdempotencyConflict",
        "InvalidInput",
        "InvalidPolicy",
        "InvalidSettings",
        "InvalidTemplate",
        "Misuse",
        "NotAnApprover",
        "NotApproved",
        "NotFound",
        "PermanentError",
        "Refused",
        "RetryableError",
        "SchemaMismatch",
        "StepError",
        "StoreError",
        "StoreUnavailable",
        "TaskChanged",
        "TaskExists",
        "TaskFailed",
        "TaskRegistrationError",
        "TaskerError",
        "TooLarge",
        "Unauthenticated",
        "WaitCycle",
        "WaitTimeout",
        "WrongStatus",
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
        "AuditEntry",
        "Backoff",
        "BulkAction",
        "BulkOutcome",
        "BulkRefusal",
        "Failure",
        "IfExists",
        "Retry",
        "Step",
        "StepCounts",
        "StepSpec",
        "StepStatus",
        "StoredTemplate",
        "Task",
        "TaskFilter",
        "TaskStatus",
        "Template",
        "TemplateName",
        "TemplateVersion",
        "UniqueWhile",
    ),
    "settings": (
        "SchemaMode",
        "WorkerSettings",
    ),
    "store.open": ("open_store",),
    "store.protocol": (
        "Registered",
        "Store",
    ),
    "teams.model": (
        "NamespaceInfo",
        "NamespacePolicy",
        "TeamEvent",
    ),
    "template": (
        "load_template",
        "load_templates",
        "parse_template",
    ),
    "times": ("Timeline",),
    "workflow": ("Workflow",),
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

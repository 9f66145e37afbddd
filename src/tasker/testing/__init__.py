"""Support for tests of workflows, handlers and stores: see docs/testing.md.

steps        `run_step`: only a handler, without the engine
schedules    `run_schedules`: the tasks that schedules create within some time
workflows    `run_workflow`: a whole task, on the production engine, with a clock that skips delays
plugin       the pytest fixtures `tasker_store`, `tasker_clock` and `tasker_worker`
postgres     a temporary PostgreSQL server for a `with` block
store_suite  the tests that every store must pass
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasker.clock import ManualClock
    from tasker.testing.schedules import ScheduleRun, run_schedules, run_schedules_sync
    from tasker.testing.steps import StepRun, make_context, run_step
    from tasker.testing.virtual_time import VirtualTimeStore
    from tasker.testing.workflows import WorkflowRun, run_workflow, run_workflow_sync

__all__ = [
    "ManualClock",
    "ScheduleRun",
    "StepRun",
    "VirtualTimeStore",
    "WorkflowRun",
    "make_context",
    "run_schedules",
    "run_schedules_sync",
    "run_step",
    "run_workflow",
    "run_workflow_sync",
]

_HOME = {
    "ManualClock": "tasker.clock",
    "VirtualTimeStore": "tasker.testing.virtual_time",
    "ScheduleRun": "tasker.testing.schedules",
    "run_schedules": "tasker.testing.schedules",
    "run_schedules_sync": "tasker.testing.schedules",
    "StepRun": "tasker.testing.steps",
    "WorkflowRun": "tasker.testing.workflows",
    "make_context": "tasker.testing.steps",
    "run_step": "tasker.testing.steps",
    "run_workflow": "tasker.testing.workflows",
    "run_workflow_sync": "tasker.testing.workflows",
}


def __getattr__(name: str) -> Any:  # imported when used: pytest loads the plugin at every start
    if name not in _HOME:
        raise AttributeError(f"module 'tasker.testing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__

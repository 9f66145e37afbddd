"""The handlers of the steps that the engine runs itself."""

from collections.abc import Mapping

from tasker.engine import approving, compensating, spawning, waiting
from tasker.engine.engine_steps import BuiltIn, EnginePlan
from tasker.errors import HandlerNotFound, Misuse
from tasker.graph import Graph
from tasker.layout import EngineStepKind
from tasker.model import StepSpec
from tasker.template.waits import expressions_of_engine_step

BUILT_IN: Mapping[str, BuiltIn] = {
    EngineStepKind.SPAWN: BuiltIn(spawning.spawn, spawning.expressions),
    EngineStepKind.CHECK: BuiltIn(spawning.end_iteration, spawning.expressions),
    EngineStepKind.JOIN: BuiltIn(spawning.join),
    EngineStepKind.WAIT: BuiltIn(waiting.wait, expressions_of_engine_step),
    EngineStepKind.RUN_TASK: BuiltIn(waiting.run_task, expressions_of_engine_step),
    EngineStepKind.APPROVE: BuiltIn(approving.approve, approving.expressions),
    EngineStepKind.COMPENSATE: BuiltIn(compensating.compensate),
    EngineStepKind.GATHER: BuiltIn(compensating.gather),
}
"""The handlers by the step's `method`, which is an `EngineStepKind`."""


def built_in_plan(graph: Graph, spec: StepSpec) -> EnginePlan | Misuse:
    """Return the call of the engine's handler for a step, or why it cannot be called."""
    built_in = BUILT_IN.get(_call_of(spec))
    if built_in is None:
        allowed = ", ".join(EngineStepKind)
        return HandlerNotFound(f"the engine has no handler for {spec.method!r}, only {allowed}")
    try:
        return EnginePlan(built_in, graph, spec)
    except Misuse as error:
        return error.with_traceback(None)


def _call_of(spec: StepSpec) -> str:
    if spec.approval is not None:
        return EngineStepKind.APPROVE
    if spec.wait is not None:
        return EngineStepKind.WAIT
    return EngineStepKind.RUN_TASK if spec.task is not None else spec.method or ""

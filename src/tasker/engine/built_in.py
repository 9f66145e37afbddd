"""The handlers of the steps that the engine runs itself."""

from collections.abc import Mapping

from tasker.engine import approving, compensating, spawning, waiting
from tasker.engine.engine_steps import BuiltInCallPlan, BuiltInHandler
from tasker.errors import HandlerNotFound, Misuse
from tasker.graph import Graph
from tasker.layout import EngineStepKind
from tasker.model import StepSpec
from tasker.template.waits import expressions_of_engine_step

BUILT_IN: Mapping[str, BuiltInHandler] = {
    EngineStepKind.SPAWN: BuiltInHandler(spawning.spawn_instances, spawning.list_spawn_expressions),
    EngineStepKind.CHECK: BuiltInHandler(
        spawning.continue_or_end_repeat, spawning.list_spawn_expressions
    ),
    EngineStepKind.JOIN: BuiltInHandler(spawning.join_instances),
    EngineStepKind.WAIT: BuiltInHandler(waiting.run_wait_step, expressions_of_engine_step),
    EngineStepKind.RUN_TASK: BuiltInHandler(waiting.run_task_step, expressions_of_engine_step),
    EngineStepKind.APPROVE: BuiltInHandler(
        approving.run_approval_step, approving.list_approval_expressions
    ),
    EngineStepKind.COMPENSATE: BuiltInHandler(compensating.insert_compensating_steps),
    EngineStepKind.GATHER: BuiltInHandler(compensating.complete_gather_step),
}
"""The engine's handlers, by the value of a step's `method`."""


def compile_built_in_call_plan(graph: Graph, spec: StepSpec) -> BuiltInCallPlan | Misuse:
    """Return the call of the engine's handler for a step, or why it cannot be called."""
    built_in = BUILT_IN.get(_built_in_name(spec))
    if built_in is None:
        allowed = ", ".join(EngineStepKind)
        return HandlerNotFound(f"the engine has no handler for {spec.method!r}, only for {allowed}")
    try:
        return BuiltInCallPlan(built_in, graph, spec)
    except Misuse as error:
        return error.with_traceback(None)


def _built_in_name(spec: StepSpec) -> str:
    if spec.approval is not None:
        return EngineStepKind.APPROVE
    if spec.wait is not None:
        return EngineStepKind.WAIT
    return EngineStepKind.RUN_TASK if spec.task is not None else spec.method or ""

"""Decides whether a freed step runs: its trigger rule, then its condition; reads decisions."""

from typing import TYPE_CHECKING, Any

from tasker import codec
from tasker.arrival import ParentOutcome, UnmetTriggerRule, find_unmet_trigger_rule, outgoing_edges
from tasker.engine.engine_steps import compute_referenced_results_bitmask
from tasker.errors import PermanentError
from tasker.graph import Graph
from tasker.model import TASK_NODE, Claim, JsonText, Outcome, StepStatus, StepType, skipped_outcome
from tasker.suggest import suggest_allowed
from tasker.template.expressions import compile_expression

if TYPE_CHECKING:
    from tasker.engine.task_cache import CachedTask

_ARRIVED = {
    StepStatus.COMPLETE: ParentOutcome.SUCCEEDED,
    StepStatus.SKIPPED: ParentOutcome.SKIPPED,
    StepStatus.ERROR: ParentOutcome.FAILED,
}


class RunCondition:
    """Decides whether one step of a template runs, by its trigger rule and its condition.

    Args:
        graph: The template's graph.
        no: The step.
    """

    def __init__(self, graph: Graph, no: int) -> None:
        self._name = graph.layout.declared_name(no)
        self._spec = graph.specs[no - 1]
        self._parents = [(parent, graph.specs[parent - 1]) for parent in graph.awaited_parents(no)]
        self._when = None if self._spec.when is None else compile_expression(self._spec.when)
        self.needs = compute_referenced_results_bitmask(
            self._when.paths if self._when else (), graph
        )
        """Mask of the steps whose states and results the condition reads."""

        for parent in graph.awaited_parents(no):
            self.needs |= 1 << parent

    def find_skip_outcome(self, claim: Claim, task: "CachedTask") -> Outcome | None:
        """Return the outcome with which a step is skipped, or None if it runs.

        Raises:
            PermanentError: No parent succeeded where one must, and one of them failed.
            InvalidExpression: The condition has no value.
        """
        arrived = [(spec.name, self._parent_outcome(no, task)) for no, spec in self._parents]
        verdict = find_unmet_trigger_rule(self._spec.trigger, arrived)
        if verdict is None and self._when is not None:
            holds = self._when.is_true(task.expression_values(self._when.paths))
            verdict = None if holds else UnmetTriggerRule(f"when: {self._when.text}")
        if verdict is None:
            return None
        if verdict.failed:
            raise PermanentError(verdict.reason, code="no_parent_succeeded")
        reason = {"type": "Skipped", "message": verdict.reason, "code": "skipped"}
        return skipped_outcome(claim, codec.dumps(reason))

    def _parent_outcome(self, parent: int, task: "CachedTask") -> ParentOutcome:
        state = task.step_state(parent)
        spec = task.compiled.graph.specs[parent - 1]
        if state.status is StepStatus.ERROR and spec.allow_failure:
            return ParentOutcome.ALLOWED
        if state.status is StepStatus.COMPLETE and spec.type is StepType.DECISION:
            chosen = _read_choice(None if state.result is None else codec.loads(state.result))
            if chosen is not None and self._name not in chosen:
                return ParentOutcome.NOT_CHOSEN
        return _ARRIVED.get(state.status, ParentOutcome.PENDING)


class ChildSelector:
    """Selects the children at which the success of a step arrives as a success.

    Args:
        graph: The template's graph.
        no: A decision, or a step with an eager child.
    """

    def __init__(self, graph: Graph, no: int) -> None:
        self._no = no
        self._spec = graph.specs[no - 1]
        self._children = {
            graph.layout.declared_name(child): child
            for child in graph.children[no]
            if child != TASK_NODE
        }

    def read_chosen_children(self, claim: Claim, result: JsonText) -> tuple[int, ...]:
        """Return the numbers of the chosen children; for a decision, read them from its result.

        Raises:
            PermanentError: The result makes no choice, or names steps that are not children.
        """
        names = list(self._children)
        if self._spec.type is StepType.DECISION:
            names = self._check_chosen_names(_read_choice(codec.loads(result)))
        offset = claim.no - self._no  # in an instance, its steps are numbered alike
        return tuple(self._children[name] + offset for name in names)

    def _check_chosen_names(self, chosen: list[Any] | None) -> list[str]:
        if chosen is None:
            raise PermanentError(
                f"the handler of the decision {self._spec.name!r} must return Decision.choose(...)"
                ' or Decision.none(reason), or the object {"chosen": [...]}',
                code="invalid_choice",
            )
        for name in chosen:
            if name not in self._children:
                raise PermanentError(
                    f"the decision {self._spec.name!r} chose {name!r}, which does not depend on it"
                    f"{suggest_allowed(str(name), self._children)}",
                    code="invalid_choice",
                )
        return chosen


def compile_child_selectors(graph: Graph) -> dict[int, ChildSelector] | None:
    """Return the selectors of steps by number, or None if every success reaches all children."""
    choices = {
        no: ChildSelector(graph, no)
        for no, spec in enumerate(graph.specs, start=1)
        if spec.type is StepType.DECISION or _has_eager_child(graph, no)
    }
    return choices or None


def _has_eager_child(graph: Graph, no: int) -> bool:
    """Return whether the success of a step may free a child several times."""
    return len(outgoing_edges(graph, no).children) > len(graph.children[no])


def _read_choice(result: Any) -> list[Any] | None:
    """Return the choice in a decision's result, or None if it makes no choice."""
    if not isinstance(result, dict):
        return None
    chosen = result.get("chosen")
    outcome = result.get("decision_point_outcome")  # of handlers for Tasker Core
    if chosen is None and isinstance(outcome, dict):
        chosen = [] if outcome.get("type") == "no_branches" else outcome.get("step_names")
    return chosen if isinstance(chosen, list) else None

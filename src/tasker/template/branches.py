"""Checks of decisions, trigger rules and conditions, which decide whether steps run."""

from collections.abc import Mapping

from tasker import limits
from tasker.model import EAGER_TRIGGERS, StepType, TriggerRule
from tasker.suggest import did_you_mean
from tasker.template.expressions import compile_expression
from tasker.template.parts import ParsedStep


def check_decisions_and_conditions(steps: Mapping[str, ParsedStep], before: frozenset[str]) -> None:
    """Report decisions without branches, rules without parents, and unknown results.

    Args:
        steps: The steps of a template or of a body, by name.
        before: The steps that are done before the body runs.
    """
    awaited = {parent for read in steps.values() for parent in read.spec.dependencies}
    for read in steps.values():
        spec = read.spec
        if spec.type is StepType.DECISION and spec.name not in awaited:
            read.name.report_problem(f"no step depends on the decision {spec.name!r}")
        if spec.trigger is not TriggerRule.ALL_SUCCESS and not spec.dependencies:
            read.name.report_problem(
                f"the step {spec.name!r} has the trigger {spec.trigger.value!r},"
                " but depends on no other step"
            )
        if spec.trigger in EAGER_TRIGGERS and len(spec.dependencies) > limits.EAGER_PARENTS:
            read.name.report_problem(
                f"a step with the trigger {spec.trigger.value!r} may depend on at most"
                f" {limits.EAGER_PARENTS} steps, found {len(spec.dependencies)}"
            )
        if spec.when is not None:
            _reject_results_of_non_ancestors(read, spec.when, steps, before)


def _reject_results_of_non_ancestors(
    read: ParsedStep, when: str, steps: Mapping[str, ParsedStep], before: frozenset[str]
) -> None:
    """Report results in a condition that do not belong to an ancestor."""
    ancestors = _find_ancestors(read, steps) | before
    for path in compile_expression(when).paths:
        if path.keys[0] != "results" or len(path.keys) == 1:
            continue
        name = str(path.keys[1])
        if name not in ancestors:
            known = name in steps
            reason = f"the step does not depend on {name!r}" if known else f"{name!r} is not a step"
            (read.when or read.name).report_problem(
                f"the condition of the step {read.spec.name!r} reads results.{name},"
                f" but {reason}{did_you_mean(name, ancestors)}"
            )


def _find_ancestors(read: ParsedStep, steps: Mapping[str, ParsedStep]) -> set[str]:
    ancestors: set[str] = set()
    pending = list(read.spec.dependencies)
    while pending:
        name = pending.pop()
        if name not in ancestors and name in steps:
            ancestors.add(name)
            pending += steps[name].spec.dependencies
    return ancestors

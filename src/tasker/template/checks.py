"""Checks of the graph as a whole: duplicate steps and invalid dependencies."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tasker.graph import find_cycle
from tasker.model import StepSpec
from tasker.suggest import did_you_mean
from tasker.template.branches import check_decisions_and_conditions
from tasker.template.http import results_used_by_call
from tasker.template.instances import check_results_come_from_ancestors
from tasker.template.parts import ParsedStep
from tasker.template.reading import LocatedValue
from tasker.template.waits import results_used_by_engine_step

MAX_STEPS = 10_000
_SHOWN = 20  #: steps of a cycle that a message names


def check_steps_and_dependencies(steps: list[ParsedStep]) -> None:
    """Report duplicate steps and invalid dependencies, including those in bodies."""
    known: dict[str, ParsedStep] = {}
    every = list(_iterate_with_bodies(steps))
    if len(every) > MAX_STEPS:
        every[0].name.report_problem(
            f"a template may have at most {MAX_STEPS:,} steps, including those in bodies"
        )
        return
    for read in every:
        name = read.spec.name
        if name in known:
            first = known[name].name
            mark = first.node.mark
            where = f"on line {mark.line}" if mark else f"at {first.path}"
            read.name.report_problem(
                f"the step {name!r} is duplicated; it is first defined {where}"
            )
        else:
            known[name] = read
    _check_dependencies(steps, known, None, frozenset())
    check_results_come_from_ancestors(steps)


def _iterate_with_bodies(steps: Iterable[ParsedStep]) -> Iterator[ParsedStep]:
    for read in steps:
        yield read
        yield from _iterate_with_bodies(read.body)


def _check_dependencies(
    steps: Sequence[ParsedStep],
    every: dict[str, ParsedStep],
    owner: str | None,
    before: frozenset[str],
) -> None:
    """Check the steps of a template or, with an `owner`, of a step's body.

    Args:
        steps: The steps.
        every: All steps of the template, by name.
        owner: The step that has the body.
        before: The ancestors of the owner and of the steps around it.
    """
    known = {read.spec.name: read for read in steps}
    for read in steps:
        for name, value in read.dependencies:
            if name in every and name not in known and read.spec.name != name:
                value.report_problem(_explain_other_scope(read.spec.name, name, owner))
            else:
                _check_dependency(read.spec.name, name, value, known)
        if read.body:
            ancestors = {name for name in known if _is_ancestor(name, read, known)}
            _check_dependencies(read.body, every, read.spec.name, before | ancestors)
    if not _report_cycle(known):
        check_decisions_and_conditions(known, before)
    _check_results_used(known, before)


def _check_results_used(known: dict[str, ParsedStep], before: frozenset[str]) -> None:
    """Report results read by steps without a handler that do not belong to their ancestors."""
    for read in known.values():
        spec = read.spec
        kind = (
            "http call"
            if spec.http
            else "approval"
            if spec.approval
            else "wait"
            if spec.wait
            else "task"
        )
        for name in (
            *(results_used_by_call(spec.http) if spec.http else ()),
            *results_used_by_engine_step(spec),
        ):
            if name in before:
                continue
            if name not in known:
                guess = did_you_mean(name, known)
                read.name.report_problem(
                    f"the {kind} uses results.{name}, but {name!r} is not a step{guess}"
                )
            elif not _is_ancestor(name, read, known):
                read.name.report_problem(
                    f"the {kind} uses results.{name}, but {name!r} is not an ancestor;"
                    " add it to the dependencies"
                )


def _describe_kind_of_work(spec: StepSpec) -> str:
    if spec.http is not None:
        return "http call"
    if spec.approval is not None:
        return "approval"
    return "wait" if spec.wait is not None else "task"


def _is_ancestor(name: str, read: ParsedStep, known: dict[str, ParsedStep]) -> bool:
    """Return whether a step is an ancestor of another one."""
    seen: set[str] = set()
    waiting = [dependency for dependency, _ in read.dependencies]
    while waiting:
        step = waiting.pop()
        if step not in seen and step in known:
            seen.add(step)
            waiting += [dependency for dependency, _ in known[step].dependencies]
    return name in seen


def _explain_other_scope(step: str, name: str, owner: str | None) -> str:
    if owner is None:
        return (
            f"the step {step!r} depends on {name!r}, which is inside a body;"
            " depend on the step that contains the body"
        )
    return (
        f"the step {step!r} in the body of {owner!r} depends on {name!r}, which is outside the"
        f" body; make {owner!r} depend on {name!r}, so that its body can use the result"
    )


def _check_dependency(
    step: str, name: str, value: LocatedValue, known: dict[str, ParsedStep]
) -> None:
    if name == step:
        value.report_problem(f"the step {step!r} depends on itself")
    elif name not in known:
        guess = (
            ""
            if value.problems.omits_suggestions
            else did_you_mean(name, (other for other in known if other != step))
        )
        value.report_problem(f"the step {step!r} depends on {name!r}, which is not a step{guess}")


def _report_cycle(known: dict[str, ParsedStep]) -> bool:
    """Report the first cycle of two steps or more; arrows lead from a step to its dependency."""
    cycle = find_cycle(
        {
            step: [name for name, _ in read.dependencies if name != step]
            for step, read in known.items()
        }
    )
    if cycle is None:
        return False
    waiting, awaited = next(pairwise(cycle))
    value = dict(known[waiting].dependencies)[awaited]
    shown = cycle
    if len(cycle) > _SHOWN:
        half = _SHOWN // 2
        shown = (*cycle[:half], f"... {len(cycle) - _SHOWN:,} more ...", *cycle[-half:])
    value.report_problem(f"the dependencies form a cycle: {' -> '.join(shown)}")
    return True

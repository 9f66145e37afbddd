"""Checks of the graph as a whole: steps named twice, and dependencies that cannot hold."""

from itertools import pairwise

from tasker.graph import find_cycle
from tasker.suggest import did_you_mean
from tasker.template.http import result_names
from tasker.template.parts import ReadStep
from tasker.template.reading import Value

MAX_STEPS = 10_000
_SHOWN = 20  #: steps of a cycle that a message names


def check_graph(steps: list[ReadStep]) -> None:
    """Report duplicate steps and invalid dependencies."""
    known: dict[str, ReadStep] = {}
    for read in steps:
        name = read.spec.name
        if name in known:
            first = known[name].name
            mark = first.node.mark
            where = f"on line {mark.line}" if mark else f"at {first.path}"
            read.name.refuse(f"the step {name!r} is duplicated; first {where}")
        else:
            known[name] = read
    for read in steps:
        for name, value in read.dependencies:
            _check_dependency(read.spec.name, name, value, known)
    _check_cycles(known)
    _check_http_calls(known)


def _check_http_calls(known: dict[str, ReadStep]) -> None:
    """Report placeholders of HTTP calls that name steps which are not ancestors."""
    for read in known.values():
        for name in result_names(read.spec.http) if read.spec.http else ():
            if name not in known:
                guess = did_you_mean(name, known)
                read.name.refuse(f"the http call uses results.{name}, which is not a step{guess}")
            elif not _is_ancestor(name, read, known):
                read.name.refuse(
                    f"the http call uses results.{name}, but {name!r} is not an ancestor;"
                    " add it to the dependencies"
                )


def _is_ancestor(name: str, read: ReadStep, known: dict[str, ReadStep]) -> bool:
    """Return whether a step is an ancestor of another one."""
    seen: set[str] = set()
    waiting = [dependency for dependency, _ in read.dependencies]
    while waiting:
        step = waiting.pop()
        if step not in seen and step in known:
            seen.add(step)
            waiting += [dependency for dependency, _ in known[step].dependencies]
    return name in seen


def _check_dependency(step: str, name: str, value: Value, known: dict[str, ReadStep]) -> None:
    if name == step:
        value.refuse(f"the step {step!r} depends on itself")
    elif name not in known:
        guess = (
            ""
            if value.problems.is_full
            else did_you_mean(name, (other for other in known if other != step))
        )
        value.refuse(f"the step {step!r} depends on {name!r}, which is not a step{guess}")


def _check_cycles(known: dict[str, ReadStep]) -> None:
    """Report the first cycle of two steps or more; arrows lead from a step to its dependency."""
    cycle = find_cycle(
        {
            step: [name for name, _ in read.dependencies if name != step]
            for step, read in known.items()
        }
    )
    if cycle is None:
        return
    waiting, awaited = next(pairwise(cycle))
    value = dict(known[waiting].dependencies)[awaited]
    shown = cycle
    if len(cycle) > _SHOWN:
        half = _SHOWN // 2
        shown = (*cycle[:half], f"... {len(cycle) - _SHOWN:,} more ...", *cycle[-half:])
    value.refuse(f"the dependencies form a cycle: {' -> '.join(shown)}")

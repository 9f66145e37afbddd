"""Merges the entries of environments, for one step or all, into one override per step."""

from collections.abc import Iterable, Mapping

from tasker.model import JsonObject, StepOverride, StepSpec
from tasker.suggest import did_you_mean
from tasker.template import parts
from tasker.template.parts import ALL, Dialect, EnvironmentChange
from tasker.template.reading import LocatedValue
from tasker.template.source import MappingNode

MAX_OVERRIDES = 200_000  #: steps overridden, in all environments

Environments = Mapping[str, Mapping[str, StepOverride]]


def read_environments(
    value: LocatedValue, dialect: Dialect, specs: Mapping[str, StepSpec]
) -> Environments:
    """Read all environments of a template.

    Args:
        value: Entries of `steps` (or `step_templates`) by environment.
        dialect: How the entries are written.
        specs: The template's steps, by name.
    """
    environments_read: dict[str, Mapping[str, StepOverride]] = {}
    count = 0
    for name, part in value.mapping_values("a mapping of environments").items():
        if isinstance(value.node, MappingNode):
            parts.check_environment_name(name, value, value.node.entries[name].mark)
        environments_read[name] = _merge_overrides(_read_environment(part, dialect, specs), specs)
        count += len(environments_read[name])
        if count > MAX_OVERRIDES:
            value.report_problem(
                f"the environments contain more than {MAX_OVERRIDES:,} overrides of steps"
            )
            return {}
    return environments_read


def _read_environment(
    value: LocatedValue, dialect: Dialect, specs: Mapping[str, StepSpec]
) -> dict[str, EnvironmentChange]:
    """Read the entries of one environment, by step."""
    if value.is_missing:
        return {}
    changes: dict[str, EnvironmentChange] = {}
    for item in value.read_fields(dialect.environment).list_items(dialect.steps, "a list of steps"):
        change = dialect.change(item)
        if change is None:
            continue
        if change.step != ALL and change.step not in specs:
            guess = (
                "" if value.problems.omits_suggestions else did_you_mean(change.step, (*specs, ALL))
            )
            change.name.report_problem(f"{change.step!r} is not a step of this template{guess}")
        elif change.step in changes:
            change.name.report_problem(f"the step {change.step!r} is duplicated")
        else:
            changes[change.step] = change
    return changes


def _merge_overrides(
    changes: Mapping[str, EnvironmentChange], specs: Mapping[str, StepSpec]
) -> dict[str, StepOverride]:
    """Build one override per step: entries for all steps, then entries for this step."""
    every = changes.get(ALL)
    names: Iterable[str] = specs if every else changes
    return {
        name: _build_override(
            specs[name], [change for change in (every, changes.get(name)) if change]
        )
        for name in names
    }


def _build_override(spec: StepSpec, changes: list[EnvironmentChange]) -> StepOverride:
    """Apply changes to a step in order; retry settings are merged with the step's own."""
    config: JsonObject | None = None
    retry, timeout = None, None
    for change in changes:
        if change.config is not None:
            config = {**(config or {}), **change.config}
        if change.retry is not None:
            retry = change.retry.apply_to(retry or spec.retry)
        timeout = change.timeout or timeout
    return StepOverride(config=config, retry=retry, timeout=timeout)

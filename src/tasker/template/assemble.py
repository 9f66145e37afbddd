"""Builds a `Template` from the nodes of one document: the part that both dialects share."""

from tasker.model import (
    DEFAULT_PRIORITY,
    PRIORITIES,
    Compensation,
    Map,
    SettlementDurability,
    Template,
    flatten_steps,
)
from tasker.template import parts
from tasker.template.checks import MAX_STEPS, check_steps_and_dependencies
from tasker.template.compensation import read_compensation_policy
from tasker.template.declared_events import read_task_events
from tasker.template.dialects import core, rails
from tasker.template.environments import read_environments
from tasker.template.parts import Dialect, ParsedStep
from tasker.template.reading import (
    YEARS_10,
    LocatedValue,
    MappingFields,
    read_choice,
    read_duration,
    read_integer,
    read_optional,
    read_text,
)
from tasker.template.schedules import read_schedules
from tasker.template.sensitive import check_sensitive_paths, read_sensitive_paths
from tasker.template.source import FileProblems, ListNode, MappingNode, Node
from tasker.template.step_limits import read_concurrency, read_limits


def assemble_template(root: Node, problems: FileProblems) -> Template | None:
    """Read a document; if problems were reported, the template must not be used."""
    value = LocatedValue(root, "", problems)
    if not isinstance(root, MappingNode):
        value.report_wrong_type("a template (a mapping with 'name' and 'steps')")
        return None
    dialect = _choose_dialect(root, value)
    if dialect is None:
        return None
    top = value.read_fields(dialect.top)
    steps = _read_steps(top, dialect)
    specs = {spec.name: spec for spec in flatten_steps(read.spec for read in steps)}
    template = Template(
        name=read_optional(top.get_required("name"), parts.read_identifier) or "",
        namespace=top.read("namespace_name", parts.read_namespace) or parts.DEFAULT_NAMESPACE,
        version=top.read("version", parts.read_version) or parts.DEFAULT_VERSION,
        description=top.read("description", read_text) or "",
        steps=tuple(read.spec for read in steps),
        input_schema=top.read(dialect.schema, parts.read_input_schema),
        deadline=dialect.deadline(top),
        title=top.read("title", parts.read_title) or "",
        attributes=top.read("attributes", parts.read_attributes) or {},
        sensitive=top.read("sensitive", read_sensitive_paths) or (),
        retention=top.read("retention", read_duration, YEARS_10),
        priority=_read_priority(top),
        durability=_read_durability(top),
        schedules=top.read("schedules", read_schedules) or (),
        limits=top.read("limits", read_limits) or (),
        concurrency=top.read("concurrency", read_concurrency),
        events=top.read("events", read_task_events) or (),
        compensation=top.read("compensation", read_compensation_policy) or Compensation(),
        environments=top.read("environments", read_environments, dialect, specs) or {},
        metadata=dialect.metadata(top),
    )
    _reject_map_bodies_with_too_many_limits(top, template)
    if named := top.get("sensitive"):
        check_sensitive_paths(named, template)
    if (written := top.get("compensation")) and not any(spec.compensate for spec in specs.values()):
        written.report_problem(
            "'compensation' has no effect because no step has 'compensate'; remove it"
        )
    return template


def _reject_map_bodies_with_too_many_limits(top: MappingFields, template: Template) -> None:
    """Reject bodies of maps with more limits than a step may have."""
    for spec in flatten_steps(template.steps):
        if not isinstance(spec.spawning, Map) or spec.spawning.max_concurrency is None:
            continue
        for body in spec.steps or (spec,):
            if len(template.limits_of_step(body)) > 1 and (written := top.get("steps")):
                written.report_problem(
                    f"step {body.name!r} has two limits, and the 'max_concurrency' of its map"
                    " counts as a third; a step may have at most 2 limits"
                )


def _read_priority(top: MappingFields) -> int:
    chosen = top.read("priority", read_integer, 0, PRIORITIES - 1)
    return DEFAULT_PRIORITY if chosen is None else chosen


def _read_durability(top: MappingFields) -> SettlementDurability:
    chosen = top.read("durability", read_choice, tuple(SettlementDurability))
    return SettlementDurability(chosen) if chosen else SettlementDurability.FULL


def _choose_dialect(root: MappingNode, value: LocatedValue) -> Dialect | None:
    """Choose the dialect by the key of the steps, or by other keys if that is missing."""
    newest, oldest = root.entries.get("steps"), root.entries.get("step_templates")
    if newest and oldest:
        value.report_problem(
            "a template has either 'steps' (the core dialect)"
            " or 'step_templates' (the rails dialect), not both",
            max((entry.mark for entry in (newest, oldest) if entry.mark), default=None),
        )
        return None
    if newest or oldest:
        return core.DIALECT if newest else rails.DIALECT
    only_older = set(rails.DIALECT.top.allowed) - set(core.DIALECT.top.allowed) - {"schema"}
    return core.DIALECT if only_older.isdisjoint(root.entries) else rails.DIALECT


def _read_steps(top: MappingFields, dialect: Dialect) -> list[ParsedStep]:
    value = top.get_required(dialect.steps, ": a template needs at least one step")
    if value is None:
        return []
    items = value.list_items("a list of steps")
    if not items and isinstance(value.node, ListNode):
        value.report_problem("a template needs at least one step")
    if len(items) > MAX_STEPS:
        value.report_problem(
            f"a template may have at most {MAX_STEPS:,} steps, found {len(items):,}"
        )
        return []
    read = [step for item in items if (step := dialect.step(item)) is not None]
    steps = dialect.finish(top, read)
    check_steps_and_dependencies(steps)
    return steps

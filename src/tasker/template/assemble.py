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
from tasker.template.checks import MAX_STEPS, check_graph
from tasker.template.compensation import read_compensation
from tasker.template.declared_events import read_task_events
from tasker.template.dialects import core, rails
from tasker.template.environments import read_environments
from tasker.template.parts import Dialect, ReadStep
from tasker.template.reading import (
    YEARS_10,
    Fields,
    Value,
    optional,
    read_choice,
    read_duration,
    read_integer,
    read_text,
)
from tasker.template.schedules import read_schedules
from tasker.template.sensitive import check_sensitive, read_sensitive
from tasker.template.source import Items, Node, Problems, Table
from tasker.template.step_limits import read_concurrency, read_limits


def assemble_template(root: Node, problems: Problems) -> Template | None:
    """Read a document; if problems were reported, the template must not be used."""
    value = Value(root, "", problems)
    if not isinstance(root, Table):
        value.refuse_kind("a template, a mapping with 'name' and 'steps'")
        return None
    dialect = _choose_dialect(root, value)
    if dialect is None:
        return None
    top = value.fields(dialect.top)
    steps = _read_steps(top, dialect)
    specs = {spec.name: spec for spec in flatten_steps(read.spec for read in steps)}
    template = Template(
        name=optional(top.required("name"), parts.read_plain_name) or "",
        namespace=top.read("namespace_name", parts.read_namespace) or parts.DEFAULT_NAMESPACE,
        version=top.read("version", parts.read_version) or parts.DEFAULT_VERSION,
        description=top.read("description", read_text) or "",
        steps=tuple(read.spec for read in steps),
        input_schema=top.read(dialect.schema, parts.read_input_schema),
        deadline=dialect.deadline(top),
        title=top.read("title", parts.read_title) or "",
        attributes=top.read("attributes", parts.read_attributes) or {},
        sensitive=top.read("sensitive", read_sensitive) or (),
        retention=top.read("retention", read_duration, YEARS_10),
        priority=_priority(top),
        durability=_durability(top),
        schedules=top.read("schedules", read_schedules) or (),
        limits=top.read("limits", read_limits) or (),
        concurrency=top.read("concurrency", read_concurrency),
        events=top.read("events", read_task_events) or (),
        compensation=top.read("compensation", read_compensation) or Compensation(),
        environments=top.read("environments", read_environments, dialect, specs) or {},
        metadata=dialect.metadata(top),
    )
    _check_limits(top, template)
    if named := top.get("sensitive"):
        check_sensitive(named, template)
    if (written := top.get("compensation")) and not any(spec.compensate for spec in specs.values()):
        written.refuse("no step has 'compensate', so nothing would be undone; remove it")
    return template


def _check_limits(top: Fields, template: Template) -> None:
    """Reject bodies of maps with more limits than a step may have."""
    for spec in flatten_steps(template.steps):
        if not isinstance(spec.spawning, Map) or spec.spawning.max_concurrency is None:
            continue
        for body in spec.steps or (spec,):
            if len(template.limits_of(body)) > 1 and (written := top.get("steps")):
                written.refuse(
                    f"step {body.name!r} is under two limits and the 'max_concurrency' of its map;"
                    " a step may be under at most 2 limits"
                )


def _priority(top: Fields) -> int:
    chosen = top.read("priority", read_integer, 0, PRIORITIES - 1)
    return DEFAULT_PRIORITY if chosen is None else chosen


def _durability(top: Fields) -> SettlementDurability:
    chosen = top.read("durability", read_choice, tuple(SettlementDurability))
    return SettlementDurability(chosen) if chosen else SettlementDurability.FULL


def _choose_dialect(root: Table, value: Value) -> Dialect | None:
    """Choose the dialect by the key of the steps, or by other keys if that is missing."""
    newest, oldest = root.entries.get("steps"), root.entries.get("step_templates")
    if newest and oldest:
        value.refuse(
            "a template has either 'steps' (the core dialect)"
            " or 'step_templates' (the rails dialect)",
            max((entry.mark for entry in (newest, oldest) if entry.mark), default=None),
        )
        return None
    if newest or oldest:
        return core.DIALECT if newest else rails.DIALECT
    only_older = set(rails.DIALECT.top.allowed) - set(core.DIALECT.top.allowed) - {"schema"}
    return core.DIALECT if only_older.isdisjoint(root.entries) else rails.DIALECT


def _read_steps(top: Fields, dialect: Dialect) -> list[ReadStep]:
    value = top.required(dialect.steps, ": a template needs at least one step")
    if value is None:
        return []
    items = value.items("a list of steps")
    if not items and isinstance(value.node, Items):
        value.refuse("a template needs at least one step")
    if len(items) > MAX_STEPS:
        value.refuse(f"a template may have at most {MAX_STEPS:,} steps, found {len(items):,}")
        return []
    read = [step for item in items if (step := dialect.step(item)) is not None]
    steps = dialect.finish(top, read)
    check_graph(steps)
    return steps

"""The nodes of a template: its steps, and the parts of steps with instances.

A step with `map`, `batch` or `repeat` becomes a *spawner*, the nodes of its *body*, and a *join*
that has the step's name. The spawner and the join are steps of the task. The nodes of the body are
created as steps at run time, once for each instance. The body of a loop ends with a *check* that
evaluates `until`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

from tasker.model import (
    ENGINE,
    Batch,
    CollectMode,
    InstanceFailureHandling,
    InstanceFailurePolicy,
    Map,
    Repeat,
    Retry,
    Spawning,
    StepSpec,
    TriggerRule,
)

COMPENSATION = ".compensation"  #: end of the names of steps that undo others
PLANNER = "compensation.plan"
GATHER = "compensation.gather"

_INDEX = re.compile(r"\[(\d+)\]")
_ENGINE_RETRY = Retry(max_attempts=10)


class EngineStepKind(StrEnum):
    """The kind of an engine step, named by `StepSpec.method`."""

    SPAWN = "spawn"
    CHECK = "check"
    JOIN = "join"
    WAIT = "wait"
    RUN_TASK = "run_task"
    APPROVE = "approve"
    COMPENSATE = "compensate"
    GATHER = "gather"


class BodyNodes(NamedTuple):
    """The nodes of one step with instances: its spawner, its join and its body."""

    spec: StepSpec  #: as it is declared
    spawning: Spawning
    spawner: int
    join: int
    first: int  #: the number of the body's first node; the others follow it
    size: int  #: number of the body's nodes

    @property
    def nodes(self) -> range:
        return range(self.first, self.first + self.size)

    @property
    def tolerates_failures(self) -> bool:
        """Whether the join decides about failed instances, so the task does not fail because of
        them."""
        return (
            self.spec.on_failure.policy is InstanceFailurePolicy.CONTINUE or self.spec.allow_failure
        )

    @property
    def loop_check_node(self) -> int | None:
        """The node that ends each iteration of a loop."""
        return self.first + self.size - 1 if isinstance(self.spawning, Repeat) else None


class CompensatingNodes(NamedTuple):
    """The nodes that undo the completed steps of a task. They are a template's last nodes."""

    planner: int
    gather: int  #: waits for the end of many; the node of any number of steps
    undone: Mapping[int, int]  #: compensating node -> node that it undoes

    @property
    def nodes(self) -> range:
        return range(self.planner, self.gather + len(self.undone) + 1)


class NodeLayout:
    """The nodes of a template, numbered from 1. The nodes of a body have consecutive numbers."""

    def __init__(self, steps: Sequence[StepSpec]) -> None:
        self.specs: Sequence[StepSpec] = steps
        self.bodies: dict[int, BodyNodes] = {}  #: by the number of the spawner
        self.scopes: dict[int, int] = {}  #: node of a body -> spawner
        self.labels: dict[int, str] = {}  #: of nodes of bodies, with [] for their instances
        self.compensating: CompensatingNodes | None = None
        if any(spec.spawning for spec in steps):
            specs: list[StepSpec] = []
            self.specs = specs
            self._add_nodes(specs, steps, 0, "")
        if any(spec.compensate for spec in self.specs):
            self.specs = [*self.specs]
            self._add_compensating_nodes(self.specs)

    @property
    def undone_node_by_compensating_node(self) -> Mapping[int, int]:
        """The nodes that are undone, by the nodes that undo them."""
        return {} if self.compensating is None else self.compensating.undone

    @property
    def compensating_nodes(self) -> range:
        """The nodes of compensating steps, which are created when their task fails."""
        return range(0) if self.compensating is None else self.compensating.nodes

    @property
    def bodies_by_join(self) -> Mapping[int, BodyNodes]:
        """Bodies by the number of their join."""
        return {body.join: body for body in self.bodies.values()}

    def tolerates_failures(self, no: int) -> bool:
        """Return whether a failure of node `no` counts in its join, instead of failing its task."""
        scope = self.scopes.get(no)
        return scope is not None and self.bodies[scope].tolerates_failures

    def declared_name(self, no: int) -> str:
        """Return the name under which a node is declared; a spawner has the name of its step."""
        body = self.bodies.get(no)
        return self.specs[no - 1].name if body is None else body.spec.name

    def spawner_around(self, no: int) -> int:
        """Return the spawner whose body node `no` is part of, or 0."""
        return self.scopes.get(no, 0)

    def step_name_pattern(self, no: int) -> str:
        """Return a node's name, with `[]` for each instance that it is part of."""
        return self.labels.get(no) or self.specs[no - 1].name

    def _add_nodes(
        self, specs: list[StepSpec], steps: Sequence[StepSpec], scope: int, path: str
    ) -> None:
        """Add the nodes of a template or body, followed by the nodes of the bodies within it."""
        inner: list[tuple[StepSpec, Spawning, int]] = []
        for spec in steps:
            if spec.spawning is None or spec.callable == ENGINE:
                self._append_node(specs, spec, scope, path)
                continue
            spawner = self._append_node(specs, _make_spawner(spec), scope, path)
            inner.append((spec, spec.spawning, spawner))
            self._append_node(specs, _make_join(spec), scope, path)
            if spec.reduce is not None:
                self._append_node(specs, _make_reducer(spec), scope, path)
        for spec, spawning, spawner in inner:
            body = [*spec.steps] or [_make_single_step_body(spec)]
            if isinstance(spawning, Repeat):
                body.append(_make_loop_check(spec, body))
            size = sum(map(_count_own_nodes, body))
            first = len(specs) + 1
            self.bodies[spawner] = BodyNodes(spec, spawning, spawner, spawner + 1, first, size)
            self._add_nodes(specs, body, spawner, f"{path}.{spec.name}[]".removeprefix("."))

    def _add_compensating_nodes(self, specs: list[StepSpec]) -> None:
        """Add the nodes by which steps are undone."""
        undone = [no for no, spec in enumerate(specs, start=1) if spec.compensate]
        planner = len(specs) + 1
        for name, call in ((PLANNER, EngineStepKind.COMPENSATE), (GATHER, EngineStepKind.GATHER)):
            specs.append(_make_engine_step(StepSpec(name=name), call))
        for no in undone:
            spec = specs[no - 1]
            specs.append(_make_compensating_step(spec))
            if scope := self.scopes.get(no):
                self.scopes[len(specs)] = scope
                self.labels[len(specs)] = f"{self.step_name_pattern(no)}{COMPENSATION}"
        first = planner + 2
        self.compensating = CompensatingNodes(
            planner, planner + 1, dict(zip(range(first, first + len(undone)), undone, strict=True))
        )

    def _append_node(self, specs: list[StepSpec], spec: StepSpec, scope: int, path: str) -> int:
        specs.append(spec)
        no = len(specs)
        if scope:
            owner = self.bodies[scope].spec.name
            plain = spec.name.removeprefix(f"{owner}.").removeprefix(f"{owner}[]")
            self.scopes[no] = scope
            self.labels[no] = f"{path}.{plain}" if plain else path
        return no


def fill_step_name_pattern(label: str, instances: Iterable[int]) -> str:
    """Return the name of a step: a node's label with the numbers of its instances."""
    for instance in instances:
        label = label.replace("[]", f"[{instance}]", 1)
    return label


def instance_input_names(spawning: Spawning | None) -> tuple[str, ...]:
    """Return the names under which a body reads the inputs of its instance."""
    match spawning:
        case Map(item=item):
            return (item,)
        case Batch():
            return ("cursor",)
        case Repeat():
            return ("iteration",)
    return ()


def steps_with_handlers(steps: Sequence[StepSpec]) -> Sequence[StepSpec]:
    """Return the nodes of a template that call handlers; the engine runs all other nodes."""
    return [spec for spec in NodeLayout(steps).specs if spec.handler != ENGINE]


class NodeInstance(NamedTuple):
    """A node of a template and the numbers of the instances that a step is part of."""

    node: int
    instances: tuple[tuple[BodyNodes, int], ...]  #: from the outermost


def find_node_instance(layout: NodeLayout, name: str) -> NodeInstance | None:
    """Return the place of the step with a name such as `convert[17]`, or None if there is no such
    step."""
    label = _INDEX.sub("[]", name)
    node = next((no for no, other in layout.labels.items() if other == label), None)
    if node is None:
        return None
    bodies: list[BodyNodes] = []
    scope = layout.spawner_around(node)
    while scope:
        bodies.insert(0, layout.bodies[scope])
        scope = layout.spawner_around(scope)
    return NodeInstance(node, tuple(zip(bodies, map(int, _INDEX.findall(name)), strict=True)))


def _count_own_nodes(spec: StepSpec) -> int:
    """Return the number of nodes that a step has in its own scope."""
    if spec.spawning is None or spec.callable == ENGINE:
        return 1
    return 2 if spec.reduce is None else 3


def _make_spawner(spec: StepSpec) -> StepSpec:
    kind = {Map: "map", Batch: "batch", Repeat: "repeat"}[type(spec.spawning)]
    return _make_engine_step(
        replace(spec, name=f"{spec.name}.{kind}"), EngineStepKind.SPAWN, spawning=spec.spawning
    )


def _make_join(spec: StepSpec) -> StepSpec:
    name = spec.name if spec.reduce is None else f"{spec.name}.join"
    awaited = (_make_spawner(spec).name,)
    return _make_engine_step(
        StepSpec(name=name, description=spec.description, dependencies=awaited),
        EngineStepKind.JOIN,
        allow_failure=spec.allow_failure and spec.reduce is None,
    )


def _make_engine_step(spec: StepSpec, call: EngineStepKind, **fields: Any) -> StepSpec:
    """Return an engine step with those fields of `spec` that decide whether and when it runs."""
    return StepSpec(
        name=spec.name,
        description=spec.description,
        dependencies=spec.dependencies,
        when=spec.when,
        trigger=spec.trigger,
        callable=ENGINE,
        method=call,
        retry=_ENGINE_RETRY,
        **fields,
    )


def _make_compensating_step(spec: StepSpec) -> StepSpec:
    """Return the step that undoes another one."""
    undo = spec.compensate
    if undo is None:
        raise ValueError(f"step {spec.name!r} has no compensation")
    return StepSpec(
        name=f"{spec.name}{COMPENSATION}",
        callable=undo.callable,
        method=undo.method,
        handler_version=undo.version or spec.handler_version,
        config=spec.config,
        dependencies=(spec.name,),
        retry=undo.retry,
        timeout=undo.timeout,
        requires=spec.requires,
        limits=(),
    )


def _make_reducer(spec: StepSpec) -> StepSpec:
    """Return the step that computes the result from the instances' results."""
    return replace(
        spec,
        callable=spec.reduce,
        method=None,
        http=None,
        wait=None,
        approval=None,
        task=None,
        external=None,
        events=(),
        dependencies=(_make_join(spec).name,),
        when=None,
        trigger=TriggerRule.ALL_SUCCESS,
        spawning=None,
        steps=(),
        collect=CollectMode.LIST,
        reduce=None,
        on_failure=InstanceFailureHandling(),
        compensate=None,
    )


def _make_single_step_body(spec: StepSpec) -> StepSpec:
    """Return the body of a step whose own handler is its body."""
    return replace(
        spec,
        name=f"{spec.name}[]",
        callable=spec.handler,
        dependencies=(),
        when=None,
        trigger=TriggerRule.ALL_SUCCESS,
        allow_failure=False,
        spawning=None,
        collect=CollectMode.LIST,
        reduce=None,
        on_failure=InstanceFailureHandling(),
    )


def _make_loop_check(spec: StepSpec, body: Sequence[StepSpec]) -> StepSpec:
    awaited = {name for step in body for name in step.dependencies}
    last = tuple(step.name for step in body if step.name not in awaited)
    step = StepSpec(name=f"{spec.name}.until", dependencies=last)
    return _make_engine_step(step, EngineStepKind.CHECK, spawning=spec.spawning)

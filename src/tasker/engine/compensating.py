"""The engine's own steps of a compensation: planning it, and joining many compensating steps.

Steps are undone in reverse order, each after all steps that came after it. Steps that are not
undone become edges between those that are. Each instance of a body is undone separately.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from tasker.codec import dumps
from tasker.engine.engine_steps import EngineAttempt
from tasker.errors import AttemptCancelled, Misuse
from tasker.graph import Graph
from tasker.layout import BodyNodes
from tasker.model import (
    MOST_SPAWNED,
    CompensatingStep,
    CompensationCandidate,
    JsonText,
    Outcome,
    Repeat,
    TaskId,
    completed_outcome,
)
from tasker.store.protocol import COMPLETED_STEPS, WorkerStore


async def insert_compensating_steps(attempt: EngineAttempt) -> Outcome:
    """Insert the steps that undo completed steps."""
    compiled, store = attempt.cached.compiled, attempt.engine.store
    claim = attempt.claim
    done = await _load_completed_steps(store, compiled.graph, claim.task_id)
    steps = plan_compensating_steps(compiled.graph, done)
    keep_going = compiled.template.compensation.keep_going
    for begin in range(0, len(steps), MOST_SPAWNED):
        part = steps[begin : begin + MOST_SPAWNED]
        if attempt.cancelled or not await store.add_compensating_steps(
            claim, part, len(steps), keep_going=keep_going
        ):
            raise AttemptCancelled("the attempt was cancelled or no longer holds its step")
    return completed_outcome(claim, dumps({"steps": len(steps)}))


async def complete_gather_step(attempt: EngineAttempt) -> Outcome:
    """Complete a gather step: it only waits for other steps."""
    return completed_outcome(attempt.claim, JsonText("null"))


async def _load_completed_steps(
    store: WorkerStore, graph: Graph, task_id: TaskId
) -> list[CompensationCandidate]:
    """Return the steps to undo and the steps that spawned them."""
    nodes = sorted(graph.layout.undone_node_by_compensating_node.values())
    done = await store.list_completed_steps_of_nodes(task_id, nodes)
    while done and len(done) % COMPLETED_STEPS == 0:
        page = await store.list_completed_steps_of_nodes(task_id, nodes, after=done[-1].no)
        done += page
        if not page:
            break
    made = sorted({step.spawned_by for step in done if step.spawned_by is not None})
    inner = [no for no in made if no > len(graph.specs)]
    rows = await store.load_runtime_steps({task_id: inner}) if inner else []
    spawners = [
        CompensationCandidate(row.no, row.template_node, row.spawned_by, row.instance)
        for row in rows
    ]
    return done + spawners


_Instance: TypeAlias = tuple[int, int]  #: the number of the spawner, and which of its instances


class _InstanceNode(NamedTuple):
    """A node of the template in an instance of its body; in the task itself if that is None."""

    instance: _Instance | None
    node: int


class _CompletionOrder:
    """The order in which the steps of a task completed."""

    def __init__(self, graph: Graph, done: Sequence[CompensationCandidate]) -> None:
        self._graph = graph
        self.numbers: dict[_InstanceNode, int] = {}
        """Step numbers of the nodes to undo, and of the spawners and joins that connect their
        instances."""

        self.after: dict[_InstanceNode, list[_InstanceNode]] = {}
        undone = {*graph.layout.undone_node_by_compensating_node.values()}
        known = {step.no: step for step in done}
        instances: dict[_Instance, BodyNodes] = {}
        for step in done:
            if step.node in undone:
                self.numbers[_InstanceNode(_get_candidate_instance(step), step.node)] = step.no
            here: CompensationCandidate | None = step
            while here is not None and (instance := _get_candidate_instance(here)) is not None:
                instances[instance] = graph.layout.bodies[graph.layout.spawner_around(here.node)]
                here = known.get(instance[0])
        self._add_edges(
            None, [no for no in graph.forward_nodes if not graph.layout.spawner_around(no)]
        )
        spawned: dict[int, list[int]] = {}
        for instance, body in sorted(instances.items()):
            spawned.setdefault(instance[0], []).append(instance[1])
            self._add_edges(instance, body.nodes)
        for spawner, numbers in spawned.items():
            maker = known.get(spawner)
            around = None if maker is None else _get_candidate_instance(maker)
            self._add_body_edges(instances[spawner, numbers[0]], spawner, around, numbers)

    def _add_edges(self, instance: _Instance | None, nodes: Sequence[int]) -> None:
        """Add the edges between the nodes of one body, or of the task."""
        inside = set(nodes)
        for node in nodes:
            self.after.setdefault(_InstanceNode(instance, node), [])
            for parent in self._graph.parents[node]:
                if parent in inside:
                    before = self.after.setdefault(_InstanceNode(instance, parent), [])
                    before.append(_InstanceNode(instance, node))

    def _add_body_edges(
        self, body: BodyNodes, spawner: int, around: _Instance | None, numbers: Sequence[int]
    ) -> None:
        """Add the edges from a spawner to its instances, and from these to its join."""
        begin, end = _InstanceNode(around, body.spawner), _InstanceNode(around, body.join)
        self.numbers[begin], self.numbers[end] = spawner, spawner + body.join - body.spawner
        graph = self._graph
        first = [no for no in body.nodes if graph.parents[no] == (body.spawner,)]
        last = [no for no in body.nodes if graph.children[no] == (body.join,)]
        heads = numbers[:1] if isinstance(body.spawning, Repeat) else numbers
        tails = numbers[-1:] if isinstance(body.spawning, Repeat) else numbers
        self.after[begin] += (_InstanceNode((spawner, one), no) for one in heads for no in first)
        for one in tails:
            for no in last:
                self.after[_InstanceNode((spawner, one), no)].append(end)
        if isinstance(body.spawning, Repeat):
            for one, following in pairwise(numbers):
                for no in last:
                    self.after[_InstanceNode((spawner, one), no)] += (
                        _InstanceNode((spawner, following), other) for other in first
                    )

    def topological_order(self) -> list[_InstanceNode]:
        """Return all nodes in topological order."""
        waits = dict.fromkeys(self.after, 0)
        for following in self.after.values():
            for place in following:
                waits[place] += 1
        order = [place for place, count in waits.items() if not count]
        for place in order:
            for later in self.after[place]:
                waits[later] -= 1
                if not waits[later]:
                    order.append(later)
        return order


def plan_compensating_steps(
    graph: Graph, done: Sequence[CompensationCandidate]
) -> list[CompensatingStep]:
    """Return the steps that undo completed steps; a step comes before the steps that it waits for.

    Args:
        graph: The graph of the task's template.
        done: The completed steps to undo, and the steps made at run time that spawned them.
    """
    compensating = graph.layout.compensating
    if compensating is None:
        raise Misuse("no step of the template declares a compensation")
    edges = _CompletionOrder(graph, done)
    order = edges.topological_order()
    undoing = {undone: node for node, undone in compensating.undone.items()}
    waits = _bypass_uncompensated_nodes(edges, order)
    _remove_idle_gathers(waits, undoing)
    kept = [place for place in order if place in waits]
    index = {place: number for number, place in enumerate(kept)}
    children: dict[_InstanceNode, list[int]] = {place: [] for place in kept}
    for place in kept:
        for later in waits[place]:
            children[later].append(index[place])
    return [
        CompensatingStep(
            index[place],
            undoing.get(place.node, compensating.gather),
            edges.numbers[place],
            len(waits[place]),
            tuple(sorted(children[place])),
        )
        for place in kept
    ]


def _bypass_uncompensated_nodes(
    edges: _CompletionOrder, order: Sequence[_InstanceNode]
) -> dict[_InstanceNode, dict[_InstanceNode, None]]:
    """Return, for each node to undo or that connects instances, the next such nodes after it."""
    nearest: dict[_InstanceNode, dict[_InstanceNode, None]] = {}
    for place in reversed(order):
        next_kept: dict[_InstanceNode, None] = {}
        for later in edges.after[place]:
            next_kept |= {later: None} if later in edges.numbers else nearest[later]
        nearest[place] = next_kept
    return {place: kept for place, kept in nearest.items() if place in edges.numbers}


def _remove_idle_gathers(
    waits: dict[_InstanceNode, dict[_InstanceNode, None]], undoing: dict[int, int]
) -> None:
    """Remove gathers that connect nothing: those with at most one step before or after them."""
    before: dict[_InstanceNode, dict[_InstanceNode, None]] = {place: {} for place in waits}
    for place, following in waits.items():
        for one in following:
            before[one][place] = None
    for gather in [place for place in waits if place.node not in undoing]:
        after, earlier = waits[gather], before[gather]
        if len(after) > 1 and len(earlier) > 1:
            continue
        for one in earlier:
            del waits[one][gather]
            waits[one] |= after
        for one in after:
            del before[one][gather]
            before[one] |= earlier
        del waits[gather], before[gather]


def _get_candidate_instance(step: CompensationCandidate) -> _Instance | None:
    if step.spawned_by is None or step.instance is None:
        return None
    return step.spawned_by, step.instance

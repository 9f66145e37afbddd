"""Draws a graph as text: one line per step, and lanes to the steps that depend on it.

●    create_user_account
├─╮
●    setup_billing_profile
│ ●  initialize_preferences
├─╯
●    send_welcome_sequence
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasker.cli.render.specs import describe_limits_and_events, describe_step_work
from tasker.graph import Graph
from tasker.model import ENGINE, StepType, Template, TriggerRule

MOST_LANES = 12

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_BOX = " │││─╯╮┤─╰╭├─┴┬┼"  # indexed by the sum of the directions that meet
_PLAIN = str.maketrans("│╯╮┤╰╭├─┴┬┼", "|'.+'.+-+++")


class GraphLine(NamedTuple):
    """One line of the drawing of a graph."""

    lanes: str
    no: int | None = None  #: the step on this line; None: lanes only
    at: int = 0  #: the column of its symbol


def draw_graph(graph: Graph, *, most: int = MOST_LANES) -> list[GraphLine] | None:
    """Draw a graph, or return None if it needs more than `most` parallel lanes."""
    drawing = _GraphDrawing(graph)
    lines: list[GraphLine] = []
    for no in _drawing_order(graph):
        lines += drawing.draw_step(no)
        if len(drawing.lanes) > most:
            return None
    return lines


def lanes_to_ascii(lanes: str) -> str:
    """Return the lanes of a drawing with ASCII in place of box-drawing characters."""
    return lanes.translate(_PLAIN)


def to_mermaid(template: Template) -> str:
    """Return a template's graph as a Mermaid diagram.

    Decisions are diamonds. Edges along which a step may be skipped are dashed, and those to the
    steps that undo others.
    """
    graph = Graph(template)
    numbers, undone = graph.forward_nodes, graph.layout.undone_node_by_compensating_node
    lines = ["---", f"title: {template.full_name}", "---", "flowchart TD"]
    lines += [f"    s{no}{_mermaid_node(graph, no)}" for no in (*numbers, *undone)]
    lines += [
        f"    s{before} {_mermaid_arrow(graph, before, no)} s{no}"
        for no in numbers
        for before in graph.direct_dependencies[no]
    ]
    lines += [f"    s{before} -. undone by .-> s{no}" for no, before in undone.items()]
    return "\n".join(lines)


def _mermaid_node(graph: Graph, no: int) -> str:
    spec = graph.specs[no - 1]
    lines = [graph.layout.step_name_pattern(no)]
    if spec.handler == ENGINE or spec.http is not None:
        lines.append(describe_step_work(spec))
    lines += describe_limits_and_events(spec)
    label = f'"{"<br/>".join(map(_escape_label, lines))}"'
    return f"{{{label}}}" if spec.type is StepType.DECISION else f"[{label}]"


def _mermaid_arrow(graph: Graph, before: int, no: int) -> str:
    """Return the arrow of an edge, with what decides whether the step at its end runs."""
    spec = graph.specs[no - 1]
    if spec.when is not None:
        return f'-. "{_escape_label(spec.when)}" .->'
    if spec.trigger is not TriggerRule.ALL_SUCCESS:
        return f"-. {spec.trigger.value} .->"
    return "-.->" if graph.specs[before - 1].type is StepType.DECISION else "-->"


class _GraphDrawing:
    """The lanes of a drawing in progress, each with the step that it leads to."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.lanes: list[int | None] = []

    def draw_step(self, no: int) -> Iterator[GraphLine]:
        lane = self.lanes.index(no) if no in self.lanes else self._find_free_lane(0)
        self.lanes[lane] = None
        yield GraphLine(_join_cells(["│" if to else " " for to in self.lanes], set()), no, 2 * lane)
        children = self._graph.direct_dependents[no]
        met = {self.lanes.index(child) for child in children if child in self.lanes}
        opened = self._assign_lanes(lane, [child for child in children if child not in self.lanes])
        if met or opened:
            yield self._draw_connecting_line(lane, met, opened)
        while self.lanes and self.lanes[-1] is None:
            self.lanes.pop()

    def _assign_lanes(self, lane: int, children: Sequence[int]) -> set[int]:
        """Assign lanes to children, the parent's own to the first; return the other lanes."""
        opened = set()
        for index, child in enumerate(children):
            own = lane if index == 0 else self._find_free_lane(lane)
            self.lanes[own] = child
            if own != lane:
                opened.add(own)
        return opened

    def _find_free_lane(self, start: int) -> int:
        """Return the first unused lane at or to the right of `start`."""
        for lane in range(start, len(self.lanes)):
            if self.lanes[lane] is None:
                return lane
        self.lanes.append(None)
        return len(self.lanes) - 1

    def _draw_connecting_line(self, lane: int, met: set[int], opened: set[int]) -> GraphLine:
        ends = met | opened | {lane}
        low, high = min(ends), max(ends)
        cells = []
        for here, to in enumerate(self.lanes):
            across = (_LEFT if low < here <= high else 0) | (_RIGHT if low <= here < high else 0)
            if here in ends:
                up = 0 if here in opened else _UP
                cells.append(_BOX[across | up | (_DOWN if to else 0)])
            else:
                cells.append("│" if to else _BOX[across])
        return GraphLine(_join_cells(cells, set(range(low, high))))


def _join_cells(cells: list[str], joined: set[int]) -> str:
    """Join cells into a line, with a stroke to the right of those in `joined`."""
    gaps = ["─" if lane in joined else " " for lane in range(len(cells))]
    return "".join(cell + gap for cell, gap in zip(cells, gaps, strict=True)).rstrip()


def _drawing_order(graph: Graph) -> tuple[int, ...]:
    """Return the steps in template order if that is topological, otherwise in graph order."""
    numbers = tuple(graph.forward_nodes)
    sound = all(parent < no for no in numbers for parent in graph.direct_dependencies[no])
    return numbers if sound else graph.topological_order


def _escape_label(name: str) -> str:
    return name.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")

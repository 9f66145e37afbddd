"""Pictures of graphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.cli.render.graphs import GraphLine, draw_graph, lanes_to_ascii, to_mermaid
from tasker.cli.render.specs import (
    describe_limits_and_events,
    describe_limits_and_schedules,
    describe_step_work,
)
from tasker.graph import Graph
from tasker.model import StepSpec, Template
from tasker.template.load import parse_template


def _template(edges: dict[str, str]) -> Template:
    """A template of steps, each with the steps that it waits for, as one word of letters."""
    steps = tuple(StepSpec(name=name, dependencies=tuple(to)) for name, to in edges.items())
    return Template(namespace="n", name="t", version="1.0.0", steps=steps)


def _drawn(edges: dict[str, str]) -> list[str]:
    template = _template(edges)
    lines = draw_graph(Graph(template), most=100)
    assert lines is not None
    return [_with_name(line, template) for line in lines]


def _with_name(line: GraphLine, template: Template) -> str:
    if line.no is None:
        return line.lanes
    lanes = line.lanes.ljust(line.at + 1)
    return lanes[: line.at] + template.steps[line.no - 1].name + lanes[line.at + 1 :]


@pytest.mark.parametrize(
    ("edges", "picture"),
    [
        ({"a": "", "b": "a", "c": "b"}, ["a", "b", "c"]),
        (
            {"a": "", "b": "a", "c": "a", "d": "bc", "e": "d"},
            ["a", "├─╮", "b │", "│ c", "├─╯", "d", "e"],
        ),
        ({"a": "", "b": "", "c": "ab"}, ["a", "│ b", "├─╯", "c"]),
        ({"a": "", "b": "a", "c": "a", "d": "a"}, ["a", "├─┬─╮", "b │ │", "  c │", "    d"]),
        (
            {"a": "", "b": "a", "c": "a", "d": "ab"},
            ["a", "├─┬─╮", "b │ │", "╰─│─┤", "  c │", "    d"],
        ),
        ({"b": "a", "a": ""}, ["a", "b"]),
        ({"a": "", "b": ""}, ["a", "b"]),
    ],
)
def test_lanes_lead_from_each_step_to_its_children(
    edges: dict[str, str], picture: list[str]
) -> None:
    assert picture == _drawn(edges)


def test_a_graph_that_is_too_wide_is_not_drawn() -> None:
    wide = {"a": "", **dict.fromkeys("bcdefghijklmnop", "a")}

    assert draw_graph(Graph(_template(wide))) is None


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12))
def test_every_step_is_drawn_once_and_after_its_parents(parents: list[set[int]]) -> None:
    letters = "abcdefghijkl"
    edges = {
        letters[no]: "".join(letters[parent] for parent in sorted(before) if parent < no)
        for no, before in enumerate(parents)
    }
    lines = draw_graph(Graph(_template(edges)), most=1000)

    assert lines is not None
    nodes = [line for line in lines if line.no is not None]
    assert list(range(1, len(edges) + 1)) == [line.no for line in nodes]
    assert all(line.lanes[line.at : line.at + 1].strip() == "" for line in nodes)
    assert "" == lines[-1].lanes.strip()  # no lane leads beyond the end


def test_lanes_can_be_drawn_in_ascii() -> None:
    assert "|-+'.`" != lanes_to_ascii("│─├╯╮╰")
    assert lanes_to_ascii("├─│─╮").isascii()


def test_labels_are_escaped_for_mermaid() -> None:
    template = _template({'say "hi" <b>': "", "b": ""})

    assert '    s1["say #quot;hi#quot; #lt;b>"]' in to_mermaid(template).splitlines()


def test_mermaid_dashes_the_edges_along_which_a_step_may_be_skipped() -> None:
    template = parse_template("""
name: t
steps:
  - {name: route, type: decision}
  - {name: a, dependencies: [route]}
  - {name: b, dependencies: [route], when: input.x == "y"}
  - {name: c, dependencies: [a], trigger: all_done}
  - {name: d, dependencies: [c]}
""")

    assert [
        '    s1{"route"}',
        '    s2["a"]',
        '    s3["b"]',
        '    s4["c"]',
        '    s5["d"]',
        "    s1 -.-> s2",
        '    s1 -. "input.x == #quot;y#quot;" .-> s3',
        "    s2 -. all_done .-> s4",
        "    s4 --> s5",
    ] == to_mermaid(template).splitlines()[4:]


WAITING = """
name: order
namespace_name: shop
limits: [{key: "customer:{input.customer}", concurrency: 5}]
schedules: [{name: nightly, cron: "0 2 * * *", context: {customer: x}}]
steps:
  - {name: reserve, map: {over: input.lines, max_concurrency: 3}, compensate: release}
  - {name: ask, approval: {assignees: ["role:leads"], timeout: 24h}}
  - {name: paid, wait: {any: [{signal: paid}, {signal: stopped}], timeout: 3d}}
  - {name: rest, wait: {for: 2h}}
  - {name: ship, task: {template: shop.ship@^1}}
  - {name: call, http: {url: "https://api.example.com/x", body: {}}}
  - name: charge
    external: {timeout: 1h}
    limits: [{key: stripe, rate: 100/s, burst: 200}]
    events: [order.paid]
"""


def test_a_drawing_shows_waits_and_limits_of_steps() -> None:
    """It also shows events and compensating steps."""
    template = parse_template(WAITING)
    graph = Graph(template)

    drawn = {spec.name: describe_step_work(spec) for spec in graph.specs}
    details = {spec.name: [*describe_limits_and_events(spec)] for spec in graph.specs}

    assert {
        "reserve.map": "for each of input.lines",
        "reserve": "joins the instances",
        "ask": "approval by role:leads, up to 1 d",
        "paid": "waits for paid or stopped, up to 3 d",
        "rest": "waits 2 h",
        "ship": "task shop.ship@^1",
        "call": "POST https://api.example.com/x",
        "charge": "",
    }.items() <= drawn.items()
    assert ["limit: 3 running"] == details["reserve.map"]
    assert [
        "limit stripe: 100/s, burst 200",
        "event order.paid",
        "completed by another system",
    ] == details["charge"]
    assert [
        "limit customer:{input.customer}: 5 running",
        "schedule nightly: 0 2 * * * UTC",
    ] == [*describe_limits_and_schedules(template)]
    lines = to_mermaid(template).splitlines()
    assert any("waits for paid or stopped, up to 3 d" in line for line in lines)


def test_compensating_steps_are_drawn_beside_the_steps_that_they_undo() -> None:
    template = parse_template("name: t\nsteps: [{name: a, compensate: undo}, {name: b}]")

    diagram = to_mermaid(template).splitlines()

    assert [
        '    s1["a"]',
        '    s2["b"]',
        '    s5["a.compensation"]',
        "    s1 -. undone by .-> s5",
    ] == diagram[4:]
    lines = draw_graph(Graph(template))
    assert lines is not None
    assert [1, 2] == [line.no for line in lines]

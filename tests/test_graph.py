"""The shape of templates, against a naive model of it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.graph import AncestorBitmasks, Graph, find_cycle, numbers_in_mask
from tasker.model import TASK_NODE, StepSpec, Template

Waits = Mapping[str, Sequence[str]]


def template(waits: Waits) -> Template:
    return Template(
        namespace="n",
        name="t",
        version="1.0.0",
        steps=tuple(StepSpec(name=name, dependencies=tuple(on)) for name, on in waits.items()),
    )


DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    """Draw steps and whom they wait for, listed in any order."""
    many = draw(st.integers(1, 12))
    names = [f"s{number}" for number in range(many)]
    waits = {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=4))
        if number
        else []
        for number, name in enumerate(names)
    }
    return {name: waits[name] for name in draw(st.permutations(names))}


def before(waits: Waits, name: str) -> set[str]:
    """All steps before one, the naive way."""
    ancestors: set[str] = set()
    for parent in waits[name]:
        ancestors |= {parent} | before(waits, parent)
    return ancestors


def depth(waits: Waits, name: str) -> int:
    return max((depth(waits, parent) + 1 for parent in waits[name]), default=0)


def test_a_diamond_has_its_ancestors_and_order() -> None:
    graph = Graph(template(DIAMOND))

    assert ("a", "b", "c", "d") == graph.names
    assert {"a": 1, "b": 2, "c": 3, "d": 4} == graph.numbers
    assert [(), (), (1,), (1,), (2, 3)] == graph.parents
    assert [(2, 3), (4,), (4,), (TASK_NODE,)] == graph.children[1:]
    assert ((1,), (4,)) == (graph.roots, graph.sinks)
    assert (1, 2, 3, 4) == graph.topological_order
    assert [0, 1, 1, 2] == graph.levels[1:]
    assert [(), ("a",), ("a",), ("a", "b", "c")] == [graph.ancestor_names(name) for name in DIAMOND]


def test_steps_are_numbered_as_in_the_template() -> None:
    """Also if a step is listed before its dependencies."""
    graph = Graph(template({"last": ["first"], "first": []}))

    assert {"last": 1, "first": 2} == graph.numbers
    assert ((2,), (1,), (2, 1)) == (graph.roots, graph.sinks, graph.topological_order)
    assert [1, 0] == graph.levels[1:]


@given(acyclic())
def test_the_graph_agrees_with_the_naive_model(waits: dict[str, list[str]]) -> None:
    """
    Parents, children, roots, sinks, ancestors and levels.
    """
    graph = Graph(template(waits))
    number = graph.numbers

    for name, waited in waits.items():
        no = number[name]
        children = sorted(number[other] for other in waits if name in waits[other])
        assert [number[parent] for parent in waited] == list(graph.parents[no])
        assert (tuple(children) or (TASK_NODE,)) == graph.children[no]
        assert {number[other] for other in before(waits, name)} == set(
            numbers_in_mask(graph.ancestors[no])
        )
        assert before(waits, name) == set(graph.ancestor_names(name))
        assert depth(waits, name) == graph.levels[no]
    assert {number[name] for name in waits if not waits[name]} == set(graph.roots)
    waited_for = {other for on in waits.values() for other in on}
    assert {number[name] for name in waits if name not in waited_for} == set(graph.sinks)


def test_masks_of_ancestors_are_cached_up_to_a_number_of_bytes() -> None:
    """
    Whatever was removed is determined again, in any order.
    """
    parents: list[tuple[int, ...]] = [(), ()]
    parents += [tuple({no - 1, no // 2}) for no in range(2, 400)]
    unlimited, limited = AncestorBitmasks(parents), AncestorBitmasks(parents, limit=500)
    order = [*range(1, 400), *reversed(range(1, 400)), *range(1, 400, 7)]

    assert [unlimited[no] for no in order] == [limited[no] for no in order]
    assert 399 - 1 == unlimited[399].bit_count()
    assert 0 < limited.size <= 500
    assert unlimited.size > 10_000


@given(acyclic())
def test_the_order_puts_parents_first(waits: dict[str, list[str]]) -> None:
    graph = Graph(template(waits))

    place = {no: index for index, no in enumerate(graph.topological_order)}
    assert sorted(place) == sorted(graph.numbers.values())
    for no, parents in enumerate(graph.parents):
        assert all(place[parent] < place[no] for parent in parents)


@given(st.sets(st.integers(0, 500)))
def test_the_members_of_a_mask_are_the_steps_that_it_was_made_of(numbers: set[int]) -> None:
    """
    Ascending.
    """
    mask = sum(1 << number for number in numbers)

    assert sorted(numbers) == list(numbers_in_mask(mask))


@given(acyclic())
def test_an_acyclic_graph_has_no_cycle(waits: dict[str, list[str]]) -> None:
    """For steps in any order."""
    assert find_cycle(waits) is None


@given(acyclic(), st.data())
def test_a_cycle_is_reported_with_its_steps(
    waits: dict[str, list[str]], data: st.DataObject
) -> None:
    """The result is a path that ends where it begins."""
    name = data.draw(st.sampled_from(sorted(waits)))
    ancestor = data.draw(st.sampled_from(sorted({name} | before(waits, name))))
    cyclic = {**waits, ancestor: [*waits[ancestor], name]}

    cycle = find_cycle(cyclic)

    assert cycle is not None
    assert cycle[0] == cycle[-1]
    assert len(cycle) - 1 == len(set(cycle))
    assert all(after in cyclic[step] for step, after in pairwise(cycle))


@pytest.mark.parametrize(
    ("waits", "cycle"),
    [
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["a"]}, ("a", "b", "a")),
        ({"x": [], "a": ["x", "c"], "b": ["a"], "c": ["b"]}, ("a", "c", "b", "a")),
        ({"a": ["unknown"]}, None),
        ({}, None),
    ],
)
def test_examples_of_cycles_are_reported(waits: Waits, cycle: tuple[str, ...] | None) -> None:
    """
    A step that waits for itself, two for each other, three in a ring; unknown names are not ours.
    """
    assert cycle == find_cycle(waits)


def test_long_chains_do_not_exhaust_the_stack() -> None:
    """
    Ten thousand steps in a row, and no recursion.
    """
    names = [f"s{number}" for number in range(10_000)]
    waits = {name: names[index - 1 : index] for index, name in enumerate(names)}
    graph = Graph(template(waits))

    assert tuple(range(1, 10_001)) == graph.topological_order
    assert 9_999 == graph.levels[-1]
    assert 9_999 == graph.ancestors[10_000].bit_count()
    assert find_cycle(waits) is None
    cycle = find_cycle({**waits, "s0": [names[-1]]})
    assert cycle is not None
    assert 10_001 == len(cycle)

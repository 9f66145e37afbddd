"""Random graphs of steps, and the templates that they make."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from tasker import Template
from tasker.model import StepSpec, Trigger

HANDLERS = ("red", "blue")
TRIGGERS = (
    *[Trigger.ALL_SUCCESS] * 5,
    *(Trigger.ALL_DONE, Trigger.ONE_SUCCESS, Trigger.ONE_FAILED, Trigger.ONE_DONE),
)


class Node(NamedTuple):
    """A step of a shape."""

    parents: tuple[int, ...]
    handler: str
    trigger: Trigger = Trigger.ALL_SUCCESS
    allow_failure: bool = False


LoadedTemplate = tuple[Node, ...]
"""The steps, by number from 1."""


@st.composite
def shapes(draw: st.DrawFn, most: int = 12) -> LoadedTemplate:
    """Make a graph of 1 to `most` steps; half of them small."""
    size = draw(st.integers(1, 4) | st.integers(1, most))
    steps = []
    for no in range(1, size + 1):
        before = st.sets(st.integers(1, no - 1), max_size=4) if no > 1 else st.just(set[int]())
        parents = tuple(sorted(draw(before)))
        trigger = draw(st.sampled_from(TRIGGERS)) if parents else Trigger.ALL_SUCCESS
        allowed = draw(st.integers(0, 5)) == 5
        steps.append(Node(parents, draw(st.sampled_from(HANDLERS)), trigger, allowed))
    return tuple(steps)


def template_of(shape: LoadedTemplate, namespace: str, name: str) -> Template:
    """Make the template of a shape; step number n is called sn."""
    return Template(
        namespace=namespace,
        name=name,
        version="1.0.0",
        steps=tuple(
            StepSpec(
                name=f"s{no}",
                callable=node.handler,
                dependencies=names(node.parents),
                trigger=node.trigger,
                allow_failure=node.allow_failure,
            )
            for no, node in enumerate(shape, start=1)
        ),
    )


def names(nos: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"s{no}" for no in nos)

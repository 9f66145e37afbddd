"""Random graphs of steps, and the templates that they make."""

from collections.abc import Sequence

from hypothesis import strategies as st

from tasker import Template
from tasker.model import StepSpec

HANDLERS = ("red", "blue")

LoadedTemplate = tuple[tuple[tuple[int, ...], str], ...]
"""For each step, by number from 1: the numbers of its parents, and its handler."""


@st.composite
def shapes(draw: st.DrawFn, most: int = 12) -> LoadedTemplate:
    """Make a graph of 1 to `most` steps; half of them small."""
    size = draw(st.integers(1, 4) | st.integers(1, most))
    steps = []
    for no in range(1, size + 1):
        before = st.sets(st.integers(1, no - 1), max_size=4) if no > 1 else st.just(set[int]())
        steps.append((tuple(sorted(draw(before))), draw(st.sampled_from(HANDLERS))))
    return tuple(steps)


def template_of(shape: LoadedTemplate, namespace: str, name: str) -> Template:
    """Make the template of a shape; step number n is called sn."""
    return Template(
        namespace=namespace,
        name=name,
        version="1.0.0",
        steps=tuple(
            StepSpec(name=f"s{no}", callable=handler, dependencies=names(parents))
            for no, (parents, handler) in enumerate(shape, start=1)
        ),
    )


def names(nos: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"s{no}" for no in nos)

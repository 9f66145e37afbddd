"""The structure of a template: numbers, children, ancestors, levels and cycles."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from tasker.layout import NodeLayout
from tasker.model import TASK_NODE, Template


class Graph:
    """The graph of one template, with its steps numbered from 1 in the template's order.

    Sets of steps are bit masks: bit `no` is set when step `no` is in the set. This makes it a
    single integer operation to find the ancestors whose results are missing.
    """

    def __init__(self, template: Template) -> None:
        self.layout = NodeLayout(template.steps)
        self.specs = self.layout.specs
        self.names: tuple[str, ...] = tuple(spec.name for spec in self.specs)
        self.numbers: dict[str, int] = {name: no for no, name in enumerate(self.names, start=1)}
        #: parents[no], by number; index 0 is unused
        self.parents: list[tuple[int, ...]] = [()]
        self.parents += (
            tuple(self.numbers[name] for name in spec.dependencies) for spec in self.specs
        )
        for body in self.layout.bodies.values():
            for no in body.nodes:
                self.parents[no] = self.parents[no] or (body.spawner,)

    def awaited_parent_count(self, no: int) -> int:
        """Return the number of steps that step `no` waits for when it is created."""
        return len(self.awaited_parents(no))

    def awaited_parents(self, no: int) -> tuple[int, ...]:
        """Return the parents that a step waits for when it is created.

        The first steps of a body are created when their spawner runs, so they wait for no parent.
        """
        parents = self.parents[no]
        return () if parents and parents == (self.layout.scopes.get(no),) else parents

    @cached_property
    def children(self) -> list[tuple[int, ...]]:
        """children[no]: the children of step `no`, ascending; the child of a sink is the task."""
        children: list[list[int]] = [[] for _ in self.parents]
        apart = self.layout.compensating_nodes
        for no, parents in enumerate(self.parents):
            if no in apart or (self.layout.scopes and not self.awaited_parent_count(no)):
                continue
            for parent in parents:
                children[parent].append(no)
        for body in self.layout.bodies.values():
            for no in body.nodes:
                children[no] = children[no] or [body.join]
        return [
            () if no in apart else tuple(numbers) or (TASK_NODE,)
            for no, numbers in enumerate(children)
        ]

    @cached_property
    def forward_nodes(self) -> range:
        """The nodes of the steps that run if no step fails, without compensating steps."""
        return range(1, len(self.parents) - len(self.layout.compensating_nodes))

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Steps without parents."""
        return tuple(no for no in self.forward_nodes if not self.parents[no])

    @cached_property
    def sinks(self) -> tuple[int, ...]:
        """Steps without children; the task is complete when all of them are done."""
        return tuple(no for no in self.forward_nodes if self.children[no] == (TASK_NODE,))

    @cached_property
    def topological_order(self) -> tuple[int, ...]:
        """All steps in topological order, with ties in the template's order."""
        pending_parents = [len(parents) for parents in self.direct_dependencies]
        order = list(self.roots)
        for no in order:
            for follower in self.direct_dependents[no]:
                pending_parents[follower] -= 1
                if pending_parents[follower] == 0:
                    order.append(follower)
        return tuple(order)

    @cached_property
    def direct_dependents(self) -> list[tuple[int, ...]]:
        """direct_dependents[no]: the steps that wait for step `no`, ascending."""
        followers: list[list[int]] = [[] for _ in self.direct_dependencies]
        for no in self.forward_nodes:
            for parent in self.direct_dependencies[no]:
                followers[parent].append(no)
        return [tuple(numbers) for numbers in followers]

    @cached_property
    def direct_dependencies(self) -> list[tuple[int, ...]]:
        """direct_dependencies[no]: the steps that step `no` waits for.

        A join waits for the end of its body.
        """
        if not self.layout.bodies:
            return self.parents
        waits = list(self.parents)
        for body in self.layout.bodies.values():
            last = tuple(no for no in body.nodes if self.children[no] == (body.join,))
            waits[body.join] = last
        return waits

    @cached_property
    def ancestors(self) -> "AncestorBitmasks":
        """ancestors[no]: the bit mask of all ancestors of step `no`."""
        return AncestorBitmasks(self.parents)

    @cached_property
    def levels(self) -> list[int]:
        """levels[no]: the length of the longest path from a root, 0 for roots."""
        levels = [0] * len(self.parents)
        for no in self.topological_order:
            levels[no] = max(
                (levels[parent] + 1 for parent in self.direct_dependencies[no]), default=0
            )
        return levels

    def ancestor_names(self, step: str) -> tuple[str, ...]:
        """Return the names of all ancestors of `step`, in the template's order."""
        return tuple(
            self.names[no - 1] for no in numbers_in_mask(self.ancestors[self.numbers[step]])
        )


class AncestorBitmasks:
    """The ancestors of each step of a graph, as bit masks.

    The masks of 50,000 steps in layers would take 150 MB, so they are kept only up to a total size.
    Computing a step's mask from its parents' masks takes one operation per parent.

    Args:
        parents: The parents of each step, by number.
        limit: Bytes of masks to keep.
    """

    def __init__(self, parents: Sequence[Sequence[int]], limit: int = 4 << 20) -> None:
        self._parents = parents
        self._limit = limit
        self._kept: dict[int, int] = {}
        self.size = 0  #: bytes kept

    def __getitem__(self, no: int) -> int:
        mask = self._kept.get(no)
        if mask is None:
            mask = self._compute_mask(no)
            self._cache_mask(no, mask)
        return mask

    def _compute_mask(self, no: int) -> int:
        mask, stack = 0, list(self._parents[no])
        while stack:
            parent = stack.pop()
            if mask >> parent & 1:
                continue
            mask |= 1 << parent
            known = self._kept.get(parent)
            if known is None:
                stack += self._parents[parent]
            else:
                mask |= known
        return mask

    def _cache_mask(self, no: int, mask: int) -> None:
        self._kept[no] = mask
        self.size += _mask_bytes(mask)
        while self.size > self._limit:
            self.size -= _mask_bytes(self._kept.pop(next(iter(self._kept))))


def _mask_bytes(mask: int) -> int:
    return mask.bit_length() // 8 + 32


def numbers_in_mask(mask: int) -> Iterator[int]:
    """Yield the numbers in a mask, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def find_cycle(dependencies: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """Return a cycle of steps that wait for each other.

    Args:
        dependencies: The names that each step waits for. Unknown names are ignored.

    Returns:
        The names along one cycle, with the first repeated at the end, or None if there is no cycle.
    """
    done: set[str] = set()
    for start in dependencies:
        path: dict[str, Iterator[str]] = {}  # the path from the start, in order
        node: str | None = start
        while node is not None:
            if node in path:
                names = list(path)
                return (*names[names.index(node) :], node)
            if node not in done:
                path[node] = iter(dependencies[node])
            node = _backtrack_to_unvisited(path, done, dependencies)
    return None


def _backtrack_to_unvisited(
    path: dict[str, Iterator[str]], done: set[str], dependencies: Mapping[str, Sequence[str]]
) -> str | None:
    """Return the next name to visit, after removing exhausted nodes from `path`."""
    while path:
        last = next(reversed(path))
        for name in path[last]:
            if name in dependencies and name not in done:
                return name
        done.add(last)
        del path[last]
    return None

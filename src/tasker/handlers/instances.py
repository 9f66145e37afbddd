"""Instances of steps in handlers: `Item`, `Cursor`, `Instances`."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar, get_args, get_origin

from tasker.codec import dumps, loads
from tasker.errors import InvalidInput, Misuse
from tasker.graph import Graph
from tasker.layout import BodyNodes, instance_input_names
from tasker.model import MOST_SPAWNED, JsonText, Map, NewInstances, StepResult, StoredSpawn

T = TypeVar("T")

PAGE = 500  #: instances whose results are read at once


class ItemMarker:
    """Marks a parameter that gets the element of this instance."""


Item: TypeAlias = Annotated[T, ItemMarker()]
"""The element for which an instance of a `map` runs, as in `file: Item[File]`."""


class Cursor(NamedTuple):
    """The range of numbers for one instance of a `batch`: from `start` up to, but not including,
    `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class InstanceInput(NamedTuple):
    """The place of an instance in its template and task, and its inputs."""

    name: str  #: `convert[17]`, `customer[3].bill`
    node: int  #: its number in the template
    no: int  #: its number in the task
    spawned_by: int  #: the step whose body it is part of
    instance: int  #: its number among the instances of its step, from 0
    items: Mapping[str, JsonText]  #: inputs by name, with those of the instances around it
    offsets: Mapping[int, int]  #: from the numbers of nodes to those of steps, by scope

    def step_number(self, node: int, scope: int) -> int:
        """Return the number of the step that this instance has for node `node` of the template."""
        return node + self.offsets.get(scope, 0)


class JoinedStep(NamedTuple):
    """A step with instances whose results a later step can read."""

    step: str
    join: int
    scope: int  #: of the join
    sinks: tuple[tuple[str, int], ...]  #: last steps of the body, and their places in it

    def join_number(self, instance: InstanceInput | None) -> int:
        """Return the number of the join in the task, as seen from an instance."""
        return instance.step_number(self.join, self.scope) if instance else self.join


class EnclosingInstances(NamedTuple):
    """The instances around a step and those that ended before it."""

    items: tuple[str, ...] = ()
    """Input names of the instances that enclose the step, innermost first."""

    bodies: Mapping[str, BodyNodes] = {}
    """The bodies that contain the step, by the name of the step that has the body."""

    joined: Mapping[str, JoinedStep] = {}
    """Earlier steps with instances whose results the step may read, by name."""

    scopes: Mapping[int, int] = {}
    """Maps the spawner number of each body that contains the step to the spawner number of the
    enclosing body, or to 0 for the outermost body."""

    @classmethod
    def for_step(cls, graph: Graph, no: int) -> "EnclosingInstances":
        """Return the instances around step `no` of `graph`."""
        layout = graph.layout
        if not layout.bodies:
            return NO_SURROUNDINGS
        around: dict[str, BodyNodes] = {}
        items: list[str] = []
        scope = layout.spawner_around(no)
        while scope:
            body = layout.bodies[scope]
            around[body.spec.name] = body
            items += instance_input_names(body.spawning)
            scope = layout.spawner_around(scope)
        before = graph.ancestors[no]
        joined = {
            body.spec.name: describe_joined_step(graph, body)
            for body in layout.bodies.values()
            if before >> body.join & 1
        }
        scopes = {body.spawner: layout.spawner_around(body.spawner) for body in around.values()}
        return cls(tuple(dict.fromkeys(items)), around, joined, scopes)


NO_SURROUNDINGS = EnclosingInstances()


def describe_joined_step(graph: Graph, body: BodyNodes) -> JoinedStep:
    """Return how the results of a body's instances are read."""
    sinks = tuple(
        (graph.specs[no - 1].name, no - body.first)
        for no in body.nodes
        if graph.children[no] == (body.join,) and no != body.loop_check_node
    )
    if body.loop_check_node is not None:
        sinks = tuple(
            (graph.specs[no - 1].name, no - body.first)
            for no in graph.parents[body.loop_check_node]
        )
    return JoinedStep(body.spec.name, body.join, graph.layout.spawner_around(body.join), sinks)


def plan_new_instances(
    instance: InstanceInput | None, around: EnclosingInstances, step: str, items: Any, key: str
) -> Iterator[NewInstances]:
    """Yield, in several parts, the instances that a handler adds to the map around its step.

    Args:
        instance: The handler's instance.
        around: The bodies that its step is part of.
        step: The step that has the map.
        items: An element for each new instance.
        key: Name of the durable call.

    Raises:
        Misuse: The step is not part of a map with that name.
        InvalidInput: The items are not a list, or one has no JSON form.
        TooLarge: An item is too large.
    """
    body = around.bodies.get(step)
    if instance is None or body is None or not isinstance(body.spawning, Map):
        raise Misuse(
            f"the step cannot add instances to {step!r} because it is not part of that map"
        )
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Sequence):
        raise InvalidInput(f"the items for {step!r} must be a list", path="$.items")
    scope, most = around.scopes[body.spawner], max(MOST_SPAWNED // body.size, 1)
    for begin in range(0, len(items), most):
        part = items[begin : begin + most]
        yield NewInstances(
            key,
            instance.step_number(body.join, scope),
            instance.step_number(body.spawner, scope),
            body.spawner,
            len(items),
            begin,
            [dumps(item, what=f"item {begin + n}") for n, item in enumerate(part)],
        )


Page: TypeAlias = Sequence[JsonText | None]
"""Results of instances in order; None for instances without a result."""


class InstanceReader:
    """Reads results of instances, page by page.

    Args:
        joined: The step with instances.
        join_no: The number of its join in the task.
        spawns: Returns the spawns of a join.
        load: Returns the results of steps by number.
    """

    def __init__(
        self,
        joined: JoinedStep,
        join_no: int,
        spawns: Callable[[int], Coroutine[Any, Any, Sequence[StoredSpawn]]],
        load: Callable[[Sequence[int]], Coroutine[Any, Any, Sequence[StepResult]]],
    ) -> None:
        self._joined = joined
        self._join_no = join_no
        self._spawns = spawns
        self._load = load

    async def iterate_pages(self) -> AsyncIterator[Page]:
        """Yield the results of all instances."""
        for spawn in await self._spawns(self._join_no):
            for begin in range(0, spawn.instances, PAGE):
                count = min(PAGE, spawn.instances - begin)
                yield await self._read_page_of_spawn(spawn, begin, count)

    async def read_page(self, begin: int, most: int) -> Page:
        """Return the results of up to `most` instances from instance `begin`; empty if it does not
        exist."""
        for spawn in await self._spawns(self._join_no):
            if spawn.contains_instance(begin):
                place = begin - spawn.first_instance
                return await self._read_page_of_spawn(
                    spawn, place, min(most, spawn.instances - place)
                )
        return ()

    async def read_last_result(self) -> JsonText | None:
        """Return the result of the last instance."""
        *_, spawn = await self._spawns(self._join_no)
        return (await self._read_page_of_spawn(spawn, spawn.instances - 1, 1))[0]

    async def _read_page_of_spawn(self, spawn: StoredSpawn, begin: int, count: int) -> Page:
        sinks = self._joined.sinks
        firsts = [spawn.first_no + place * spawn.size for place in range(begin, begin + count)]
        rows = await self._load([first + place for first in firsts for _, place in sinks])
        results = {row.no: row.result for row in rows}
        if len(sinks) == 1:
            return [results.get(first + sinks[0][1]) for first in firsts]
        return [_combine_sink_results(results, first, sinks) for first in firsts]


def _combine_sink_results(
    results: Mapping[int, JsonText | None], first: int, sinks: Sequence[tuple[str, int]]
) -> JsonText | None:
    """Return the results of an instance's last steps by name; None if it did not succeed."""
    if any(first + place not in results for _, place in sinks):
        return None
    parts = (f'"{name}":{results[first + place] or "null"}' for name, place in sinks)
    return JsonText(f"{{{','.join(parts)}}}")


class Instances(Generic[T]):
    """The results of the instances of a step: `convert: Instances[Summary]`.

    They are read in pages of 500 while they are iterated over: `async for` in an `async def`
    handler, `for` in any other. Instances that failed (`on_failure: continue`) yield None.
    """

    def __init__(
        self,
        value: Any,
        pages: Callable[[], AsyncIterator[Page]],
        run_coroutine_blocking: Callable[[Coroutine[Any, Any, Any]], Any],
        validate: Callable[[Any], Any] | None,
    ) -> None:
        self._value = value
        self._pages = pages
        self._run_blocking = run_coroutine_blocking
        self._validate = validate

    def __len__(self) -> int:
        if isinstance(self._value, Sequence):
            return len(self._value)
        return int(self._value["count"]) if isinstance(self._value, Mapping) else 0

    async def __aiter__(self) -> AsyncIterator[T]:
        if isinstance(self._value, Sequence):
            for each in self._value:
                yield self._validate_result(each)
            return
        async for page in self._pages():
            for text in page:
                yield self._validate_result(None if text is None else loads(text))

    def __iter__(self) -> Iterator[T]:
        if isinstance(self._value, Sequence):
            yield from map(self._validate_result, self._value)
            return
        pages = self._pages()
        while (page := self._run_blocking(_read_next_page(pages))) is not None:
            for text in page:
                yield self._validate_result(None if text is None else loads(text))

    def _validate_result(self, value: Any) -> Any:
        return value if self._validate is None or value is None else self._validate(value)


async def _read_next_page(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)


def instances_element_type(annotation: Any) -> Any:
    """Return `T` of `Instances[T]`, Any of `Instances`; None if it is another type."""
    if annotation is Instances:
        return Any
    return get_args(annotation)[0] if get_origin(annotation) is Instances else None

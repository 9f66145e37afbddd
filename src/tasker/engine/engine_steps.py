"""Steps that the engine runs itself: the inputs of their handlers, and the results read for them.

Their queue is `tasker.engine` of the task's namespace, one of the ordinary queues: workers with a
handler bound to that namespace serve it, or servers if there is no such worker. Attempts of these
steps are claimed, leased, fenced, retried and shown like all others.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tasker import codec
from tasker.client import LocalClient
from tasker.graph import Graph
from tasker.handlers import AttemptServices, LiveAttempt
from tasker.model import Claim, JsonText, Outcome, StepSpec, StepStatus
from tasker.store.protocol import Store
from tasker.template.expressions import Names, Path, compile_expression

if TYPE_CHECKING:
    from tasker.engine.task_cache import CachedTask


class ParentState(NamedTuple):
    """How a parent of a step ended, or its current status."""

    status: StepStatus
    result: JsonText | None = None
    error: JsonText | None = None  #: of a failed parent; of a skipped one, the reason


class EngineServices(NamedTuple):
    """The services of the handlers of engine steps."""

    store: Store
    client: LocalClient
    handlers: AttemptServices  #: services of ordinary handlers


class EngineAttempt(LiveAttempt):
    """An attempt of a step that the engine runs itself."""

    __slots__ = ("cached", "engine", "spec")

    def __init__(
        self, claim: Claim, cached: "CachedTask", spec: StepSpec, engine: EngineServices
    ) -> None:
        super().__init__(claim, cached.input, cached.results, engine.handlers)
        self.cached = cached
        """The task's template and context, and the results that the handler reads."""

        self.spec = spec
        self.engine = engine

    @property
    def parent_states(self) -> Mapping[str, ParentState]:
        """The states and results of the step's parents, by name."""
        graph = self.cached.compiled.graph
        node = graph.numbers[self.spec.name]
        return {graph.names[no - 1]: self.cached.step_state(no) for no in graph.parents[node]}

    def expression_values(self, paths: Iterable[Path], **others: Any) -> Names:
        """Return the values of an expression's names: `input`, `results`, and `others`."""
        return self.cached.expression_values(paths, **others)


EngineHandler: TypeAlias = Callable[[EngineAttempt], Awaitable[Outcome]]
"""Function that runs an attempt and returns its outcome. An exception fails the attempt, as in any
handler."""


class BuiltInHandler(NamedTuple):
    """A handler of engine steps."""

    run: EngineHandler
    expressions: Callable[[StepSpec], Iterable[str]] = lambda spec: ()
    """The expressions that the handler evaluates; the engine reads the results that they refer
    to."""


class BuiltInCallPlan:
    """A compiled call of a built-in handler for one step of a template."""

    is_async = True
    in_process = False

    def __init__(self, built_in: BuiltInHandler, graph: Graph, spec: StepSpec) -> None:
        paths = [
            path for text in built_in.expressions(spec) for path in _parse_expression_paths(text)
        ]
        self.needs = compute_referenced_results_bitmask(paths, graph)
        """Mask of the steps whose results the handler reads in addition to its parents' results."""

        for no in graph.parents[graph.numbers[spec.name]]:
            self.needs |= 1 << no
        self.call: Callable[[Any], Awaitable[Outcome]] = built_in.run


def _parse_expression_paths(text: str) -> tuple[Path, ...]:
    return compile_expression(text).paths


def compute_referenced_results_bitmask(paths: Iterable[Path], graph: Graph) -> int:
    """Return the bitmask of the steps whose results paths refer to: `results.NAME...`."""
    mask = 0
    for path in paths:
        if path.keys[0] == "results" and len(path.keys) > 1:
            mask |= 1 << graph.numbers.get(str(path.keys[1]), 0)
    return mask & ~1


def build_expression_values(
    paths: Iterable[Path], context: JsonText, results: Callable[[str], JsonText | None]
) -> dict[str, Any]:
    """Return `input` and `results` for an expression, with the results that its paths name."""
    read = {str(path.keys[1]) for path in paths if path.keys[0] == "results" and path.keys[1:]}
    return {
        "input": codec.loads(context),
        "results": {
            name: None if (text := results(name)) is None else codec.loads(text) for name in read
        },
    }

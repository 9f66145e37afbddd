"""Handlers as functions.

Each decorator returns the function itself, with attributes that describe it. The attributes are
read when the handler is called, so the decorators may have any order.
"""

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

from pydantic import BaseModel

from tasker_core.batch_processing.batchable import Batchable
from tasker_core.batch_processing.types import BatchWorkerContext
from tasker_core.context import StepContext
from tasker_core.errors import PermanentError, RetryableError, TaskerError
from tasker_core.results import Converter, StepHandlerResult, as_result
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin
from tasker_core.step_handler.mixins.decision import DecisionMixin, DecisionPointOutcome

Function = TypeVar("Function", bound=Callable[..., Any])
HandlerDecorator: TypeAlias = Callable[[Function], Function]


@runtime_checkable
class FunctionalHandler(Protocol):
    """A function that is a handler."""

    _handler_class: type[StepHandler]

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function."""
        ...


@dataclass(frozen=True)
class Decision:
    """The result of a `@decision_handler`."""

    outcome: DecisionPointOutcome

    @classmethod
    def route(cls, steps: list[str], **routing_context: Any) -> "Decision":
        """Let these of the dependent steps run."""
        return cls(DecisionPointOutcome.create_steps(steps, routing_context=routing_context))

    @classmethod
    def skip(cls, reason: str, **routing_context: Any) -> "Decision":
        """Let none of the dependent steps run."""
        return cls(DecisionPointOutcome.no_branches(reason or "No branches", routing_context))


@dataclass
class BatchConfig:
    """The result of a `@batch_analyzer`: how many items, and how many in each batch."""

    total_items: int
    batch_size: int
    metadata: dict[str, Any] = field(default_factory=dict)


# ------------------------------------------------------------------- parameters


def depends_on(**parameters: str | type | tuple[str, type]) -> Callable[[Function], Function]:
    """Fill parameters with results of earlier steps.

    Args:
        parameters: For each parameter the name of a step, such a name and a model, or a model
            (of the step named like the parameter).
    """

    def mark(function: Function) -> Function:
        steps = dict(getattr(function, "_depends_on", {}))
        models = dict(getattr(function, "_dep_models", {}))
        for parameter, source in parameters.items():
            if isinstance(source, tuple):
                steps[parameter], models[parameter] = source
            elif isinstance(source, str):
                steps[parameter] = source
            else:
                steps[parameter], models[parameter] = parameter, source
        function._depends_on = steps  # type: ignore[attr-defined]
        function._dep_models = models  # type: ignore[attr-defined]
        return function

    return mark


def inputs(*names: str | type[BaseModel]) -> Callable[[Function], Function]:
    """Fill parameters with inputs of the task.

    Args:
        names: Names of inputs, which are those of parameters; or one model, for the parameter
            `inputs`.
    """

    def mark(function: Function) -> Function:
        if len(names) == 1 and isinstance(names[0], type):
            function._input_model = names[0]  # type: ignore[attr-defined]
        else:
            earlier = getattr(function, "_inputs", [])
            function._inputs = [*earlier, *names]  # type: ignore[attr-defined]
        return function

    return mark


class Parameters(NamedTuple):
    """What a function gets, as its decorators say."""

    results: Sequence[tuple[str, str, type[BaseModel] | None]]
    """Parameters with their steps, and the models of their results."""

    inputs: Sequence[str]
    input_model: type[BaseModel] | None
    context: str
    """The parameter that gets the context, or ""."""


@cache
def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Return what a function gets. Its decorators have run when it is called for the first time."""
    models = getattr(function, "_dep_models", {})
    parameters = inspect.signature(function).parameters
    input_model = getattr(function, "_input_model", None)
    return Parameters(
        [
            (parameter, step, _model_or_none(models.get(parameter)))
            for parameter, step in getattr(function, "_depends_on", {}).items()
        ],
        () if input_model is not None else getattr(function, "_inputs", ()),
        input_model,
        next((name for name in ("context", "_context") if name in parameters), ""),
    )


def _model_or_none(model: Any) -> type[BaseModel] | None:
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def arguments_of(function: Callable[..., Any], context: StepContext) -> dict[str, Any]:
    """Return the arguments of a function for an attempt."""
    results, inputs, input_model, context_parameter = parameters_of(function)
    filled: dict[str, Any] = {}
    for parameter, step, model in results:
        value = context.get_dependency_result(step)
        if model is not None and isinstance(value, dict):
            value = model.model_validate(value)
        filled[parameter] = value
    if input_model is not None:
        filled["inputs"] = _validated(input_model, context)
    for name in inputs:
        filled[name] = context.get_input(name)
    if context_parameter:
        filled[context_parameter] = context
    return filled


def _validated(model: type[BaseModel], context: StepContext) -> BaseModel:
    """Return the inputs as a model: absent ones have its defaults, or are None without one."""
    given: dict[str, Any] = {}
    for name, about in model.model_fields.items():
        value = context.get_input(name)
        if value is None and about.alias:
            value = context.get_input(about.alias)
        if value is not None or about.is_required():
            given[about.alias or name] = value
    return model.model_validate(given)


# --------------------------------------------------------------------- handlers


class FunctionHandler(StepHandler):
    """Calls a function, and makes a result of what it returns or raises."""

    function: Callable[..., Any]

    def extras(self, context: StepContext) -> dict[str, Any]:
        """Return further arguments."""
        return {}

    def convert(self, value: Any) -> StepHandlerResult | dict[str, Any]:
        """Return what the function returned as a result; a dict stays as it is."""
        return value if type(value) is dict else as_result(value)

    def call(self, context: StepContext) -> Any:
        """Call the function, and return its result."""
        return _as_result_or_failure(self.run(context))

    def run(self, context: StepContext) -> Any:
        """Call the function, and return what `convert` makes of it, or its failure."""
        function = self.function
        try:
            value = function(**arguments_of(function, context), **self.extras(context))
            return self.convert(value)
        except Exception as error:
            return failure_of(error)


class AsyncFunctionHandler(FunctionHandler):
    """Calls an async function."""

    async def call(self, context: StepContext) -> StepHandlerResult:
        """Call the function, and return its result."""
        return _as_result_or_failure(await self.run(context))

    async def run(self, context: StepContext) -> Any:
        """Call the function, and return what `convert` makes of it, or its failure."""
        function = self.function
        try:
            value = await function(**arguments_of(function, context), **self.extras(context))
            return self.convert(value)
        except Exception as error:
            return failure_of(error)


def _as_result_or_failure(value: StepHandlerResult | dict[str, Any]) -> StepHandlerResult:
    try:
        return as_result(value)
    except Exception as error:  # a dict whose keys are no texts
        return failure_of(error)


def failure_of(error: Exception) -> StepHandlerResult:
    """Return an exception of a function as a failure; unknown ones are retryable."""
    if isinstance(error, PermanentError):
        kind, retryable = "permanent_error", False
    elif isinstance(error, RetryableError):
        kind, retryable = "retryable_error", True
    else:
        kind, retryable = "handler_error", getattr(error, "retryable", True)
    if isinstance(error, TaskerError):
        metadata, code = error.metadata, error.error_code
    else:
        shown = "".join(traceback.format_exception(error))
        metadata, code = {"exception_type": type(error).__name__, "traceback": shown}, None
    return StepHandlerResult.failure(str(error), kind, bool(retryable), metadata, code)


def _make_handler(
    name: str,
    version: str,
    convert: Converter | None = None,
    bases: tuple[type, ...] = (),
    **attributes: Any,
) -> Callable[[Function], Function]:
    """Return a decorator that gives a function its handler class."""

    def mark(function: Function) -> Function:
        is_async = inspect.iscoroutinefunction(function)
        made: dict[str, Any] = {
            "handler_name": name,
            "handler_version": version,
            "function": staticmethod(function),
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
            **attributes,
        }
        if convert is not None:
            made["convert"] = lambda self, value: convert(value)
        base = AsyncFunctionHandler if is_async else FunctionHandler
        handler = type(function.__name__, (*bases, base), made)
        function._handler_class = handler  # type: ignore[attr-defined]
        return function

    return mark


def step_handler(name: str, version: str = "1.0.0") -> Callable[[Function], Function]:
    """Make a function, sync or async, the handler of this name."""
    return _make_handler(name, version)


def decision_handler(name: str, version: str = "1.0.0") -> Callable[[Function], Function]:
    """Make a function that returns a `Decision` the handler of this name."""

    def convert(value: Any) -> StepHandlerResult:
        if not isinstance(value, Decision):
            return as_result(value)
        outcome = value.outcome
        facts = {"decision_handler": name, "decision_version": version}
        return StepHandlerResult.make_success(outcome.as_result(), facts)

    return _make_handler(name, version, convert, (DecisionMixin,))


def batch_analyzer(
    name: str, worker_template: str = "batch_worker", version: str = "1.0.0"
) -> Callable[[Function], Function]:
    """Make a function that returns a `BatchConfig` the handler of this name.

    Args:
        name: The name.
        worker_template: The step that gets the batches.
        version: Version of its code.
    """

    def convert(value: Any) -> StepHandlerResult:
        if not isinstance(value, BatchConfig):
            return as_result(value)
        batches = Batchable()
        outcome = batches.create_batch_outcome(
            value.total_items, value.batch_size, batch_metadata=value.metadata
        )
        return batches.batch_analyzer_success(outcome, worker_template_name=worker_template)

    return _make_handler(name, version, convert, (Batchable,))


def batch_worker(
    name: str, version: str = "1.0.0", analyzer_step: str | None = None
) -> Callable[[Function], Function]:
    """Make a function with a parameter `batch_context` the handler of this name."""

    def extras(_: StepHandler, context: StepContext) -> dict[str, Any]:
        return {"batch_context": BatchWorkerContext.from_step_context(context)}

    return _make_handler(name, version, None, (Batchable,), extras=extras)


def api_handler(
    name: str,
    base_url: str,
    version: str = "1.0.0",
    timeout: float = 30.0,
    default_headers: dict[str, str] | None = None,
) -> Callable[[Function], Function]:
    """Make a function with a parameter `api`, an HTTP client, the handler of this name.

    Args:
        name: The name.
        base_url: Beginning of the URLs.
        version: Version of its code.
        timeout: Seconds of one request.
        default_headers: Headers of all requests.
    """

    def extras(handler: StepHandler, _: StepContext) -> dict[str, Any]:
        return {"api": handler}

    return _make_handler(
        name,
        version,
        None,
        (APIMixin,),
        extras=extras,
        base_url=base_url,
        default_timeout=timeout,
        default_headers=default_headers or {},
    )


def class_of_function(target: object) -> type[StepHandler] | None:
    """Return the handler class that a decorator gave a function, or None."""
    handler = getattr(target, "_handler_class", None) if callable(target) else None
    return handler if isinstance(handler, type) else None

"""Calls handlers of this package as handlers of Tasker."""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4, uuid5

from pydantic_core import to_jsonable_python

import tasker
from tasker_core.context import FfiStepEvent, StepContext, envelope
from tasker_core.errors import PermanentError, RetryableError, StepExecutionError, TaskerError
from tasker_core.registry.handler_registry import HandlerRegistry
from tasker_core.registry.resolvers import HandlerDefinition, MethodDispatchWrapper
from tasker_core.results import StepHandlerResult, as_result
from tasker_core.step_handler.functional import FunctionHandler

NO_OP_CURSOR = {"batch_id": "000", "start_cursor": 0, "end_cursor": 0, "batch_size": 0}
"""The batch of the one worker of an analyzer that made none."""

_BATCH_METADATA = {"cursor_field": "id", "failure_strategy": "continue_on_failure"}


def step_uuid(task_id: str, name: str) -> str:
    """Return the UUID of a step, as the server's routes for the earlier clients have it."""
    return str(uuid5(UUID(task_id), name))


class EngineContext(StepContext):
    """The context of an attempt on the engine; its attributes are made on first use."""

    def __init__(self, context: tasker.Context, handler_name: str) -> None:
        self.__dict__["_context"] = context
        self.__dict__["handler_name"] = handler_name

    @property
    def native(self) -> tasker.Context:
        """The context that handlers of Tasker get."""
        context: tasker.Context = self.__dict__["_context"]
        return context

    @cached_property
    def task_uuid(self) -> UUID:  # type: ignore[override]  # lazy
        return UUID(self.native.task_id)

    @cached_property
    def step_uuid(self) -> UUID:  # type: ignore[override]
        return UUID(step_uuid(self.native.task_id, self.native.step))

    @cached_property
    def correlation_id(self) -> UUID:  # type: ignore[override]
        try:
            return UUID(self.native.correlation_id)
        except ValueError:
            return self.task_uuid

    @cached_property
    def input_data(self) -> dict[str, Any]:  # type: ignore[override]
        return dict(self.native.input)

    @cached_property
    def step_config(self) -> dict[str, Any]:  # type: ignore[override]
        return dict(self.native.config)

    @cached_property
    def step_inputs(self) -> dict[str, Any]:  # type: ignore[override]
        item = self.native.item
        if not (isinstance(item, dict) and "start_cursor" in item):
            return {}
        metadata = self.native.config.get("batch_metadata") or {}
        return {
            "cursor": item,
            "batch_metadata": {**_BATCH_METADATA, **metadata},
            "is_no_op": item == NO_OP_CURSOR,
        }

    @cached_property
    def retry_count(self) -> int:  # type: ignore[override]
        return self.native.counted_attempts - 1

    @cached_property
    def max_retries(self) -> int:  # type: ignore[override]
        return self.native.max_attempts

    @cached_property
    def dependency_results(self) -> dict[str, Any]:  # type: ignore[override]
        results = {name: value for name, value in self.native.results.items() if value is not None}
        for value in list(results.values()):
            if batches := _batches_of(value, results):
                worker = value["batch_processing_outcome"]["worker_template_name"]
                del results[worker]
                results.pop(f"{worker}.map", None)
                results.update(batches)
        task = self.native.task_id
        return {name: envelope(value, step_uuid(task, name)) for name, value in results.items()}

    def get_input(self, key: str) -> Any:
        """Return one input, or None."""
        return self.native.input.get(key)

    def get_dependency_result(self, step_name: str) -> Any:
        """Return the result of an earlier step, or None."""
        value = self.native.results.get(step_name)
        return super().get_dependency_result(step_name) if value is None else value

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint of an earlier attempt, or None."""
        saved = self.native.last_checkpoint
        return saved if isinstance(saved, dict) else None

    @cached_property
    def event(self) -> FfiStepEvent:  # type: ignore[override]
        step = {
            "workflow_step_uuid": str(self.step_uuid),
            "task_uuid": self.native.task_id,
            "name": self.native.step,
            "template_step_name": self.native.step,
            "retryable": self.max_retries > 1,
            "max_attempts": self.max_retries,
            "in_process": True,
            "processed": False,
            "attempts": self.retry_count,
            "inputs": self.step_inputs,
            "results": None,
            "checkpoint": self.checkpoint,
        }
        template = self.native.template
        task = {
            "task_uuid": self.native.task_id,
            "complete": False,
            "context": self.input_data,
            "correlation_id": self.native.correlation_id,
        }
        return FfiStepEvent(
            event_id=str(uuid4()),
            task_uuid=self.native.task_id,
            step_uuid=str(self.step_uuid),
            correlation_id=str(self.correlation_id),
            task_correlation_id=self.native.correlation_id,
            parent_correlation_id=None,
            task_sequence_step={
                "task": {
                    "task": task,
                    "task_name": template.name,
                    "task_version": template.version,
                    "namespace_name": template.namespace,
                },
                "workflow_step": step,
                "dependency_results": self.dependency_results,
                "step_definition": {
                    "name": self.native.step,
                    "handler": {"callable": self.handler_name, "initialization": self.step_config},
                },
            },
        )


def _batches_of(value: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of an analyzer's workers by their names: `process_001`, `process_002`."""
    outcome = value.get("batch_processing_outcome") if isinstance(value, dict) else None
    if not isinstance(outcome, dict):
        return {}
    worker = outcome.get("worker_template_name")
    made = results.get(worker) if isinstance(worker, str) else None
    cursors = outcome.get("cursor_configs") or []
    if not isinstance(made, list) or len(made) != len(cursors):
        return {}
    named = zip(cursors, made, strict=True)
    return {f"{worker}_{cursor['batch_id']}": result for cursor, result in named if result}


# --------------------------------------------------------------------- outcomes


def result_of(value: Any) -> Any:
    """Return what the engine stores for what a handler returned.

    Raises:
        PermanentError: The handler reported a failure that is not retryable.
        RetryableError: The handler reported another failure.
    """
    if type(value) is dict:
        result = value
    else:
        made = as_result(value)
        if not made.is_success:
            raise _error_of(made)
        result = made.result or {}
    outcome = result.get("batch_processing_outcome")
    if isinstance(outcome, dict) and outcome.get("type") == "no_batches":
        result = {
            **result,
            "batch_processing_outcome": {**outcome, "cursor_configs": [NO_OP_CURSOR]},
        }
    return to_jsonable_python(result)


def _error_of(failure: StepHandlerResult) -> tasker.PermanentError | tasker.RetryableError:
    message = failure.error_message or "Unknown error"
    details: dict[str, Any] = {"error_type": failure.error_type or "unknown"}
    if failure.metadata:
        details["metadata"] = to_jsonable_python(failure.metadata, fallback=str)
    code = failure.error_code or failure.metadata.get("error_code") or failure.error_type
    code = None if code is None else str(code)
    if not failure.retryable:
        return tasker.PermanentError(message, code=code, details=details)
    delay = failure.metadata.get("retry_after", failure.metadata.get("retry_after_seconds"))
    after = delay if isinstance(delay, int | float) and 0 <= delay <= 86400 else None
    return tasker.RetryableError(message, code=code, details=details, retry_after=after)


def _error_of_exception(
    error: TaskerError | StepExecutionError,
) -> tasker.PermanentError | tasker.RetryableError:
    """Return the error of Tasker for an error of a handler."""
    permanent = isinstance(error, PermanentError)
    retryable = isinstance(error, RetryableError) or (not permanent and error.retryable)
    metadata = getattr(error, "metadata", {})
    failure = StepHandlerResult.failure(
        str(error), error.error_type, retryable, metadata, getattr(error, "error_code", None)
    )
    return _error_of(failure)


def _hands_back(value: Any) -> dict[str, Any] | None:
    """Return the checkpoint with which a handler wants to start again, or None."""
    if not (
        isinstance(value, StepHandlerResult) and value.metadata.get("checkpoint_yield") is True
    ):
        return None
    saved = {key: part for key, part in (value.result or {}).items() if key != "type"}
    checkpoint: dict[str, Any] = to_jsonable_python(saved)
    return checkpoint


# --------------------------------------------------------------------- handlers


class Adapter:
    """A handler of Tasker that calls the handler of a name.

    Args:
        name: The name, as in templates.
        method: The method to call; None: `call`.
        registry: The handlers.
    """

    def __init__(self, name: str, registry: HandlerRegistry, method: str | None = None) -> None:
        self.name = name
        self._registry = registry
        self._method = method

    def _resolve(self, context: tasker.Context) -> Any:
        if self._method is None:
            registered = self._registry.resolver_chain.registered_class(self.name)
            if registered is not None and issubclass(registered, FunctionHandler):
                return registered()
        definition = HandlerDefinition(self.name, self._method, None, dict(context.config))
        handler: Any = self._registry.resolve(definition)
        if handler is None and self._method is not None:
            definition.handler_method = None
            handler = self._registry.resolve(definition)
        if handler is None:
            raise tasker.PermanentError(f"Handler not found: {self.name}", code="handler_not_found")
        return handler


class SyncAdapter(Adapter):
    """Calls a handler in a thread."""

    def call(self, context: tasker.SyncContext) -> Any:
        """Run one attempt."""
        adapted = EngineContext(context, self.name)
        try:
            handler = self._resolve(context)
            is_function = isinstance(handler, FunctionHandler)
            value = handler.run(adapted) if is_function else handler.call(adapted)
            if inspect.isawaitable(value):
                value = asyncio.run(_awaited(value))
        except (TaskerError, StepExecutionError) as error:
            raise _error_of_exception(error) from error
        checkpoint = _hands_back(value)
        if checkpoint is not None:
            context.hand_back(checkpoint)
        return result_of(value)


class AsyncAdapter(Adapter):
    """Calls an async handler in the worker's event loop."""

    async def call(self, context: tasker.AsyncContext) -> Any:
        """Run one attempt."""
        adapted = EngineContext(context, self.name)
        try:
            handler = self._resolve(context)
            is_function = isinstance(handler, FunctionHandler)
            value = await (handler.run(adapted) if is_function else handler.call(adapted))
        except (TaskerError, StepExecutionError) as error:
            raise _error_of_exception(error) from error
        checkpoint = _hands_back(value)
        if checkpoint is not None:
            await context.hand_back(checkpoint)
        return result_of(value)


async def _awaited(value: Any) -> Any:
    return await value


def adapters_of(
    registry: HandlerRegistry, named: Iterable[tuple[str, str | None]]
) -> dict[str, Any]:
    """Return a handler of Tasker for each registered name, and for each that templates name.

    Args:
        registry: The handlers.
        named: Names of handlers in templates, each with its method or None.
    """
    methods: dict[str, set[str]] = {name: set() for name in registry.list_handlers()}
    for name, method in named:
        methods.setdefault(name, set()).update([method] if method not in (None, "call") else [])
    return {name: _adapter(registry, name, sorted(others)) for name, others in methods.items()}


def _adapter(registry: HandlerRegistry, name: str, methods: list[str]) -> Any:
    """Return the adapter of a handler; each further method of templates is a method of it."""
    kind = AsyncAdapter if _is_async(registry, name, None) else SyncAdapter
    adapter = kind(name, registry)
    if not methods:
        return adapter
    made = {method: _method(registry, name, method) for method in methods}
    return type(kind.__name__, (kind,), made)(name, registry)


def _method(registry: HandlerRegistry, name: str, method: str) -> Callable[..., Any]:
    if _is_async(registry, name, method):
        awaited = AsyncAdapter(name, registry, method)

        @tasker.handler(name=f"{name}.{method}")
        async def call_async(self: Any, context: tasker.AsyncContext) -> Any:
            return await awaited.call(context)

        return call_async
    blocking = SyncAdapter(name, registry, method)

    @tasker.handler(name=f"{name}.{method}")
    def call_sync(self: Any, context: tasker.SyncContext) -> Any:
        return blocking.call(context)

    return call_sync


def _is_async(registry: HandlerRegistry, name: str, method: str | None) -> bool:
    try:
        handler = registry.resolve(HandlerDefinition(name, method))
    except Exception:
        return False  # it is resolved again, and its error reported, by each attempt
    if isinstance(handler, MethodDispatchWrapper):
        return inspect.iscoroutinefunction(handler.call)
    return inspect.iscoroutinefunction(getattr(handler, "call", None))

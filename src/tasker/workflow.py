"""Templates written in Python: functions are the steps, and their parameters define the edges."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import (
    Any,
    Literal,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic_core import PydanticSerializationError

from tasker import versions
from tasker.durations import Duration, parse_duration
from tasker.errors import DocumentProblem, InvalidExpression, InvalidInput, InvalidTemplate, Misuse
from tasker.graph import Graph
from tasker.handlers.decorators import Result
from tasker.handlers.schemas import find_schema_contradiction, json_schema_of_type
from tasker.handlers.signature import read_parameters, read_return_annotation
from tasker.layout import instance_input_names
from tasker.limits import NESTING
from tasker.model import (
    DEFAULT_PRIORITY,
    ApprovalSpec,
    AwaitedSignal,
    Batch,
    ChildTaskSpec,
    CollectMode,
    CompensateSpec,
    Compensation,
    EventSpec,
    ExternalSpec,
    HttpCall,
    InstanceFailureHandling,
    InstanceFailurePolicy,
    JsonObject,
    Limit,
    Map,
    Repeat,
    Retry,
    Schedule,
    SettlementDurability,
    Spawning,
    StepOverride,
    StepSpec,
    StepType,
    TaskConcurrency,
    TaskEndEvent,
    TaskEventName,
    Template,
    TimeoutAction,
    TriggerRule,
    WaitSpec,
)
from tasker.suggest import suggest_allowed
from tasker.template.expression_building import BuiltExpression, Expression, to_expression_text
from tasker.template.expressions import compile_expression
from tasker.template.load import validate_and_normalize_template
from tasker.template.waits import results_used_by_engine_step
from tasker.typed_template import In, Out, TypedTemplate

Function = TypeVar("Function", bound=Callable[..., Any])
TriggerName: TypeAlias = Literal[
    "all_success",
    "all_failed",
    "all_skipped",
    "all_done",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "always",
]
"""Trigger rules: see `TriggerRule`."""

After: TypeAlias = str | Callable[..., Any] | Iterable[str | Callable[..., Any]]
"""Steps to wait for, each given by its name or its function."""

_STEP = re.compile(r"steps\[(\d+)\]")


class CommonStepOptions(TypedDict, total=False):
    """Options of all steps: see `StepBuilder.step`."""

    description: str
    after: After
    when: Expression | None
    trigger: TriggerName
    allow_failure: bool


class HandlerStepOptions(CommonStepOptions, total=False):
    """Options of steps with a handler: see `StepBuilder.step`."""

    retry: Retry | None
    timeout: Duration | None
    queue_timeout: Duration | None
    heartbeat_timeout: Duration | None
    requires: Mapping[str, str]
    config: JsonObject | None
    events: Iterable[EventSpec | str]
    limits: Iterable[Limit] | None
    external: ExternalSpec | None


class FunctionStepOptions(HandlerStepOptions, total=False):
    """Options of steps that are functions: see `StepBuilder.step`."""

    name: str | None


class StepBuilder(ABC):
    """Steps under construction, of a workflow or of a body."""

    def __init__(self) -> None:
        self._steps: dict[str, _DeclaredStep] = {}

    @property
    @abstractmethod
    def _template_without_steps(self) -> Template:
        """The template, without its steps."""

    @abstractmethod
    def _on_change(self) -> None:
        """Record that a step was added or changed."""

    @property
    def _enclosing_builder(self) -> "StepBuilder | None":
        """The builder of the steps around this body; None for a workflow."""
        return None

    @overload
    def step(self, function: Function, /) -> Function: ...

    @overload
    def step(
        self, function: None = None, /, **options: Unpack[FunctionStepOptions]
    ) -> Callable[[Function], Function]: ...

    def step(self, function: Any = None, /, **options: Unpack[FunctionStepOptions]) -> Any:
        """Make a function a step. Use it with or without options; the function is returned
        unchanged.

        Only workers whose code has the workflow's version, or is declared to serve it, run the
        step.

        Args:
            function: The function, sync or async.
            options: All are optional.

                - `name`: The step's name; None: the function's.
                - `description`: For people.
                - `after`: Dependencies in addition to those named by parameters, each given by name
                  or function.
                - `retry`: Retry policy; None: the defaults.
                - `timeout`: Time limit of one attempt, as seconds, a timedelta or `"5m"`; None: the
                  worker's `attempt_timeout`.
                - `queue_timeout`: Time within which a worker must claim the step when it is due;
                  None: no limit.
                - `heartbeat_timeout`: Maximum time between two heartbeats of an attempt; None:
                  heartbeats are not required.
                - `requires`: Labels that a worker must have, such as `{"gpu": "true"}`.
                - `config`: Values of parameters marked `Config("key")`.
                - `events`: Domain events that the step publishes. An event given by its name alone
                  is published on success, with the result.
                - `when`: Condition, as a string or built from the workflow's `input` and `results`;
                  if it is false, the step is skipped. None: the step always runs.
                - `trigger`: The trigger rule, which decides from the outcomes of the dependencies
                  whether the step runs; see docs/branches.md.
                - `allow_failure`: Whether its children run and the task continues if the step fails
                  permanently.
                - `limits`: The step's limits, at most two; None: the workflow's limits.
                - `external`: How the step waits, after the function has returned, for another
                  system to complete it; None: the step is complete when the function returns.

        Raises:
            InvalidInput: `when` or `trigger` is invalid.
            InvalidTemplate: A step with that name exists.
            Misuse: The function has a parameter that no step can fill.
            TypeError: An option is unknown.
        """
        _check_options(options, FunctionStepOptions.__optional_keys__)
        to_expression_text(
            options.get("when"), "when"
        )  # raises an error before a function is decorated

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            step = options.get("name") or str(getattr(function, "__name__", ""))
            spec = StepSpec(
                name=step,
                callable=f"{self._template_without_steps.namespace}.{self._template_without_steps.name}.{step}",
                handler_version=self._template_without_steps.version,
                result_schema=_make_result_schema(read_return_annotation(function)),
                **self._common_spec_fields(options, self._steps_read_by_parameters(function, step)),
                **_handler_spec_fields(options, function),
            )
            self._add_spec(spec, function)
            return function

        return decorate if function is None else decorate(function)

    @overload
    def decision(self, function: Function, /) -> Function: ...

    @overload
    def decision(
        self, function: None = None, /, **options: Unpack[FunctionStepOptions]
    ) -> Callable[[Function], Function]: ...

    def decision(self, function: Any = None, /, **options: Unpack[FunctionStepOptions]) -> Any:
        """Make a function a decision: a step that chooses which of its children run.

        The function returns `Decision.choose("step", ...)` or `Decision.none(reason)`. Steps that
        it does not choose are skipped.

        Args:
            function: The function, sync or async.
            options: Options of `step`.

        Raises:
            InvalidInput: `when` or `trigger` is invalid.
            InvalidTemplate: A step with that name exists.
            Misuse: The function has a parameter that no step can fill.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self.step(**options)(function)
            _, declared = self._steps.popitem()
            self._add_spec(replace(declared.spec, type=StepType.DECISION), function)
            return function

        return decorate if function is None else decorate(function)

    def compensate(
        self,
        step: str | Callable[..., Any],
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> Callable[[Function], Function]:
        """Make a function the compensation of a step: it undoes the step if the task later fails or
        is cancelled.

        A parameter with the step's name gets the step's result. The results of earlier steps can be
        read as well.

        Args:
            step: The step, by its name or function.
            retry: Retry policy; None: the defaults.
            timeout: Time limit of one attempt, as in `step`.

        Raises:
            InvalidTemplate: The step already has a compensation.
            Misuse: There is no such step.
        """
        name = self._resolve_step_name(step)
        if name not in self._steps:
            known = suggest_allowed(name, self._steps)
            raise Misuse(
                f"compensate: {self._template_without_steps.name!r} has no step {name!r} yet{known}"
            )

        def decorate(function: Function) -> Function:
            declared = self._steps[name]
            if declared.spec.compensate is not None:
                problem = DocumentProblem(f"step {name!r} already has a compensation", path=name)
                raise InvalidTemplate(declared.locate_problem(problem))
            undo = CompensateSpec(
                callable=f"{self._template_without_steps.namespace}.{self._template_without_steps.name}.{name}.compensation",
                version=self._template_without_steps.version,
                retry=_parse_retry(retry, function),
                timeout=_parse_duration(timeout, "timeout", function),
            )
            spec = replace(declared.spec, compensate=undo)
            self._steps[name] = replace(declared, spec=spec, compensation=function)
            self._on_change()
            return function

        return decorate

    @property
    def input(self) -> BuiltExpression:
        """The task's context, for use in conditions: `flow.input.amount > 500`."""
        return BuiltExpression.from_keys("input")

    @property
    def results(self) -> BuiltExpression:
        """The results of steps, for use in conditions: `flow.results.quote.cents > 500`."""
        return BuiltExpression.from_keys("results")

    def map(
        self,
        *,
        over: str | Callable[..., Any],
        item: str = "item",
        max_concurrency: int | None = None,
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        **options: Unpack[FunctionStepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that runs once for each element of a list.

        A parameter marked `Item[T]` gets the element. A later step gets the list of the results, or
        reads them one by one as `Instances[T]`.

        Args:
            over: An expression for the list, such as `results.list_files.files`, or the function
                of the step that returns it.
            item: The name of the element in expressions.
            max_concurrency: Maximum number of steps in progress at once; None: no limit.
            collect: "list": the result is the list of the results if there are at most 1,000 of
                them, or 1 MiB, and their counts otherwise; "none": always the counts.
            reduce: Name of the handler that computes the step's result from the instances' results.
            on_failure: "fail": the other instances run, then the task fails; "continue": the step
                succeeds; "fail_fast": instances that have not started are cancelled.
            max_failures: With "continue", the maximum number of failures, or share such as "5%",
                with which the step succeeds; None: any number.
            options: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or an expression is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        kind = Map(
            over=self._list_expression_text(over), item=item, max_concurrency=max_concurrency
        )
        collected = _instance_spec_fields(collect, reduce, on_failure, max_failures)
        return self._decorate_spawning_step(kind, collected, options)

    def map_body(
        self,
        name: str,
        *,
        over: str | Callable[..., Any],
        item: str = "item",
        max_concurrency: int | None = None,
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        **options: Unpack[CommonStepOptions],
    ) -> "BodyBuilder":
        """Add a step that runs several steps for each element of a list, and return its body.

        Steps are added to the body as to the workflow. They may use the results of the steps
        outside the body, which then become dependencies of this step.

        Args:
            name: The step's name.
            over: As in `map`.
            item: As in `map`; the names of nested maps must differ.
            max_concurrency: As in `map`.
            collect: As in `map`.
            reduce: As in `map`.
            on_failure: As in `map`.
            max_failures: As in `map`.
            options: `description`, `after`, `when`, `trigger`, `allow_failure` of `step`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        kind = Map(
            over=self._list_expression_text(over), item=item, max_concurrency=max_concurrency
        )
        collected = _instance_spec_fields(collect, reduce, on_failure, max_failures)
        return self._add_body(name, kind, collected, options)

    def batch(
        self,
        *,
        total: str | int,
        size: int,
        max_instances: int | None = None,
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        **options: Unpack[FunctionStepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that runs once for each range of numbers from 0 to `total`.

        The function reads its range from `context.cursor` or a parameter `cursor: Cursor`.

        Args:
            total: The number after the last one, or an expression for it.
            size: Number of numbers per instance.
            max_instances: Maximum number of instances; `size` is increased to stay within it.
            collect: As in `map`.
            reduce: As in `map`.
            on_failure: As in `map`.
            max_failures: As in `map`.
            options: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or an expression is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        kind = Batch(total=str(total), size=size, max_instances=max_instances)
        collected = _instance_spec_fields(collect, reduce, on_failure, max_failures)
        return self._decorate_spawning_step(kind, collected, options)

    def batch_body(
        self,
        name: str,
        *,
        total: str | int,
        size: int,
        max_instances: int | None = None,
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        **options: Unpack[CommonStepOptions],
    ) -> "BodyBuilder":
        """Add a step that runs several steps for each range of numbers, and return its body.

        Args:
            name: The step's name.
            total: As in `batch`.
            size: As in `batch`.
            max_instances: As in `batch`.
            collect: As in `map`.
            reduce: As in `map`.
            on_failure: As in `map`.
            max_failures: As in `map`.
            options: As in `map_body`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        kind = Batch(total=str(total), size=size, max_instances=max_instances)
        collected = _instance_spec_fields(collect, reduce, on_failure, max_failures)
        return self._add_body(name, kind, collected, options)

    def repeat(
        self,
        *,
        until: Expression,
        max: int,  # noqa: A002 - as templates write it
        every: Duration = 0,
        **options: Unpack[FunctionStepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that is repeated until a condition holds.

        The step's result is the result of its last iteration.

        Args:
            until: The condition, evaluated after each iteration: `results.NAME`, with the step's
                name, is the function's result, and `iteration` is the iteration's number, from 0.
            max: Maximum number of iterations; if the condition does not hold after them, the step
                fails.
            every: Time from the end of an iteration to the start of the next.
            options: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or the condition is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        return self._decorate_spawning_step(_make_repeat(until, every, max), {}, options)

    def repeat_body(
        self,
        name: str,
        *,
        until: Expression,
        max: int,  # noqa: A002 - as templates write it
        every: Duration = 0,
        **options: Unpack[CommonStepOptions],
    ) -> "BodyBuilder":
        """Add a step that repeats several steps until a condition holds, and return its body.

        Args:
            name: The step's name.
            until: The condition, evaluated after each iteration over the `results` of the body.
            max: As in `repeat`.
            every: As in `repeat`.
            options: As in `map_body`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        return self._add_body(name, _make_repeat(until, every, max), {}, options)

    def _list_expression_text(self, over: str | Callable[..., Any]) -> str:
        return over if isinstance(over, str) else f"results.{self._resolve_step_name(over)}"

    def _decorate_spawning_step(
        self, spawning: Spawning, fields: Mapping[str, Any], options: FunctionStepOptions
    ) -> Callable[[Function], Function]:
        """Return a decorator that makes a function a step with instances."""

        def decorate(function: Function) -> Function:
            self.step(**options)(function)
            name, declared = self._steps.popitem()
            waits = (
                *declared.spec.dependencies,
                *(step for step in _steps_read_by_spawning(spawning) if step != name),
            )
            spec = replace(
                declared.spec,
                dependencies=self._move_outer_dependencies_to_body_step(waits),
                spawning=spawning,
                **fields,
            )
            self._add_spec(spec, function)
            return function

        return decorate

    def _add_body(
        self, name: str, spawning: Spawning, fields: Mapping[str, Any], options: CommonStepOptions
    ) -> "BodyBuilder":
        _check_options(options, CommonStepOptions.__optional_keys__)
        reads = _steps_read_by_spawning(spawning)
        if isinstance(spawning, Repeat):  # of which most are steps of the body
            reads = filter(self._has_step, reads)
        common = self._common_spec_fields(options, reads)
        spec = StepSpec(name=name, spawning=spawning, **common, **fields)
        body = BodyBuilder(self, name)
        self._add_spec(spec, None, body)
        return body

    def add(
        self,
        name: str,
        *,
        callable: str | None = None,  # noqa: A002 - as templates write it
        method: str | None = None,
        version: str = "",
        result_schema: JsonObject | None = None,
        http: HttpCall | None = None,
        **options: Unpack[HandlerStepOptions],
    ) -> None:
        """Add a step whose handler is defined elsewhere, or a step that sends an HTTP request.

        Args:
            name: The step's name.
            callable: The handler's name; None: the name of the step.
            method: The method to call if the handler is a class; None: `call`.
            version: Version or range of versions that the handler's code must have; "": any.
            result_schema: JSON Schema of the result.
            http: The request that the step sends instead of running a handler.
            options: Options of `step`.

        Raises:
            InvalidInput: `version` is neither a version nor a range.
            InvalidTemplate: A step with that name exists.
        """
        _check_options(options, HandlerStepOptions.__optional_keys__)
        spec = StepSpec(
            name=name,
            callable=callable and callable.removeprefix("::").replace("::", "."),
            method=method,
            handler_version=versions.canonicalize(version) if version else "",
            result_schema=result_schema,
            http=http,
            **self._common_spec_fields(options),
            **_handler_spec_fields(options),
        )
        self._add_spec(spec, None)

    def wait(
        self,
        name: str,
        *,
        delay: Duration | None = None,
        until: Expression | None = None,
        signal: str | None = None,
        key: Expression | None = None,
        any_of: Iterable[AwaitedSignal | str] = (),
        timeout: Duration | None = None,
        on_timeout: TimeoutAction | Literal["fail", "skip", "continue"] = TimeoutAction.FAIL,
        **options: Unpack[CommonStepOptions],
    ) -> None:
        """Add a step that waits without occupying a worker, for a time or for signals.

        Args:
            name: The step's name.
            delay: The time to wait.
            until: Expression for the end of the wait, an ISO 8601 time with a time zone.
            signal: The signal to wait for; its payload becomes the step's result.
            key: Expression for the key of a broadcast that also ends the wait for `signal`.
            any_of: Several signals; the result of the step says which of them arrived first.
            timeout: Time limit of a wait for signals; None: no limit.
            on_timeout: After the timeout: "fail", "skip", or "continue" with the result None.
            options: `description`, `after`, `when`, `trigger`, `allow_failure` of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or the wait is invalid.
        """
        signals = [AwaitedSignal(each) if isinstance(each, str) else each for each in any_of]
        if signal is not None:
            signals.append(AwaitedSignal(signal, to_expression_text(key, "key")))
        wait = WaitSpec(
            delay=_parse_duration(delay, "delay"),
            until=to_expression_text(until, "until"),
            signals=tuple(signals),
            any_of=bool(any_of),
            timeout=_parse_duration(timeout, "timeout"),
            on_timeout=TimeoutAction(on_timeout),
        )
        self._add_engine_step(StepSpec(name=name, wait=wait), options)

    def approval(
        self,
        name: str,
        *assignees: str,
        form: JsonObject | None = None,
        timeout: Duration | None = None,
        on_timeout: TimeoutAction | Literal["fail", "skip", "continue"] = TimeoutAction.FAIL,
        escalate_after: Duration | None = None,
        escalate_to: Iterable[str] = (),
        reject_when: str | None = None,
        **options: Unpack[CommonStepOptions],
    ) -> None:
        """Add a step that waits for a person's decision.

        Its result contains the filled-in `form`, `decided_by` and `decided_at`.

        Args:
            name: The step's name.
            assignees: Who may decide: `user:NAME` and `role:NAME`, with placeholders such as
                `"user:{input.manager}"`; if empty, everyone who may decide approvals.
            form: JSON Schema of the decision; None: `approved`, a boolean, and a `comment`.
            timeout: Maximum wait; None: no limit.
            on_timeout: After the timeout: "fail", "skip", or "continue" with the result None.
            escalate_after: Time after which `escalate_to` may decide too.
            escalate_to: Further assignees.
            reject_when: Condition over `form` under which the step fails; None: `not form.approved`
                with the default form, otherwise never.
            options: `description`, `after`, `when`, `trigger`, `allow_failure` of `step`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        approval = ApprovalSpec(
            form=form,
            assignees=assignees,
            timeout=_parse_duration(timeout, "timeout"),
            on_timeout=TimeoutAction(on_timeout),
            escalate_after=_parse_duration(escalate_after, "escalate_after"),
            escalate_to=tuple(escalate_to),
            reject_when=reject_when,
        )
        self._add_engine_step(StepSpec(name=name, approval=approval), options)

    def task(
        self,
        name: str,
        template: str | TypedTemplate[Any, Any],
        context: JsonObject | None = None,
        *,
        detached: bool = False,
        retry_child: bool = False,
        retry: Retry | None = None,
        **options: Unpack[CommonStepOptions],
    ) -> None:
        """Add a step that runs a task and returns its result.

        Args:
            name: The step's name.
            template: The template's name, such as `"payments.refund@^2"`, or a workflow.
            context: The task's inputs; strings may contain placeholders such as
                `"{input.order_id}"`.
            detached: Whether the task continues if the step's own task is cancelled.
            retry_child: Whether the task's failed steps are retried, as often as `retry` allows.
            retry: The retry policy of the step.
            options: `description`, `after`, `when`, `trigger`, `allow_failure` of `step`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        child = _make_child_task_spec(template, context, detached=detached, retry_child=retry_child)
        self._add_engine_step(StepSpec(name=name, retry=_parse_retry(retry), task=child), options)

    def map_task(
        self,
        name: str,
        template: str | TypedTemplate[Any, Any],
        context: JsonObject | None = None,
        *,
        over: str | Callable[..., Any],
        item: str = "item",
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        detached: bool = False,
        retry_child: bool = False,
        retry: Retry | None = None,
        **options: Unpack[CommonStepOptions],
    ) -> None:
        """Add a step that runs a task for each element of a list and returns the tasks' results.

        Args:
            name: The step's name.
            template: As in `task`.
            context: As in `task`; `"{item}"` is the element.
            over: As in `map`.
            item: As in `map`.
            collect: As in `map`.
            reduce: As in `map`.
            on_failure: As in `map`.
            max_failures: As in `map`.
            detached: As in `task`.
            retry_child: As in `task`.
            retry: As in `task`.
            options: As in `map_body`.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        spec = StepSpec(
            name=name,
            retry=_parse_retry(retry),
            task=_make_child_task_spec(
                template, context, detached=detached, retry_child=retry_child
            ),
            spawning=Map(over=self._list_expression_text(over), item=item),
            **_instance_spec_fields(collect, reduce, on_failure, max_failures),
        )
        self._add_engine_step(spec, options)

    def _add_engine_step(self, spec: StepSpec, options: CommonStepOptions) -> None:
        """Add a step that the engine runs. It depends on the steps whose results it reads."""
        _check_options(options, CommonStepOptions.__optional_keys__)
        waits: list[str] = []
        with suppress(InvalidExpression):  # reported when the template is checked
            waits += results_used_by_engine_step(spec)
        if spec.spawning is not None:
            waits += _steps_read_by_spawning(spec.spawning)
        self._add_spec(replace(spec, **self._common_spec_fields(options, waits)), None)

    def _common_spec_fields(
        self, options: CommonStepOptions, waits: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return the fields that all specs have, with `waits` added to the dependencies."""
        condition = to_expression_text(options.get("when"), "when")
        after = self._resolve_step_names(options.get("after", ()))
        return {
            "description": options.get("description", ""),
            "dependencies": self._move_outer_dependencies_to_body_step(
                (*waits, *after, *_steps_read_by_condition(condition))
            ),
            "when": condition,
            "trigger": _parse_trigger(options.get("trigger", "all_success")),
            "allow_failure": options.get("allow_failure", False),
        }

    def _move_outer_dependencies_to_body_step(self, names: Iterable[str]) -> tuple[str, ...]:
        """Make the body's step depend on those of the steps that are outside the body; return the
        others."""
        return tuple(dict.fromkeys(names))

    def _has_step(self, name: str) -> bool:
        """Whether a step has been added to this body or outside it."""
        return name in self._steps or (
            self._enclosing_builder is not None and self._enclosing_builder._has_step(name)
        )

    def _steps_read_by_parameters(self, function: Callable[..., Any], step: str) -> list[str]:
        """Return the steps whose results are parameters, except the step itself."""
        names = []
        for parameter in read_parameters(function, what=f"step {step!r}"):
            if isinstance(parameter.source, Result):
                names.append(parameter.source.step)
            elif parameter.source is None and not parameter.takes_context:
                names += [parameter.name] if self._has_step(parameter.name) else []
        return names

    def _resolve_step_names(self, after: After) -> tuple[str, ...]:
        """Return the names of steps that are given by name or function."""
        given = [after] if isinstance(after, str) or callable(after) else after
        return tuple(dict.fromkeys(self._resolve_step_name(each) for each in given))

    def _resolve_step_name(self, given: str | Callable[..., Any]) -> str:
        if isinstance(given, str):
            return given
        for name, step in self._steps.items():
            if step.function is given:
                return name
        if self._enclosing_builder is not None:
            return self._enclosing_builder._resolve_step_name(given)
        shown, flow = getattr(given, "__name__", given), self._template_without_steps.name
        raise Misuse(f"after={shown}: this function is not a step of {flow!r} yet")

    def _add_spec(
        self, spec: StepSpec, function: Callable[..., Any] | None, body: "BodyBuilder | None" = None
    ) -> None:
        step = _DeclaredStep(spec, function, body)
        if spec.name in self._steps:
            raise InvalidTemplate(
                step.locate_problem(
                    DocumentProblem(f"the step {spec.name!r} is duplicated", path=spec.name)
                )
            )
        if spec.spawning is not None and self._nesting_depth >= NESTING:
            message = f"steps may be nested at most {NESTING} levels deep"
            raise InvalidTemplate(step.locate_problem(DocumentProblem(message, path=spec.name)))
        self._steps[spec.name] = step
        self._on_change()

    @property
    def _nesting_depth(self) -> int:
        """The number of bodies that the steps are part of."""
        return 0 if self._enclosing_builder is None else self._enclosing_builder._nesting_depth + 1

    def _add_dependencies(self, name: str, steps: Iterable[str]) -> None:
        """Make a step depend on further steps."""
        declared = self._steps[name]
        waits = self._move_outer_dependencies_to_body_step((*declared.spec.dependencies, *steps))
        spec = replace(declared.spec, dependencies=waits)
        self._steps[name] = replace(declared, spec=spec)
        self._on_change()

    def _build_complete_specs(self) -> tuple[StepSpec, ...]:
        """Return the specs of the steps, with their bodies. Raises InvalidTemplate."""
        return tuple(step.build_complete_spec() for step in self._steps.values())

    def _handler_functions(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield the names of handlers and their functions, including those in bodies."""
        for step in self._steps.values():
            if step.function is not None:
                yield step.spec.handler, step.function
            if step.spec.compensate is not None and step.compensation is not None:
                yield step.spec.compensate.callable, step.compensation
            if step.body is not None:
                yield from step.body._handler_functions()

    def _locate_problem(self, problem: DocumentProblem, path: str) -> DocumentProblem:
        """Return a problem with the location of the function that it concerns.

        Args:
            problem: The problem.
            path: Its path below these steps.
        """
        match = _STEP.match(path)
        if match is None:
            return replace(problem, file=problem.file or self._template_without_steps.full_name)
        step = list(self._steps.values())[int(match[1])]
        rest = path[match.end() :].removeprefix(".")
        if step.body is not None and _STEP.match(rest):
            return step.body._locate_problem(problem, rest)
        located = step.locate_problem(problem)
        return replace(located, file=located.file or self._template_without_steps.full_name)


class BodyBuilder(StepBuilder):
    """The steps that run for each instance of a step: see `StepBuilder.map_body`."""

    def __init__(self, outer: StepBuilder, name: str) -> None:
        """Create the body of the step `name`; use `map_body`, `batch_body` or `repeat_body`."""
        super().__init__()
        self._around = outer
        self._name = name

    @property
    def item(self) -> BuiltExpression:
        """The input of an instance, for use in conditions: the element of a map, or `cursor`."""
        spawning = self._around._steps[self._name].spec.spawning
        return BuiltExpression.from_keys(*instance_input_names(spawning)[:1])

    @property
    def _template_without_steps(self) -> Template:
        return self._around._template_without_steps

    @property
    def _enclosing_builder(self) -> StepBuilder:
        return self._around

    def _on_change(self) -> None:
        self._around._on_change()

    def _move_outer_dependencies_to_body_step(self, names: Iterable[str]) -> tuple[str, ...]:
        own: list[str] = []
        around: list[str] = []
        for name in dict.fromkeys(names):
            is_around = name not in self._steps and self._around._has_step(name)
            (around if is_around else own).append(name)
        if around:
            self._around._add_dependencies(self._name, around)
        return tuple(own)


class Workflow(StepBuilder, TypedTemplate[In, Out]):
    """A template under construction with the functions of its steps.

    A parameter with the name of an existing step, or marked `Result("step")`, makes the new step
    depend on that step. The functions are not changed.

    `In` is the type of a task's input and `Out` the type of its result, as declared by `input` and
    `result`: `client.run(workflow, ...)` takes an `In` and returns an `Out`.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "0.1.0",
        description: str = "",
        input: type[In] | JsonObject | None = None,  # noqa: A002 - it is the workflow's input
        result: type[Out] | None = None,
        deadline: Duration | None = None,
        metadata: JsonObject | None = None,
        serves: str = "",
        priority: int = DEFAULT_PRIORITY,
        limits: Iterable[Limit] = (),
        durability: Literal["full", "relaxed"] = "full",
        schedules: Iterable[Schedule] = (),
        compensation: Compensation | None = None,
        events: Iterable[TaskEndEvent | TaskEventName] = (),
        concurrency: TaskConcurrency | None = None,
        sensitive: Iterable[str] = (),
        title: str = "",
        attributes: Mapping[str, str] | None = None,
        retention: Duration | None = None,
        environments: Mapping[str, Mapping[str, StepOverride]] | None = None,
    ) -> None:
        """Create a workflow without steps.

        Args:
            name: `namespace.name`, or only a name for the namespace "default".
            version: Three numbers, such as "2.1.0".
            description: For people.
            input: A pydantic model, dataclass, typed dict or JSON Schema that a task's
                context must match; None: any object.
            result: The type to which a task's result is converted. If there is one last step, it
                must return a value that this type accepts; if there are several, their results by
                name are converted. None: the JSON value is not converted.
            deadline: Time limit of a task, as seconds, a timedelta or `"1h"`; None: no limit.
            metadata: Any JSON object to store with the template.
            serves: Range of versions, such as "^2.0". This code also runs the steps of earlier
                versions in that range, unless a worker has the code of those versions; "": none.
            priority: Priority of its tasks, from 0 to 4 (most urgent), unless they are created
                with another priority or by a step of another task.
            limits: Limits of the steps that declare no limits of their own, at most two.
            durability: With "relaxed", workers do not wait until settlements that end no task are
                durable on PostgreSQL; see "Durability" in docs/templates.md.
            schedules: When tasks are created, while this is the workflow's latest version.
            compensation: When steps with a compensation are undone; None: as soon as the task fails
                or is cancelled.
            events: Events that its tasks publish at their end.
            concurrency: Bound on its open tasks; None: any number.
            sensitive: Paths of data that is masked wherever it is shown, such as
                "input.card.number" or "results.signup.token"; see docs/masking.md.
            title: Title of its tasks; `{input.order_id}` is replaced by an input of the task.
            attributes: Searchable attributes of its tasks, such as `{"order": "input.order_id"}`.
            retention: How long ended tasks are kept: seconds, a timedelta or `"30d"`; None: the
                worker's setting.
            environments: Overrides by environment and step, such as `{"test": {"charge":
                StepOverride(config={"url": "..."})}}`.

        Raises:
            InvalidInput: `serves` is neither a version nor a range.
            Misuse: `input` has no JSON Schema.
        """
        super().__init__()
        namespace, _, plain = name.rpartition(".")
        self._declared = Template(
            namespace=namespace or "default",
            name=plain,
            version=version,
            description=description,
            steps=(),
            input_schema=None if input is None else _make_input_schema(input, name),
            deadline=_parse_duration(deadline, "deadline"),
            priority=priority,
            limits=tuple(limits),
            durability=SettlementDurability(durability),
            schedules=tuple(schedules),
            compensation=compensation or Compensation(),
            events=tuple(map(TaskEndEvent, events)),
            concurrency=concurrency,
            sensitive=tuple(sensitive),
            title=title,
            attributes=dict(attributes or {}),
            retention=_parse_duration(retention, "retention"),
            environments={name: dict(steps) for name, steps in (environments or {}).items()},
            metadata=metadata or {},
        )
        self._input: Any = None if isinstance(input, Mapping) else input
        self._result = result
        self._serves = versions.canonicalize(serves) if serves else ""
        self._template: Template | None = None

    @property
    def _template_without_steps(self) -> Template:
        return self._declared

    def _on_change(self) -> None:
        self._template = None

    @property
    def template(self) -> Template:
        """The complete template.

        Raises:
            InvalidTemplate: The template is invalid; the error lists all problems with the
                functions concerned.
        """
        if self._template is None:
            made = replace(self._template_without_steps, steps=self._build_complete_specs())
            try:
                template = validate_and_normalize_template(made)
            except InvalidTemplate as error:
                raise InvalidTemplate(
                    *(self._locate_problem(problem, problem.path) for problem in error.problems)
                ) from None
            self._check_result_type(template)
            self._template = template
        return self._template

    def _check_result_type(self, template: Template) -> None:
        """Raise InvalidTemplate if the only last step returns a type other than `result`."""
        sinks = Graph(template).sinks
        if self._result is None or len(sinks) != 1:
            return
        last = self._steps[Graph(template).names[sinks[0] - 1]]
        if last.function is None or last.spec.spawning is not None:
            return
        difference = find_schema_contradiction(
            json_schema_of_type(read_return_annotation(last.function), "serialization"),
            json_schema_of_type(self._result, "validation"),
        )
        if difference is None:
            return
        message = (
            f"the return type of the last step does not match the workflow's result: {difference}"
        )
        raise InvalidTemplate(last.locate_problem(DocumentProblem(message, path=last.spec.name)))

    def make_context(self, input: In) -> Mapping[str, Any]:  # noqa: A002 - it is a task's input
        """Return the context of a task with this input.

        Raises:
            InvalidInput: The input is neither a mapping nor of the type declared by `input`.
        """
        if isinstance(input, Mapping):
            return input
        name, kind = self._template_without_steps.full_name, type(input).__name__
        if self._input is None:
            raise InvalidInput(f"the context of {name} must be a JSON object, not {kind}")
        try:
            given = self._input_adapter.validate_python(input, strict=True)
            context = self._input_adapter.dump_python(given, mode="json", by_alias=True)
        except ValidationError:
            declared = getattr(self._input, "__name__", self._input)
            raise InvalidInput(f"the input of {name} must be {declared}, not {kind}") from None
        except PydanticSerializationError as error:
            raise InvalidInput(f"the input of {name} cannot be written as JSON: {error}") from None
        return cast(dict[str, Any], context)

    @cached_property
    def _input_adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._input)

    def convert_result(self, value: Any) -> Out:
        """Return the result of a task as the type declared by `result`.

        Raises:
            pydantic.ValidationError: The result does not have that type.
        """
        if self._result is None:
            return cast(Out, value)
        return TypeAdapter(self._result).validate_python(value)

    @property
    def version(self) -> str:
        """Its version, which is also the version of its steps' code."""
        return self._template_without_steps.version

    @property
    def serves(self) -> str:
        """Range of earlier versions whose steps this code also runs; "": none."""
        return self._serves

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Functions by handler name; `Handlers.collect(workflow)` reads them here."""
        return MappingProxyType(dict(self._handler_functions()))


@dataclass(frozen=True, slots=True)
class _DeclaredStep:
    """A step, and its function if known."""

    spec: StepSpec
    function: Callable[..., Any] | None
    body: BodyBuilder | None = None
    compensation: Callable[..., Any] | None = None

    def build_complete_spec(self) -> StepSpec:
        """Return the spec with its body. Raises InvalidTemplate."""
        if self.body is None:
            return self.spec
        steps = self.body._build_complete_specs()
        if not steps:
            raise InvalidTemplate(
                DocumentProblem(f"the body of {self.spec.name!r} has no steps", path=self.spec.name)
            )
        return replace(self.spec, steps=steps)

    def locate_problem(self, problem: DocumentProblem) -> DocumentProblem:
        code = getattr(self.function, "__code__", None)
        if code is None:
            return problem
        return replace(problem, file=code.co_filename, line=code.co_firstlineno)


def _check_options(given: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raise TypeError if an option is unknown."""
    for name in given.keys() - allowed:
        hint = suggest_allowed(name, sorted(allowed))
        raise TypeError(f"unknown step option {name!r}{hint}")


def _handler_spec_fields(
    options: HandlerStepOptions, function: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return the fields of a spec that only steps with a handler have. Raises InvalidTemplate."""
    events, limits = options.get("events", ()), options.get("limits")
    return {
        "retry": _parse_retry(options.get("retry"), function),
        "config": options.get("config") or {},
        "events": tuple(EventSpec(each) if isinstance(each, str) else each for each in events),
        "limits": None if limits is None else tuple(limits),
        "requires": options.get("requires", {}),
        "external": options.get("external"),
        **{
            name: _parse_duration(value, name, function)
            for name, value in (
                ("timeout", options.get("timeout")),
                ("queue_timeout", options.get("queue_timeout")),
                ("heartbeat_timeout", options.get("heartbeat_timeout")),
            )
        },
    }


def _make_child_task_spec(
    template: str | TypedTemplate[Any, Any],
    context: JsonObject | None,
    *,
    detached: bool,
    retry_child: bool,
) -> ChildTaskSpec:
    name = template if isinstance(template, str) else template.template.full_name
    return ChildTaskSpec(
        template=name, context=context or {}, detached=detached, retry_child=retry_child
    )


def _steps_read_by_condition(condition: str | None) -> list[str]:
    """Return the steps whose results a condition reads; none if the condition is invalid."""
    if condition is None:
        return []
    try:
        paths = compile_expression(condition).paths
    except InvalidExpression:  # the template's check reports it with the step
        return []
    return [str(path.keys[1]) for path in paths if path.keys[0] == "results" and path.keys[1:]]


def _parse_trigger(name: str) -> TriggerRule:
    try:
        return TriggerRule(name)
    except ValueError:
        raise InvalidInput(
            f"unknown trigger {name!r}{suggest_allowed(name, map(str, TriggerRule))}",
            path="$.trigger",
        ) from None


def _parse_duration(
    value: Duration | None, name: str, function: Callable[..., Any] | None = None
) -> timedelta | None:
    """Return a duration. Raises InvalidTemplate with the function's location."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise _invalid_template_error(f"{name} {error}", name, function) from None


def _parse_retry(retry: object, function: Callable[..., Any] | None = None) -> Retry:
    """Return a retry policy. Raises InvalidTemplate with the function's location."""
    if retry is None:
        return Retry()
    if isinstance(retry, Retry):
        return retry
    example = f"max_attempts={retry}" if isinstance(retry, int) else "max_attempts=3"
    message = f"retry must be a Retry such as Retry({example}), not {retry!r:.100}"
    raise _invalid_template_error(message, "retry", function)


def _invalid_template_error(
    message: str, path: str, function: Callable[..., Any] | None
) -> InvalidTemplate:
    step = getattr(function, "__name__", "")
    problem = DocumentProblem(message, path=f"{step}.{path}" if step else path)
    return InvalidTemplate(_DeclaredStep(StepSpec(name=step), function).locate_problem(problem))


def _instance_spec_fields(
    collect: str, reduce: str | None, policy: str, most: int | str | None
) -> dict[str, Any]:
    """Return the fields of a step spec that concern its instances. Raises InvalidTemplate."""
    share = None
    if isinstance(most, str):
        try:
            share, most = float(most.removesuffix("%")), None
        except ValueError:
            message = (
                f"max_failures must be a number or a percentage such as '5%', not {most!r:.100}"
            )
            raise _invalid_template_error(message, "max_failures", None) from None
    failure = InstanceFailureHandling(
        policy=InstanceFailurePolicy(policy), max_failures=most, max_failed_percent=share
    )
    return {"collect": CollectMode(collect), "reduce": reduce, "on_failure": failure}


def _make_repeat(until: Expression, every: Duration, most: int) -> Repeat:
    """Return a loop. Raises InvalidTemplate."""
    pause = _parse_duration(every, "every") or timedelta(0)
    return Repeat(until=to_expression_text(until, "until") or "", every=pause, max=most)


def _steps_read_by_spawning(spawning: Spawning) -> Iterator[str]:
    """Yield the steps whose results are read by the expression of a step with instances."""
    match spawning:
        case Map(over=text) | Batch(total=text) | Repeat(until=text):
            yield from _steps_read_by_condition(text)


def _make_input_schema(given: Any, name: str) -> JsonObject:
    if isinstance(given, Mapping):
        return given
    try:
        return TypeAdapter(given).json_schema(mode="validation")
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        reason = str(error).split("\n", 1)[0]
        raise Misuse(f"the input of {name!r} has no JSON Schema: {reason}") from error


def _make_result_schema(annotation: Any) -> JsonObject | None:
    """Return the serialization schema of a model, dataclass or typed dict; None for other types."""
    model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    typed_dict = hasattr(annotation, "__required_keys__")
    if not (model or typed_dict or is_dataclass(annotation)):
        return None
    by_alias = bool(getattr(annotation, "model_config", {}).get("serialize_by_alias"))
    try:
        return TypeAdapter(annotation).json_schema(mode="serialization", by_alias=by_alias)
    except (PydanticUserError, PydanticInvalidForJsonSchema):
        return None

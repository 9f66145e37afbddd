"""Templates written in Python: functions are the steps, and their parameters the edges."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack, cast, overload

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic_core import PydanticSerializationError

from tasker import versions
from tasker.durations import Duration, parse_duration
from tasker.errors import InvalidExpression, InvalidInput, InvalidTemplate, Misuse, Problem
from tasker.graph import Graph
from tasker.handlers.decorators import Result
from tasker.handlers.schemas import find_disagreement, schema_of
from tasker.handlers.signature import read_parameters, return_annotation
from tasker.model import (
    DEFAULT_PRIORITY,
    ApprovalSpec,
    AwaitedSignal,
    Batch,
    ChildTask,
    Collect,
    Durability,
    EventSpec,
    FailurePolicy,
    HttpCall,
    JsonObject,
    Limit,
    Map,
    OnFailure,
    Repeat,
    Retry,
    Schedule,
    Spawning,
    StepSpec,
    StepType,
    Template,
    TimeoutAction,
    Trigger,
    Wait,
)
from tasker.suggest import suggest_allowed
from tasker.template.expression_building import BuiltExpression, Expression, expression_text
from tasker.template.expressions import compile_expression
from tasker.template.load import check_template
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
"""Trigger rules: see `Trigger`."""

After: TypeAlias = str | Callable[..., Any] | Iterable[str | Callable[..., Any]]
"""Steps to wait for, each given by its name or its function."""

_STEP = re.compile(r"steps\[(\d+)\]")


class StepOptions(TypedDict, total=False):
    """Options of a step: those of `Workflow.step`."""

    name: str | None
    description: str
    after: After
    retry: Retry | None
    timeout: Duration | None
    config: JsonObject | None
    when: Expression | None
    trigger: TriggerName
    allow_failure: bool


class Workflow(TypedTemplate[In, Out]):
    """A template under construction, and the functions of its steps.

    A parameter with the name of an existing step, or marked `Result("step")`, makes the new step
    depend on that step. The functions are not changed.

    `In` is the type of a task's input and `Out` the type of its result, as declared by `input` and
    `result`: `client.run(workflow, ...)` takes the former and returns the latter.
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
    ) -> None:
        """Create a workflow without steps.

        Args:
            name: `namespace.name`, or a name alone in the namespace "default".
            version: Three numbers, such as "2.1.0".
            description: For people.
            input: A pydantic model, dataclass, typed dict or JSON Schema that a task's
                context must match; None: any object.
            result: What a task's result is read as: the result of its only last step, which
                must return what this type accepts, or the results of its last steps by name;
                None: the unconverted JSON value.
            deadline: Time limit of a task, as seconds, a timedelta or `"1h"`; None: no limit.
            metadata: Anything worth keeping with the template.
            serves: Range of versions, as "^2.0": this code also runs the steps of tasks of
                earlier versions in it, unless a worker has their own code; "": none.
            priority: Priority of its tasks, from 0 to 4 (most urgent), unless they are created
                with another priority or by a step of another task.
            limits: Limits of the steps that declare none of their own, two at most.
            durability: "relaxed": settlements that end no task are not awaited to be durable
                on PostgreSQL; see "Durability" in docs/templates.md.
            schedules: When tasks are created, while this is the workflow's latest version.

        Raises:
            InvalidInput: `serves` is neither a version nor a range.
            Misuse: `input` has no JSON Schema.
        """
        namespace, _, plain = name.rpartition(".")
        self._head = Template(
            namespace=namespace or "default",
            name=plain,
            version=version,
            description=description,
            steps=(),
            input_schema=None if input is None else _input_schema(input, name),
            deadline=_parse_duration(deadline, "deadline"),
            priority=priority,
            limits=tuple(limits),
            durability=Durability(durability),
            schedules=tuple(schedules),
            metadata=metadata or {},
        )
        self._input: Any = None if isinstance(input, Mapping) else input
        self._result = result
        self._serves = versions.canonical(serves) if serves else ""
        self._steps: dict[str, _DeclaredStep] = {}
        self._template: Template | None = None

    @overload
    def step(self, function: Function, /) -> Function: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str = "",
        after: After = (),
        retry: Retry | None = None,
        timeout: Duration | None = None,
        config: JsonObject | None = None,
        events: Iterable[EventSpec | str] = (),
        when: Expression | None = None,
        trigger: TriggerName = "all_success",
        allow_failure: bool = False,
        limits: Iterable[Limit] | None = None,
    ) -> Callable[[Function], Function]: ...

    def step(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        description: str = "",
        after: After = (),
        retry: Retry | None = None,
        timeout: Duration | None = None,
        config: JsonObject | None = None,
        events: Iterable[EventSpec | str] = (),
        when: Expression | None = None,
        trigger: TriggerName = "all_success",
        allow_failure: bool = False,
        limits: Iterable[Limit] | None = None,
    ) -> Any:  # see the overloads for types
        """Make a function a step, bare or with options; the function is returned unchanged.

        Only a worker whose code has the workflow's version, or is declared to serve it, runs the
        step.

        Args:
            function: The function, sync or async.
            name: The step's name; None: the function's.
            description: For people.
            after: Dependencies besides those named by parameters, each by its
                name or function.
            retry: Retry policy; None: the defaults.
            timeout: Time limit of one attempt, as seconds, a timedelta or `"5m"`; None: the
                worker's `attempt_timeout`.
            config: Values of parameters marked `Config("key")`.
            events: Domain events that it publishes; a name alone is published on success, with
                the result.
            when: Condition as text, or built from the workflow's `input` and `results`; if it is
                false, the step is skipped. None: it always runs.
            trigger: When it runs by the outcomes of its dependencies; see docs/branches.md.
            allow_failure: Whether the steps that depend on it run, and the task continues, if it
                fails for good.
            limits: Limits that it is under, two at most; None: those of the workflow.

        Raises:
            InvalidInput: `when` or `trigger` is invalid.
            InvalidTemplate: A step with that name exists.
            Misuse: The function has a parameter that no step can fill.
        """

        condition = expression_text(when, "when")

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            step = name or str(getattr(function, "__name__", ""))
            waits = dict.fromkeys(
                (
                    *self._steps_in_parameters(function, step),
                    *self._step_names(after),
                    *_results_in(condition),
                )
            )
            spec = StepSpec(
                name=step,
                description=description,
                callable=f"{self._head.namespace}.{self._head.name}.{step}",
                handler_version=self._head.version,
                config=config or {},
                dependencies=tuple(waits),
                retry=_parse_retry(retry, function),
                timeout=_parse_duration(timeout, "timeout", function),
                result_schema=_result_schema(return_annotation(function)),
                events=_event_specs(events),
                when=condition,
                trigger=_parse_trigger(trigger),
                allow_failure=allow_failure,
                limits=None if limits is None else tuple(limits),
            )
            self._add_spec(spec, function)
            return function

        return decorate if function is None else decorate(function)

    @overload
    def decision(self, function: Function, /) -> Function: ...

    @overload
    def decision(
        self, function: None = None, /, **step: Unpack[StepOptions]
    ) -> Callable[[Function], Function]: ...

    def decision(self, function: Any = None, /, **step: Unpack[StepOptions]) -> Any:
        """Make a function a step that chooses which of the steps that depend on it run.

        The function returns `Decision.choose("step", ...)` or `Decision.none(reason)`. Steps that
        it does not choose are skipped.

        Args:
            function: The function, sync or async.
            step: Options of `step`.

        Raises:
            InvalidInput: `when` or `trigger` is invalid.
            InvalidTemplate: A step with that name exists.
            Misuse: The function has a parameter that no step can fill.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self.step(**step)(function)
            _, declared = self._steps.popitem()
            self._add_spec(replace(declared.spec, type=StepType.DECISION), function)
            return function

        return decorate if function is None else decorate(function)

    @property
    def input(self) -> BuiltExpression:
        """The task's context in a condition: `flow.input.amount > 500`."""
        return BuiltExpression.path("input")

    @property
    def results(self) -> BuiltExpression:
        """The results of steps in a condition: `flow.results.quote.cents > 500`."""
        return BuiltExpression.path("results")

    def map(
        self,
        *,
        over: str | Callable[..., Any],
        collect: Literal["list", "none"] = "list",
        reduce: str | None = None,
        on_failure: Literal["fail", "continue", "fail_fast"] = "fail",
        max_failures: int | str | None = None,
        max_concurrency: int | None = None,
        **step: Unpack[StepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that runs once for each element of a list.

        A parameter marked `Item[T]` gets the element. A later step gets the list of the results, or
        reads them one by one as `Instances[T]`.

        Args:
            over: An expression for the list, such as `results.list_files.files`, or the function
                of the step that returns it.
            collect: "list": the result is the list of the results, up to 1,000 or 1 MiB, and
                otherwise their counts; "none": the counts.
            reduce: Name of the handler that makes the result of the results.
            on_failure: "fail": the other instances run, then the task fails; "continue": the step
                succeeds; "fail_fast": instances that have not started are cancelled.
            max_failures: With "continue", the number of failures, or a share such as "5%", up to
                which the step succeeds; None: any.
            max_concurrency: The most instances in progress at once; None: no limit.
            step: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or an expression is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        text = over if isinstance(over, str) else f"results.{self._step_name(over)}"
        options = _instance_options(collect, reduce, on_failure, max_failures)
        return self._spawning_step(Map(over=text, max_concurrency=max_concurrency), options, step)

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
        **step: Unpack[StepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that runs once for each range of numbers from 0 to `total`.

        Its range is `context.cursor`, or a parameter `cursor: Cursor`.

        Args:
            total: The number after the last one, or an expression for it.
            size: How many numbers an instance gets.
            max_instances: The most instances; with more than that, `size` is raised.
            collect: As in `map`.
            reduce: As in `map`.
            on_failure: As in `map`.
            max_failures: As in `map`.
            step: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or an expression is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        options = _instance_options(collect, reduce, on_failure, max_failures)
        kind = Batch(total=str(total), size=size, max_instances=max_instances)
        return self._spawning_step(kind, options, step)

    def repeat(
        self,
        *,
        until: str,
        max: int,  # noqa: A002 - as templates write it
        every: Duration = 0,
        **step: Unpack[StepOptions],
    ) -> Callable[[Function], Function]:
        """Make a function a step that runs again and again until a condition holds.

        The result of the step is that of its last iteration.

        Args:
            until: The condition, evaluated after each iteration: `results.NAME`, with the step's
                name, is the result of the function, and `iteration` counts from 0.
            max: The most iterations; if the condition does not hold after them, the step fails.
            every: Time from the end of an iteration to the start of the next.
            step: Options of `step`.

        Raises:
            InvalidTemplate: A step with that name exists, or the condition is invalid.
            Misuse: The function has a parameter that no step can fill.
        """
        pause = _parse_duration(every, "every") or timedelta(0)
        return self._spawning_step(Repeat(until=until, every=pause, max=max), {}, step)

    def _spawning_step(
        self, spawning: Spawning, options: Mapping[str, Any], step: StepOptions
    ) -> Callable[[Function], Function]:
        """Return a decorator that makes a function a step with instances."""

        def decorate(function: Function) -> Function:
            self.step(**step)(function)
            name, declared = self._steps.popitem()
            waits = (*declared.spec.dependencies, *_steps_read(spawning, name))
            spec = replace(
                declared.spec,
                dependencies=tuple(dict.fromkeys(waits)),
                spawning=spawning,
                **options,
            )
            self._add_spec(spec, function)
            return function

        return decorate

    def add(
        self,
        name: str,
        *,
        callable: str | None = None,  # noqa: A002 - as templates write it
        method: str | None = None,
        version: str = "",
        description: str = "",
        after: After = (),
        retry: Retry | None = None,
        timeout: Duration | None = None,
        config: JsonObject | None = None,
        result_schema: JsonObject | None = None,
        http: HttpCall | None = None,
        events: Iterable[EventSpec | str] = (),
        when: Expression | None = None,
        trigger: TriggerName = "all_success",
        allow_failure: bool = False,
        limits: Iterable[Limit] | None = None,
    ) -> None:
        """Add a step whose handler lives elsewhere, or a step that sends an HTTP request.

        Args:
            name: The step's name.
            callable: The handler's name; None: the name of the step.
            method: The method to call if the handler is a class; None: `call`.
            version: The version or range of versions that its code must have; "": any.
            result_schema: JSON Schema of the result.
            http: The request that it sends instead of running a handler.

        The other arguments are those of `step`.

        Raises:
            InvalidInput: `version` is neither a version nor a range.
            InvalidTemplate: A step with that name exists.
        """
        self._add_spec(
            StepSpec(
                name=name,
                description=description,
                callable=callable and callable.removeprefix("::").replace("::", "."),
                method=method,
                handler_version=versions.canonical(version) if version else "",
                config=config or {},
                dependencies=self._step_names(after),
                retry=_parse_retry(retry),
                timeout=_parse_duration(timeout, "timeout"),
                result_schema=result_schema,
                http=http,
                events=_event_specs(events),
                when=expression_text(when, "when"),
                trigger=_parse_trigger(trigger),
                allow_failure=allow_failure,
                limits=None if limits is None else tuple(limits),
            ),
            None,
        )

    def wait(
        self,
        name: str,
        *,
        delay: Duration | None = None,
        until: str | None = None,
        signal: str | None = None,
        key: str | None = None,
        any_of: Iterable[AwaitedSignal | str] = (),
        timeout: Duration | None = None,
        on_timeout: TimeoutAction | Literal["fail", "skip", "continue"] = TimeoutAction.FAIL,
        description: str = "",
        after: After = (),
    ) -> None:
        """Add a step that waits without a worker, for a time or for signals.

        Args:
            name: The step's name.
            delay: The time to wait.
            until: Expression for the end of the wait, an instant in ISO 8601.
            signal: The signal to wait for; the result of the step is its payload.
            key: Expression for the key of a broadcast that ends the wait for `signal` as well.
            any_of: Several signals; the result of the step says which of them arrived first.
            timeout: Time limit of a wait for signals; None: no limit.
            on_timeout: After the timeout: "fail", "skip", or "continue" with the result None.
            description: A description for people.
            after: The steps that it depends on.

        Raises:
            InvalidTemplate: A step with that name exists, or the wait is invalid.
        """
        signals = [AwaitedSignal(each) if isinstance(each, str) else each for each in any_of]
        if signal is not None:
            signals.append(AwaitedSignal(signal, key))
        wait = Wait(
            delay=_parse_duration(delay, "delay"),
            until=until,
            signals=tuple(signals),
            any_of=bool(any_of),
            timeout=_parse_duration(timeout, "timeout"),
            on_timeout=TimeoutAction(on_timeout),
        )
        dependencies = self._step_names(after)
        self._add_spec(
            StepSpec(name=name, description=description, dependencies=dependencies, wait=wait), None
        )

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
        description: str = "",
        after: After = (),
    ) -> None:
        """Add a step that waits for the decision of a person.

        Its result has the filled-in `form`, `decided_by` and `decided_at`.

        Args:
            name: The step's name.
            assignees: Who may decide: `user:NAME` and `role:NAME`, with placeholders such as
                `"user:{input.manager}"`; none: everybody who may decide approvals.
            form: JSON Schema of the decision; None: `approved`, a boolean, and a `comment`.
            timeout: Maximum wait; None: no limit.
            on_timeout: After the timeout: "fail", "skip", or "continue" with the result None.
            escalate_after: Time after which `escalate_to` may decide too.
            escalate_to: Further assignees.
            reject_when: Condition over `form` under which the step fails; None: `not
                form.approved` for the default form, else never.
            description: A description for people.
            after: The steps that it depends on.

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
        dependencies = self._step_names(after)
        self._add_spec(
            StepSpec(
                name=name, description=description, dependencies=dependencies, approval=approval
            ),
            None,
        )

    def task(
        self,
        name: str,
        template: str | TypedTemplate[Any, Any],
        context: JsonObject | None = None,
        *,
        detached: bool = False,
        retry_child: bool = False,
        retry: Retry | None = None,
        description: str = "",
        after: After = (),
    ) -> None:
        """Add a step that runs a task, and has its result.

        Args:
            name: The step's name.
            template: The template's name, as `"payments.refund@^2"`, or a workflow.
            context: The task's inputs; texts may have placeholders such as `"{input.order_id}"`.
            detached: Whether the task goes on when the task of the step is cancelled.
            retry_child: Whether the failed steps of the task are retried, as often as `retry`
                allows attempts.
            retry: The retry policy of the step.
            description: A description for people.
            after: The steps that it depends on.

        Raises:
            InvalidTemplate: A step with that name exists.
        """
        full_name = template if isinstance(template, str) else template.template.full_name
        child = ChildTask(
            template=full_name, context=context or {}, detached=detached, retry_child=retry_child
        )
        self._add_spec(
            StepSpec(
                name=name,
                description=description,
                dependencies=self._step_names(after),
                retry=_parse_retry(retry),
                task=child,
            ),
            None,
        )

    @property
    def template(self) -> Template:
        """The complete template.

        Raises:
            InvalidTemplate: Has all problems, with the functions concerned.
        """
        if self._template is None:
            made = replace(self._head, steps=tuple(step.spec for step in self._steps.values()))
            try:
                template = check_template(made)
            except InvalidTemplate as error:
                raise InvalidTemplate(*map(self._with_location, error.problems)) from None
            self._check_result(template)
            self._template = template
        return self._template

    def _check_result(self, template: Template) -> None:
        """Raise InvalidTemplate if the only last step returns another type than `result`."""
        sinks = Graph(template).sinks
        if self._result is None or len(sinks) != 1:
            return
        last = self._steps[Graph(template).names[sinks[0] - 1]]
        if last.function is None or last.spec.spawning is not None:
            return
        difference = find_disagreement(
            schema_of(return_annotation(last.function), "serialization"),
            schema_of(self._result, "validation"),
        )
        if difference is None:
            return
        message = (
            f"the return type of the last step does not match the workflow's result: {difference}"
        )
        raise InvalidTemplate(last.with_location(Problem(message, path=last.spec.name)))

    def context_of(self, input: In) -> Mapping[str, Any]:  # noqa: A002 - it is a task's input
        """Return the context of a task with this input.

        Raises:
            InvalidInput: It is neither a mapping nor of the type that `input` declares.
        """
        if isinstance(input, Mapping):
            return input
        name, kind = self._head.full_name, type(input).__name__
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

    def read_result(self, value: Any) -> Out:
        """Return the result of a task in the type that `result` declares.

        Raises:
            pydantic.ValidationError: The result does not have that type.
        """
        if self._result is None:
            return cast(Out, value)
        return TypeAdapter(self._result).validate_python(value)

    @property
    def version(self) -> str:
        """Its version, which is that of its steps' code."""
        return self._head.version

    @property
    def serves(self) -> str:
        """Range of earlier versions whose steps its code also runs; "": none."""
        return self._serves

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Handler name -> function; `Handlers.of(workflow)` takes them from here."""
        return MappingProxyType(
            {
                step.spec.handler: step.function
                for step in self._steps.values()
                if step.function is not None
            }
        )

    def _steps_in_parameters(self, function: Callable[..., Any], step: str) -> list[str]:
        """Return the steps whose results are parameters, except the step itself."""
        names = []
        for parameter in read_parameters(function, what=f"step {step!r}"):
            if isinstance(parameter.source, Result):
                names.append(parameter.source.step)
            elif parameter.source is None and not parameter.takes_context:
                names += [parameter.name] if parameter.name in self._steps else []
        return names

    def _step_names(self, after: After) -> tuple[str, ...]:
        """Return the names of steps that are given by name or function."""
        given = [after] if isinstance(after, str) or callable(after) else after
        return tuple(dict.fromkeys(self._step_name(each) for each in given))

    def _step_name(self, given: str | Callable[..., Any]) -> str:
        if isinstance(given, str):
            return given
        for name, step in self._steps.items():
            if step.function is given:
                return name
        shown = getattr(given, "__name__", given)
        raise Misuse(f"after={shown}: this function is not a step of {self._head.name!r} yet")

    def _add_spec(self, spec: StepSpec, function: Callable[..., Any] | None) -> None:
        step = _DeclaredStep(spec, function)
        if spec.name in self._steps:
            raise InvalidTemplate(
                step.with_location(Problem(f"the step {spec.name!r} is duplicated", path=spec.name))
            )
        self._steps[spec.name] = step
        self._template = None

    def _with_location(self, problem: Problem) -> Problem:
        """Return a problem with the place of the function that it is about."""
        match = _STEP.match(problem.path)
        if match is None:
            return replace(problem, file=problem.file or self._head.full_name)
        return list(self._steps.values())[int(match[1])].with_location(problem)


@dataclass(frozen=True, slots=True)
class _DeclaredStep:
    """A step, and its function if known."""

    spec: StepSpec
    function: Callable[..., Any] | None

    def with_location(self, problem: Problem) -> Problem:
        code = getattr(self.function, "__code__", None)
        if code is None:
            return problem
        return replace(problem, file=code.co_filename, line=code.co_firstlineno)


def _results_in(condition: str | None) -> list[str]:
    """Return the steps whose results a condition reads; none of one that is invalid."""
    if condition is None:
        return []
    try:
        paths = compile_expression(condition).paths
    except InvalidExpression:  # the template's check reports it with the step
        return []
    return [str(path.keys[1]) for path in paths if path.keys[0] == "results" and path.keys[1:]]


def _parse_trigger(name: str) -> Trigger:
    try:
        return Trigger(name)
    except ValueError:
        raise InvalidInput(
            f"unknown trigger {name!r}{suggest_allowed(name, map(str, Trigger))}", path="$.trigger"
        ) from None


def _parse_duration(
    value: Duration | None, name: str, function: Callable[..., Any] | None = None
) -> timedelta | None:
    """Return a duration. Raises InvalidTemplate, with the place of the function."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise _invalid_template(f"{name} {error}", name, function) from None


def _event_specs(events: Iterable[EventSpec | str]) -> tuple[EventSpec, ...]:
    return tuple(EventSpec(event) if isinstance(event, str) else event for event in events)


def _parse_retry(retry: object, function: Callable[..., Any] | None = None) -> Retry:
    """Return a retry policy. Raises InvalidTemplate, with the place of the function."""
    if retry is None:
        return Retry()
    if isinstance(retry, Retry):
        return retry
    example = f"max_attempts={retry}" if isinstance(retry, int) else "max_attempts=3"
    message = f"retry must be a Retry such as Retry({example}), not {retry!r:.100}"
    raise _invalid_template(message, "retry", function)


def _invalid_template(
    message: str, path: str, function: Callable[..., Any] | None
) -> InvalidTemplate:
    step = getattr(function, "__name__", "")
    problem = Problem(message, path=f"{step}.{path}" if step else path)
    return InvalidTemplate(_DeclaredStep(StepSpec(name=step), function).with_location(problem))


def _instance_options(
    collect: str, reduce: str | None, policy: str, most: int | str | None
) -> dict[str, Any]:
    """Return the fields of a step spec that concern its instances. Raises InvalidTemplate."""
    share = None
    if isinstance(most, str):
        try:
            share, most = float(most.removesuffix("%")), None
        except ValueError:
            message = f"max_failures must be a number or a share such as '5%', not {most!r:.100}"
            raise _invalid_template(message, "max_failures", None) from None
    failure = OnFailure(policy=FailurePolicy(policy), max_failures=most, max_failed_percent=share)
    return {"collect": Collect(collect), "reduce": reduce, "on_failure": failure}


def _steps_read(spawning: Spawning, name: str) -> Iterator[str]:
    """Yield the steps whose results the expression of a step with instances reads."""
    match spawning:
        case Map(over=text) | Batch(total=text) | Repeat(until=text):
            with suppress(InvalidExpression):  # reported when the template is checked
                for path in compile_expression(text).paths:
                    if path.keys[0] == "results" and len(path.keys) > 1 and path.keys[1] != name:
                        yield str(path.keys[1])


def _input_schema(given: Any, name: str) -> JsonObject:
    if isinstance(given, Mapping):
        return given
    try:
        return TypeAdapter(given).json_schema(mode="validation")
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        reason = str(error).split("\n", 1)[0]
        raise Misuse(f"the input of {name!r} has no JSON Schema: {reason}") from error


def _result_schema(annotation: Any) -> JsonObject | None:
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

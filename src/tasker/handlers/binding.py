"""Compiles the call of a handler for a step once, to be used by every attempt."""

import inspect
import pickle
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasker.codec import dumps, loads
from tasker.errors import Misuse, PermanentError
from tasker.handlers.attempt import LiveAttempt, StepProperties, UpstreamSteps
from tasker.handlers.context import AsyncContext, SyncContext, object_or_empty
from tasker.handlers.decorators import Config, Input, Result
from tasker.handlers.external import wrap_external_call
from tasker.handlers.instances import (
    NO_SURROUNDINGS,
    EnclosingInstances,
    Instances,
    ItemMarker,
    JoinedStep,
)
from tasker.handlers.signature import Parameter, Validate
from tasker.handlers.target import Handler
from tasker.model import Json, JsonText, StepSpec, TemplateName
from tasker.suggest import did_you_mean
from tasker.validation import describe_validation_error

_MISSING: Any = inspect.Parameter.empty


class CallPlan:
    """A compiled call of one handler for one step.

    `call(attempt)` fills the handler's parameters and calls it. It returns the step's result, or an
    awaitable of it if `is_async`. Both the call and the awaitable raise the handler's exceptions,
    and PermanentError if a parameter cannot be filled (`MISSING_INPUT`, `INVALID_RESULT`, ...).
    """

    def __init__(self, handler: Handler, facts: StepProperties) -> None:
        """Compile the plan.

        Raises:
            Misuse: The handler's signature has a parameter that no step can fill.
        """
        self.handler = handler
        self.facts = facts
        try:
            self.arguments = tuple(
                bind_parameter(parameter, facts.upstream, handler=handler, around=facts.around)
                for parameter in handler.parameters(facts.spec.method)
            )
        except Misuse as error:
            raise Misuse(f"step {facts.spec.name!r} of {facts.template}: {error}") from error
        self.needs: int = self._needed_steps_bitmask()
        """Mask of the steps whose results the handler reads and the engine must fetch."""

        self.is_async: bool = not facts.blocking
        self.in_process: bool = handler.process
        self.call: Callable[[LiveAttempt], Any] = _make_call_function(
            handler.entry_point(facts.spec.method), facts, self.arguments
        )
        if facts.spec.external is not None:
            self.call = wrap_external_call(self.call, facts, in_process=handler.process)

    def __repr__(self) -> str:
        return f"<Plan {self.facts.template} {self.facts.spec.name}: {self.handler.name}>"

    def _needed_steps_bitmask(self) -> int:
        if any(argument.origin == "context" for argument in self.arguments):
            return self.facts.upstream.ancestor_bitmask
        needed = 0
        for argument in self.arguments:
            if argument.origin == "result":
                needed |= 1 << argument.key
            elif argument.origin == "instances":
                needed |= 1 << argument.key.join
        return needed

    @cached_property
    def pickled_plan(self) -> bytes:
        """The plan in a form for a child process; see `tasker.handlers.subprocess`.

        Raises:
            Misuse: Another process could not import the handler.
        """
        spec = self.facts.spec
        before = {name: no for name, no in self.facts.upstream.items() if self.needs >> no & 1}
        return pickle.dumps(
            (
                self.handler.import_reference,
                self.handler.name,
                self.facts.template,
                (spec.name, spec.method, spec.retry),
                before,
                self.facts.config,
                self.facts.around,
            )
        )


def compile_call_plan(
    handler: Handler,
    spec: StepSpec,
    *,
    upstream: UpstreamSteps,
    template: TemplateName,
    around: EnclosingInstances = NO_SURROUNDINGS,
) -> CallPlan:
    """Compile the call of `handler` for the step `spec` of `template`.

    Args:
        handler: A handler from `Handlers.find_handler`.
        spec: The step, including the overrides of the environment.
        upstream: The step's ancestors.
        template: The template's name, for contexts and error messages.
        around: The instances around the step and before it.

    Raises:
        Misuse: The handler's signature has a parameter that no step can fill.
    """
    config = dumps(spec.config, what=f"config of step {spec.name!r}")
    return compile_call_plan_with_config(handler, spec, upstream, template, config, around)


def compile_call_plan_with_config(
    handler: Handler,
    spec: StepSpec,
    upstream: UpstreamSteps,
    template: TemplateName,
    config: JsonText,
    around: EnclosingInstances = NO_SURROUNDINGS,
) -> CallPlan:
    """Compile a plan whose configuration is already JSON text."""
    blocking = not handler.is_async(spec.method)
    facts = StepProperties(template, spec, upstream, config, handler.module, blocking, around)
    return CallPlan(handler, facts)


# ------------------------------------------------------------------ binding parameters


class ParameterSource(NamedTuple):
    """The source of a parameter of a step's handler."""

    parameter: Parameter
    origin: str  #: context, input, result, config, item or instances
    key: Any
    """For a result, the step's number; for instances, a `JoinedStep`; otherwise a key, or None for
    the whole input."""

    label: str  #: the key or step, for error messages


def bind_parameter(
    parameter: Parameter,
    upstream: UpstreamSteps,
    *,
    handler: Handler,
    around: EnclosingInstances = NO_SURROUNDINGS,
) -> ParameterSource:
    """Return the source of a parameter of `handler` in a step with the ancestors `upstream`.

    Raises:
        Misuse: The parameter names a step that is not an ancestor, or asks for an item or
            instances where there are none.
    """
    if parameter.element is not None:
        return _bind_instances_parameter(parameter, handler, around)
    match parameter.source:
        case Result(step):
            if step not in upstream:
                raise Misuse(
                    f'{handler}: parameter {parameter.name!r} asks for Result("{step}"), but that'
                    f" step is not an ancestor of this one{did_you_mean(step, upstream)}"
                )
            return ParameterSource(parameter, "result", upstream[step], step)
        case Input(key):
            return ParameterSource(parameter, "input", key, key or "")
        case Config(key):
            return ParameterSource(parameter, "config", key, key)
        case ItemMarker():
            if not around.items:
                raise Misuse(
                    f"{handler}: parameter {parameter.name!r} is an Item, but the step is not part"
                    " of a map"
                )
            return ParameterSource(parameter, "item", around.items[0], around.items[0])
    if parameter.takes_context:
        return ParameterSource(parameter, "context", None, "")
    if parameter.name in around.items:
        return ParameterSource(parameter, "item", parameter.name, parameter.name)
    if parameter.name in upstream:
        return ParameterSource(parameter, "result", upstream[parameter.name], parameter.name)
    return ParameterSource(parameter, "input", parameter.name, parameter.name)


def _bind_instances_parameter(
    parameter: Parameter, handler: Handler, around: EnclosingInstances
) -> ParameterSource:
    source = parameter.source
    name = source.step if isinstance(source, Result) else parameter.name
    joined = around.joined.get(name)
    if joined is None:
        raise Misuse(
            f"{handler}: parameter {parameter.name!r} asks for the instances of {name!r}, but no"
            f" earlier step with that name has instances{did_you_mean(name, around.joined)}"
        )
    return ParameterSource(parameter, "instances", joined, name)


# ---------------------------------------------------------------------------- the call


def _make_call_function(
    entry: Callable[..., Any], facts: StepProperties, arguments: Collection[ParameterSource]
) -> Callable[[LiveAttempt], Any]:
    """Return the fastest call function for these arguments."""
    if not arguments:
        return lambda attempt: entry()
    if [argument.origin for argument in arguments] == ["context"]:
        name = next(argument.parameter.name for argument in arguments)
        context = _select_context_class(facts)
        return lambda attempt: entry(**{name: context(facts, attempt)})
    fill = _make_argument_filler(facts, arguments)
    return lambda attempt: entry(**fill(attempt))


def _select_context_class(facts: StepProperties) -> type[AsyncContext | SyncContext]:
    return SyncContext if facts.blocking else AsyncContext


class _KeyedParameter(NamedTuple):
    """A parameter that is filled by key, as a flat tuple for speed."""

    name: str
    key: Any
    validate: Validate | None
    default: Any
    argument: ParameterSource


def _make_argument_filler(
    facts: StepProperties, arguments: Collection[ParameterSource]
) -> Callable[[LiveAttempt], dict[str, Any]]:
    """Return the function that fills the parameters of one attempt."""

    def list_parameters_of_origin(origin: str) -> list[_KeyedParameter]:
        return [
            _KeyedParameter(
                arg.parameter.name, arg.key, arg.parameter.validate, arg.parameter.default, arg
            )
            for arg in arguments
            if arg.origin == origin
        ]

    context = _select_context_class(facts)
    contexts, inputs, results, config = (
        list_parameters_of_origin("context"),
        list_parameters_of_origin("input"),
        list_parameters_of_origin("result"),
        list_parameters_of_origin("config"),
    )
    items, instances = list_parameters_of_origin("item"), list_parameters_of_origin("instances")

    def fill_arguments(attempt: LiveAttempt) -> dict[str, Any]:
        filled: dict[str, Any] = {}
        for wanted in contexts:
            filled[wanted.name] = context(facts, attempt)
        if inputs:
            _fill_parameters_by_key(filled, inputs, loads(attempt.task.context), facts)
        if results:
            _fill_result_parameters(filled, results, attempt.results, facts)
        if config:
            _fill_parameters_by_key(filled, config, loads(facts.config), facts)
        if items:
            texts = attempt.instance.items if attempt.instance else {}
            values = {each.key: loads(texts[each.key]) for each in items if each.key in texts}
            _fill_parameters_by_key(filled, items, values, facts)
        for each in instances:
            filled[each.name] = make_instances_argument(attempt, each.key, each.validate)
        return filled

    return fill_arguments


def make_instances_argument(
    attempt: LiveAttempt, joined: JoinedStep, validate: Validate | None
) -> Instances[Any]:
    """Return the results of the instances of an earlier step."""
    services, text = attempt.services, attempt.results.get(joined.join)
    value, pages = (
        None if text is None else loads(text),
        partial(services.read_instance_results, attempt, joined),
    )
    return Instances(value, pages, services.run_coroutine_blocking, validate)


def _fill_parameters_by_key(
    filled: dict[str, Any], wanted: list[_KeyedParameter], given: Any, facts: StepProperties
) -> None:
    by_key = given if type(given) is dict else object_or_empty(given)
    for name, key, validate, default, argument in wanted:
        value = given if key is None else by_key.get(key, default)
        if value is _MISSING:
            raise _missing_argument_error(argument, by_key, facts)
        if validate is not None and value is not default:
            try:
                value = validate(value)
            except ValidationError as error:
                raise _invalid_argument_error(argument, error, facts) from None
        filled[name] = value


def _fill_result_parameters(
    filled: dict[str, Any],
    wanted: list[_KeyedParameter],
    given: Mapping[int, JsonText | None],
    facts: StepProperties,
) -> None:
    for name, no, validate, default, argument in wanted:
        text = given.get(no)
        if text is not None:
            value = loads(text)
        elif default is not _MISSING:
            filled[name] = default
            continue
        else:
            value = None
        if validate is not None:
            try:
                value = validate(value)
            except ValidationError as error:
                if text is None:
                    raise _missing_argument_error(argument, (), facts) from None
                raise _invalid_argument_error(argument, error, facts) from None
        filled[name] = value


# ------------------------------------------------------------------------------ errors


def _missing_argument_error(
    argument: ParameterSource, known: Iterable[str], facts: StepProperties
) -> PermanentError:
    name, label = argument.parameter.name, argument.label
    if argument.origin == "result":
        reason = f"step {label!r} has no result: it was skipped, or resolved without one"
    elif argument.origin == "config":
        reason = f"the step's configuration has no {label!r}{did_you_mean(label, known)}"
    elif argument.origin == "item":
        reason = f"this instance has no {label!r}"
    else:
        items = facts.around.items
        reason = f"the task's input has no {label!r}"
        if items:
            reason += f", and this instance has only the inputs {', '.join(items)}"
        reason += did_you_mean(label, (*known, *items))
    return PermanentError(
        f"parameter {name!r} of step {facts.spec.name!r} cannot be filled: {reason}",
        code=f"MISSING_{argument.origin.upper()}",
        details={"parameter": name, "source": argument.origin, "key": label or None},
    )


def _invalid_argument_error(
    argument: ParameterSource, error: ValidationError, facts: StepProperties
) -> PermanentError:
    name, label = argument.parameter.name, argument.label
    errors = error.errors(include_url=False, include_input=False)
    root = f"$.{label}" if label and argument.origin != "result" else "$"
    problems: list[Json] = [
        {"path": _format_json_path(root, each), "problem": describe_validation_error(each)}
        for each in errors
    ]
    source = {
        "input": "the task's input",
        "config": "the step's configuration",
        "item": "the item of this instance",
    }.get(argument.origin, f"the result of step {label!r}")
    shown = "; ".join(
        f"{_format_json_path(root, each)}: {describe_validation_error(each)}" for each in errors[:5]
    )
    more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
    return PermanentError(
        f"parameter {name!r} of step {facts.spec.name!r} does not accept {source}: {shown}{more}",
        code=f"INVALID_{argument.origin.upper()}",
        details={
            "parameter": name,
            "source": argument.origin,
            "key": label or None,
            "problems": problems,
        },
    )


def _format_json_path(root: str, problem: ErrorDetails) -> str:
    return root + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
    )

"""Checks that templates and handlers match, before anything runs."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from tasker.errors import DocumentProblem, Misuse
from tasker.graph import Graph
from tasker.handlers.attempt import UpstreamSteps
from tasker.handlers.binding import ParameterSource, bind_parameter
from tasker.handlers.decorators import normalize_handler_name
from tasker.handlers.instances import EnclosingInstances
from tasker.handlers.registry import Handlers
from tasker.handlers.schemas import Schema, find_schema_contradiction, json_schema_of_type
from tasker.handlers.target import Handler
from tasker.layout import COMPENSATION, steps_with_handlers
from tasker.model import StepSpec, Template
from tasker.suggest import closest_match, did_you_mean
from tasker.template.condition_checks import find_possibly_missing_results


def find_template_problems(
    template: Template, handlers: Handlers, served_elsewhere: Collection[str] = ()
) -> list[DocumentProblem]:
    """List the problems of running tasks of `template` with `handlers`.

    Every step must have a handler, and every parameter an existing source; results must come from
    ancestors, and the handlers' type hints must not contradict the schemas.

    Args:
        template: The template.
        handlers: The handlers.
        served_elsewhere: Names of handlers that other workers serve, such as `payments.*`; their
            steps need none of `handlers`.

    Returns:
        The problems in the order of the steps, or an empty list.
    """
    checking = _TemplateCheck(template, handlers, served_elsewhere)
    steps = steps_with_handlers(template.steps)
    return [problem for spec in steps for problem in checking.find_step_problems(spec)]


def derive_result_schemas(template: Template, handlers: Handlers) -> dict[str, Any]:
    """Return the JSON Schemas of results by step, according to the handlers' return types."""
    schemas = {}
    for spec in steps_with_handlers(template.steps):
        handler = handlers.find_handler(spec.handler, template.namespace, spec.handler_version)
        if handler is not None:
            with suppress(Misuse):  # reported by `find_template_problems`
                schema = json_schema_of_type(
                    handler.return_annotation(spec.method), "serialization"
                )
                schemas[spec.name] = schema or True
    return schemas


def find_undeclared_inputs(template: Template, handlers: Handlers) -> list[DocumentProblem]:
    """List the required parameters that are neither a step's result nor a declared input.

    The list is empty unless an `input_schema` declares the inputs.

    Raises:
        Misuse: A handler's parameters cannot be read, or ask for a step that is not an ancestor.
    """
    checking = _TemplateCheck(template, handlers)
    steps = steps_with_handlers(template.steps)
    return [problem for spec in steps for problem in checking.find_undeclared_inputs(spec)]


def find_inputs_named_like_steps(template: Template, handlers: Handlers) -> list[DocumentProblem]:
    """Return the parameters that are read from the input although a step has a similar name.

    Each is a warning. The list is empty if the template has an `input_schema`, which declares the
    inputs.
    """
    if (template.input_schema or {}).get("properties"):
        return []
    graph = Graph(template)
    names = [spec.name for spec in steps_with_handlers(template.steps)]
    problems = []
    for no, spec in enumerate(template.steps):
        handler = handlers.find_handler(spec.handler, template.namespace, spec.handler_version)
        for name in _inputs_required_by_handler(spec, handler, graph):
            similar = closest_match(name, [other for other in names if other != spec.name])
            if handler is not None and similar is not None and similar != name:
                message = (
                    f"step {spec.name!r}: parameter {name!r} is treated as an input of the task;"
                    f" did you mean step {similar!r}?"
                )
                problems.append(_build_handler_problem(handler, message, f"steps[{no}]"))
    return problems


def _inputs_required_by_handler(
    spec: StepSpec, handler: Handler | None, graph: Graph
) -> Iterator[str]:
    """Yield the names of the inputs that a step's handler requires."""
    if handler is None:
        return
    upstream = UpstreamSteps.for_step(graph, graph.numbers[spec.name])
    around = EnclosingInstances.for_step(graph, graph.numbers[spec.name])
    with suppress(Misuse):  # reported by `find_template_problems`
        for parameter in handler.parameters(spec.method):
            argument = bind_parameter(parameter, upstream, handler=handler, around=around)
            if argument.origin == "input" and argument.key and parameter.is_required:
                yield argument.key


def find_unused_handlers(
    templates: Iterable[Template], handlers: Handlers
) -> list[DocumentProblem]:
    """List the registered handlers that no step of `templates` uses; other functions may be
    helpers.
    """
    used = set()
    for template in templates:
        for spec in steps_with_handlers(template.steps):
            handler = handlers.find_handler(spec.handler, template.namespace, spec.handler_version)
            if handler is not None:
                used.add(id(handler.target))
    problems = []
    for handler in handlers:
        if id(handler.target) not in used:
            used.add(id(handler.target))  # only once, even if the handler has several names
            problems.append(
                _build_handler_problem(handler, f"no step uses the handler {handler.name!r}", "")
            )
    return problems


class _TemplateCheck:
    """The check of one template against the handlers."""

    def __init__(
        self, template: Template, handlers: Handlers, served_elsewhere: Collection[str] = ()
    ) -> None:
        self._template = template
        self._handlers = handlers
        self._served_elsewhere = [normalize_handler_name(name) for name in served_elsewhere]
        self._graph = Graph(template)
        self._places = dict(_iterate_step_paths(template.steps, "steps"))
        self._may_lack = find_possibly_missing_results(template)

    def find_step_problems(self, spec: StepSpec) -> Iterator[DocumentProblem]:
        """Return the problems of one step."""
        if spec.http is not None:
            return
        place, namespace = self._places[spec.name], self._template.namespace
        handler = self._handlers.find_handler(spec.handler, namespace, spec.handler_version)
        if handler is None:
            if any(fnmatchcase(spec.handler, name) for name in self._served_elsewhere):
                return
            error = self._handlers.not_found_error(spec.handler, namespace, spec.handler_version)
            yield DocumentProblem(message=f"step {spec.name!r}: {error}", path=place)
            return
        for message in self._find_parameter_problems(spec, handler):
            yield _build_handler_problem(handler, f"step {spec.name!r}: {message}", place)

    def find_undeclared_inputs(self, spec: StepSpec) -> Iterator[DocumentProblem]:
        """Return the problems of parameters of one step, if it has a handler."""
        handler = self._handlers.find_handler(
            spec.handler, self._template.namespace, spec.handler_version
        )
        if handler is None:
            return
        upstream = UpstreamSteps.for_step(self._graph, self._graph.numbers[spec.name])
        around = EnclosingInstances.for_step(self._graph, self._graph.numbers[spec.name])
        for parameter in handler.parameters(spec.method):
            argument = bind_parameter(parameter, upstream, handler=handler, around=around)
            message = self._find_undeclared_input(argument)
            if message is not None:
                message = f"step {spec.name!r}: parameter {parameter.name!r}: {message}"
                yield _build_handler_problem(handler, message, self._places[spec.name])

    def _find_parameter_problems(self, spec: StepSpec, handler: Handler) -> Iterator[str]:
        try:
            parameters = handler.parameters(spec.method)
            if handler.process:
                assert handler.import_reference  # noqa: S101 - asked for its Misuse
        except Misuse as error:
            yield str(error)
            return
        upstream = UpstreamSteps.for_step(self._graph, self._graph.numbers[spec.name])
        around = EnclosingInstances.for_step(self._graph, self._graph.numbers[spec.name])
        for parameter in parameters:
            try:
                argument = bind_parameter(parameter, upstream, handler=handler, around=around)
            except Misuse as error:
                yield str(error)
                continue
            message = self._find_argument_problem(spec, argument)
            if message is not None:
                yield f"parameter {parameter.name!r}: {message}"
        if spec.result_schema is not None:
            difference = find_schema_contradiction(
                json_schema_of_type(handler.return_annotation(spec.method), "serialization"),
                spec.result_schema,
            )
            if difference is not None:
                yield f"its return type does not match result_schema: {difference}"

    def _find_argument_problem(self, spec: StepSpec, argument: ParameterSource) -> str | None:
        match argument.origin:
            case "input":
                return self._find_input_problem(argument)
            case "config":
                return self._find_config_problem(spec, argument)
            case "result":
                return self._find_result_problem(argument) or self._find_unaccepted_none(
                    spec, argument
                )
        return None

    def _find_unaccepted_none(self, spec: StepSpec, argument: ParameterSource) -> str | None:
        """Return a message if a parameter does not accept None although its step may have no
        result."""
        step = self._graph.names[argument.key - 1]
        if step not in self._may_lack.get(spec.name, ()) or not argument.parameter.is_required:
            return None
        wanted = json_schema_of_type(argument.parameter.annotation, "validation")
        if find_schema_contradiction({"type": "null"}, wanted) is None:
            return None
        return (
            f"step {step!r} may be skipped or fail before this step runs: add '| None' to the type,"
            " or a default"
        )

    def _find_input_problem(self, argument: ParameterSource) -> str | None:
        schema = self._template.input_schema or {}
        wanted = json_schema_of_type(argument.parameter.annotation, "validation")
        if argument.key is None:
            return _describe_type_mismatch("the input", schema, wanted)
        declared = self._declared_inputs()
        if not declared:
            return self._not_an_ancestor_message(argument)
        if argument.key in declared:
            part = declared[argument.key]
            given = {**_schema_definitions(schema), **(part if isinstance(part, Mapping) else {})}
            return _describe_type_mismatch(f"input {argument.key!r}", given, wanted)
        return self._find_undeclared_input(argument)

    def _declared_inputs(self) -> Mapping[str, Any]:
        """Return the schemas of the inputs by name; empty if they are unknown."""
        declared = (self._template.input_schema or {}).get("properties")
        return declared if isinstance(declared, Mapping) else {}

    def _find_undeclared_input(self, argument: ParameterSource) -> str | None:
        """Return a message if a parameter asks for an input that the schema does not declare."""
        declared = self._declared_inputs()
        if argument.origin != "input" or not argument.key or not declared:
            return None
        if argument.key in declared or not argument.parameter.is_required:
            return None
        return self._not_an_ancestor_message(argument) or (
            f"input_schema declares no {argument.key!r}"
            + did_you_mean(argument.key, [*self._places, *declared])
        )

    def _not_an_ancestor_message(self, argument: ParameterSource) -> str | None:
        """Return an error message if a parameter has the name of a step that is not an ancestor."""
        if argument.parameter.source is None and argument.key in self._places:
            return f"step {argument.key!r} is not an ancestor; add it to the dependencies"
        return None

    def _find_config_problem(self, spec: StepSpec, argument: ParameterSource) -> str | None:
        overrides = [steps.get(spec.name) for steps in self._template.environments.values()]
        configs = [spec.config, *(each.config for each in overrides if each and each.config)]
        if not argument.parameter.is_required or any(argument.key in config for config in configs):
            return None
        return f"the step's configuration has no {argument.key!r}" + did_you_mean(
            argument.key, [key for config in configs for key in config]
        )

    def _find_result_problem(self, argument: ParameterSource) -> str | None:
        before = self._graph.specs[argument.key - 1]
        wanted = json_schema_of_type(argument.parameter.annotation, "validation")
        difference = _describe_type_mismatch(
            f"the result_schema of {before.name!r}", before.result_schema or {}, wanted
        )
        namespace = self._template.namespace
        maker = self._handlers.find_handler(before.handler, namespace, before.handler_version)
        if difference is not None or maker is None:
            return difference
        try:
            given = json_schema_of_type(maker.return_annotation(before.method), "serialization")
        except Misuse:  # reported with that step
            return None
        return _describe_type_mismatch(f"the return type of step {before.name!r}", given, wanted)


def _iterate_step_paths(steps: Sequence[StepSpec], path: str) -> Iterator[tuple[str, str]]:
    """Yield the names of steps with their places, including those whose handler is their body."""
    for no, spec in enumerate(steps):
        yield spec.name, f"{path}[{no}]"
        yield f"{spec.name}[]", f"{path}[{no}]"
        for undone in (spec.name, f"{spec.name}[]"):
            yield f"{undone}{COMPENSATION}", f"{path}[{no}].compensate"
        yield from _iterate_step_paths(spec.steps, f"{path}[{no}].steps")


def _describe_type_mismatch(what: str, given: Schema, wanted: Schema) -> str | None:
    difference = find_schema_contradiction(given, wanted)
    return f"its type does not match {what}: {difference}" if difference else None


def _schema_definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in ("$defs", "definitions") if key in schema}


def _build_handler_problem(handler: Handler, message: str, path: str) -> DocumentProblem:
    return DocumentProblem(
        message=message, path=path, file=str(handler.file or ""), line=handler.line
    )

"""Handlers of which some are replaced, or fail in their first attempts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasker.errors import HandlerNotFound, Misuse
from tasker.graph import Graph
from tasker.handlers import (
    CallPlan,
    Handler,
    Handlers,
    LiveAttempt,
    UpstreamSteps,
    compile_call_plan,
)
from tasker.handlers.instances import EnclosingInstances
from tasker.layout import NodeLayout, steps_with_handlers
from tasker.model import HTTP_HANDLER, StepSpec, Template
from tasker.suggest import did_you_mean


class StubbedHandlers(Handlers):
    """The handlers for a test of one template, with stubs and failures.

    Args:
        handlers: The real ones.
        template: The template.
        stubs: Replacements by step: a handler, a result, or an exception to raise.
        failures: By step, exceptions that its first attempts raise, one each.

    Raises:
        Misuse: The template has no such step.
    """

    def __init__(
        self,
        handlers: Handlers,
        template: Template,
        *,
        stubs: Mapping[str, Any],
        failures: Mapping[str, Sequence[BaseException]],
    ) -> None:
        vars(self).update(vars(handlers))  # they never change
        known = {spec.name for spec in steps_with_handlers(template.steps)}
        for name in (*stubs, *failures):
            if name not in known:
                raise _make_unusable_stub_error(template, name)
        self._key = template.key
        self._stubs = {name: _make_stub(name, given) for name, given in stubs.items()}
        self._failures = {name: tuple(errors) for name, errors in failures.items()}
        self._stubs_by_handler = {
            (template.namespace, spec.handler): self._stubs[spec.name]
            for spec in steps_with_handlers(template.steps)
            if spec.name in stubs
        }

    def find_handler(
        self, name: str, namespace: str | None = None, version: str = ""
    ) -> Handler | None:
        """Return a handler, the stub of a step that names it, or None."""
        handler = super().find_handler(name, namespace, version)
        return handler or self._stubs_by_handler.get((namespace or "", name))

    def not_found_error(
        self, name: str, namespace: str | None = None, version: str = ""
    ) -> HandlerNotFound:
        """Return the error that explains why `find_handler` returns None."""
        if name == HTTP_HANDLER:
            return HandlerNotFound(
                "an http step needs a stub in a test, such as"
                " stubs={STEP: {'status': 200, 'headers': {}, 'body': {}}}"
            )
        return super().not_found_error(name, namespace, version)

    def compile_call_plan(
        self, template: Template, graph: Graph, spec: StepSpec
    ) -> CallPlan | None:
        """Compile the call plan of a step, with its stub and its failures."""
        stub = self._stubs.get(spec.name) if template.key == self._key else None
        if stub is None:
            plan = super().compile_call_plan(template, graph, spec)
        else:
            upstream = UpstreamSteps.for_step(graph, graph.numbers[spec.name])
            around = EnclosingInstances.for_step(graph, graph.numbers[spec.name])
            plan = compile_call_plan(
                stub, spec, upstream=upstream, template=template.key, around=around
            )
        if plan is None or template.key != self._key:
            return plan
        plan.in_process = False  # a thread does for a test, and starts sooner
        if errors := self._failures.get(spec.name):
            plan.call = _wrap_call_with_errors(plan.call, errors)
        return plan


def _make_unusable_stub_error(template: Template, name: str) -> Misuse:
    """Return the error for a stub of an unknown step or of a step that has no handler."""
    specs = {spec.name: spec for spec in NodeLayout(template.steps).specs}
    if name not in specs:
        return Misuse(f"{template.full_name} has no step {name!r}{did_you_mean(name, specs)}")
    spec = specs[name]
    advice = ""
    if spec.task is not None:
        advice = f"; pass the workflow or template of {spec.task.template} in `templates`"
    elif spec.approval is not None:
        advice = "; pass the form of the approval in `decisions`"
    elif spec.wait is not None:
        advice = "; pass the signals that it waits for in `signals`"
    return Misuse(
        f"step {name!r} of {template.full_name} has no handler that a stub could replace{advice}"
    )


def _make_stub(step: str, given: Any) -> Handler:
    if isinstance(given, BaseException):

        def raise_given_error() -> None:
            raise given

        return Handler(step, raise_given_error)
    if callable(given) or callable(getattr(given, "call", None)):
        return Handler(step, given)
    return Handler(step, lambda: given)


def _wrap_call_with_errors(
    call: Callable[[LiveAttempt], Any], errors: Sequence[BaseException]
) -> Callable[[LiveAttempt], Any]:
    def raise_next_or_call(attempt: LiveAttempt) -> Any:
        number = attempt.claim.attempt
        if number <= len(errors):
            raise errors[number - 1]
        return call(attempt)

    return raise_next_or_call

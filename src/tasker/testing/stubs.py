"""Handlers, some of which are replaced or fail at first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasker.errors import Misuse
from tasker.graph import Graph
from tasker.handlers import Handler, Handlers, LiveAttempt, Plan, Upstream, compile_plan
from tasker.handlers.instances import Surroundings
from tasker.layout import steps_with_handlers
from tasker.model import StepSpec, Template
from tasker.suggest import did_you_mean


class StubbedHandlers(Handlers):
    """Handlers for the test of one template.

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
        known = [spec.name for spec in steps_with_handlers(template.steps)]
        for name in (*stubs, *failures):
            if name not in known:
                hint = did_you_mean(name, known)
                raise Misuse(f"{template.full_name} has no step {name!r}{hint}")
        self._key = template.key
        self._stubs = {name: _make_stub(name, given) for name, given in stubs.items()}
        self._failures = {name: tuple(errors) for name, errors in failures.items()}
        self._stubs_by_handler = {
            (template.namespace, spec.handler): self._stubs[spec.name]
            for spec in steps_with_handlers(template.steps)
            if spec.name in stubs
        }

    def find(self, name: str, namespace: str | None = None, version: str = "") -> Handler | None:
        """Find a handler, or else the stub of the step."""
        handler = super().find(name, namespace, version)
        return handler or self._stubs_by_handler.get((namespace or "", name))

    def plan(self, template: Template, graph: Graph, spec: StepSpec) -> Plan | None:
        """Compile how one step is run: with its stub, and its failures."""
        stub = self._stubs.get(spec.name) if template.key == self._key else None
        if stub is None:
            plan = super().plan(template, graph, spec)
        else:
            upstream = Upstream.of_step(graph, graph.numbers[spec.name])
            around = Surroundings.of_step(graph, graph.numbers[spec.name])
            plan = compile_plan(stub, spec, upstream=upstream, template=template.key, around=around)
        if plan is None or template.key != self._key:
            return plan
        plan.in_process = False  # a thread does for a test, and starts sooner
        if errors := self._failures.get(spec.name):
            plan.call = _raise_first(plan.call, errors)
        return plan


def _make_stub(step: str, given: Any) -> Handler:
    if isinstance(given, BaseException):

        def fail() -> None:
            raise given

        return Handler(step, fail)
    if callable(given) or callable(getattr(given, "call", None)):
        return Handler(step, given)
    return Handler(step, lambda: given)


def _raise_first(
    call: Callable[[LiveAttempt], Any], errors: Sequence[BaseException]
) -> Callable[[LiveAttempt], Any]:
    def fail_first(attempt: LiveAttempt) -> Any:
        number = attempt.claim.attempt
        if number <= len(errors):
            raise errors[number - 1]
        return call(attempt)

    return fail_first

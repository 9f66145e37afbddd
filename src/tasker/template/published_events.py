"""The events that an attempt publishes with its outcome."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasker import codec, limits
from tasker.errors import InvalidInput, Misuse, TooLarge
from tasker.model import EventSpec, Json, JsonText, Outcome, StepSpec
from tasker.template.expressions import compile_expression
from tasker.template.schema import find_violations

_NULL = JsonText("null")


class PublishedEvent(NamedTuple):
    """An event that a step publishes with an outcome: its name and its computed payload."""

    name: str
    payload: JsonText


class InvalidEventPayload(InvalidInput):
    """An event cannot be built, or does not match its schema."""

    code = "invalid_event"


def build_published_events(
    spec: StepSpec, outcome: Outcome, context: JsonText
) -> tuple[Sequence[PublishedEvent], InvalidEventPayload | None]:
    """Return the events that a step publishes with an outcome, and why one is invalid, if so.

    An event is invalid if its payload cannot be computed, is too large, or does not match its
    schema.

    Args:
        spec: The step.
        outcome: The outcome of an attempt.
        context: The context of its task.
    """
    values = _PayloadValues(outcome, context)
    events, invalid = [], None
    for event in spec.events:
        if event.on.is_met_by(outcome.outcome):
            try:
                events.append(PublishedEvent(event.name, _build_checked_payload(event, values)))
            except InvalidEventPayload as error:
                invalid = invalid or error
    return events, invalid


def _build_checked_payload(event: EventSpec, values: "_PayloadValues") -> JsonText:
    try:
        payload = values.compute_payload(event)
        if (size := len(payload.encode())) > limits.EVENT_BYTES:
            raise TooLarge("its payload", size, limits.EVENT_BYTES)
    except (InvalidInput, Misuse) as error:
        raise InvalidEventPayload(f"the event {event.name!r}: {error}") from None
    if event.schema is not None:
        what = f"the payload of the event {event.name!r}"
        if problems := find_violations(event.schema, payload, what):
            raise InvalidEventPayload(f"{what} does not match its schema: {'; '.join(problems)}")
    return payload


class _PayloadValues:
    """The values of a payload's names, parsed on demand."""

    def __init__(self, outcome: Outcome, context: JsonText) -> None:
        self._outcome = outcome
        self._context = context
        self._names: dict[str, Json] | None = None

    def compute_payload(self, event: EventSpec) -> JsonText:
        """Return the payload of an event. Raises: InvalidExpression, TooLarge."""
        if event.payload in ("", "result") and self._outcome.error is None:
            return self._outcome.result or _NULL
        if event.payload == "":
            return codec.dumps(self.values_by_name["error"])
        if isinstance(event.payload, str):
            return codec.dumps(compile_expression(event.payload).evaluate(self.values_by_name))
        return codec.dumps(
            {
                key: compile_expression(text).evaluate(self.values_by_name)
                for key, text in event.payload.items()
            }
        )

    @property
    def values_by_name(self) -> dict[str, Json]:
        """The values by name; the error has no stack trace."""
        if self._names is None:
            result, error = self._outcome.result, self._outcome.error
            self._names = {
                "input": codec.loads(self._context),
                "result": None if result is None else codec.loads(result),
                "error": None if error is None else _omit_stack_trace(codec.loads(error)),
            }
        return self._names


def _omit_stack_trace(error: dict[str, Any]) -> Json:
    return {key: value for key, value in error.items() if key != "trace"}

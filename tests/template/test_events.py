"""The events that steps declare: in YAML, in Python, and what is refused."""

import pytest
from tests.template.problems import get_problems

from tasker import EventSpec, InvalidInput, Workflow
from tasker.model import EventCondition, JsonText, Outcome, OutcomeCode, StepSpec, TaskId, Template
from tasker.template.document import template_to_document
from tasker.template.load import parse_template, template_from_document
from tasker.template.published_events import build_published_events
from tasker.template.stored import template_from_stored_document

SCHEMA = {"type": "object", "required": ["cents"]}

CHARGE = """
name: order
steps:
- name: charge
  events:
  - payment.attempted
  - {name: payment.charged, on: success, payload: result, schema: {type: object, required: [cents]}}
  - name: payment.refused
    on: permanent_failure
    payload: {order: input.order_id, code: error.code}
    description: The customer must pay otherwise
"""

EVENTS = (
    EventSpec("payment.attempted"),
    EventSpec("payment.charged", "success", "result", schema=SCHEMA),
    EventSpec(
        "payment.refused",
        "permanent_failure",
        {"order": "input.order_id", "code": "error.code"},
        description="The customer must pay otherwise",
    ),
)


def test_events_can_be_declared_in_yaml() -> None:
    """The stored document reads back as the same template."""
    template = parse_template(CHARGE)

    assert EVENTS == template.steps[0].events
    assert template == template_from_document(template_to_document(template))
    assert template == template_from_stored_document(template_to_document(template))


def test_events_can_be_declared_in_python() -> None:
    flow = Workflow("order")

    @flow.step(events=["payment.attempted", *EVENTS[1:]])
    def charge() -> dict[str, int]:
        return {"cents": 1}

    flow.add("ship", events=["order.shipped"])

    assert EVENTS == flow.template.steps[0].events
    assert (EventSpec("order.shipped"),) == flow.template.steps[1].events


def test_events_can_be_declared_in_the_rails_dialect() -> None:
    template = parse_template(
        """
name: order
step_templates:
- {name: charge, handler_class: Charge, events: [payment.charged]}
"""
    )

    assert (EventSpec("payment.charged"),) == template.steps[0].events


def test_events_of_tasker_core_are_translated() -> None:
    """Each is durable here, whatever its delivery mode; the catalogue goes to the metadata."""
    template = parse_template(
        """
name: order
domain_events: [{name: payment.charged, description: Charged, schema: {type: object}}]
steps:
- name: charge
  publishes_events:
  - name: payment.charged
    description: The customer was charged
    condition: retryable_failure
    schema: {type: object}
    delivery_mode: broadcast
"""
    )

    assert (
        EventSpec(
            "payment.charged",
            "retryable_failure",
            schema={"type": "object"},
            description="The customer was charged",
        ),
    ) == template.steps[0].events
    assert "payment.charged" == template.metadata["domain_events"][0]["name"]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ("{on: success}", "'name' is missing"),
        ("{name: a.b, on: sucess}", "sucess"),
        ("{name: a.b, payload: results.x}", "unknown name 'results'; did you mean 'result'?"),
        ("{name: a.b, payload: 'result ='}", "invalid expression 'result ='"),
        ("{name: a.b, payload: {x: other.y}}", "unknown name 'other'"),
        ("{name: a.b, schema: {type: objekt}}", "not a valid JSON Schema"),
        ("a..b", "letters, digits, _, - and single dots"),
        ("tasker.task", "names that begin with 'tasker.' are reserved"),
        ("'a.b:c'", "letters, digits"),
        (f"{'x' * 129}", "at most 128 characters, found 129"),
        ("[]", "must be a string"),
    ],
)
def test_an_event_that_cannot_be_published_is_refused(event: str, problem: str) -> None:
    (first, *_) = get_problems(f"name: a\nsteps:\n- {{name: b, events: [{event}]}}\n")

    assert problem in str(first)
    assert "steps[0].events[0]" in first.path


def test_an_event_is_declared_once_for_a_condition() -> None:
    (first,) = get_problems("name: a\nsteps:\n- {name: b, events: [a.b, {name: a.b}]}\n")

    assert "the event 'a.b' on 'success' is listed twice" in str(first)


def test_a_step_publishes_at_most_20_events() -> None:
    names = ", ".join(f"e{number}" for number in range(21))

    (first,) = get_problems(f"name: a\nsteps:\n- {{name: b, events: [{names}]}}\n")

    assert "a step may publish at most 20 events, found 21" in str(first)


def test_an_unknown_condition_is_refused_in_python() -> None:
    with pytest.raises(InvalidInput, match="on must be one of success, failure"):
        EventSpec("a.b", "sometimes")  # type: ignore[arg-type]


def outcome(code: OutcomeCode, result: str | None = None, error: str | None = None) -> Outcome:
    return Outcome(
        TaskId(""),
        1,
        1,
        code,
        None if result is None else JsonText(result),
        None if error is None else JsonText(error),
        0.0,
    )


FAILED = '{"message":"no money","code":"declined","trace":"..."}'


@pytest.mark.parametrize(
    ("code", "conditions"),
    [
        (OutcomeCode.COMPLETE, ["success", "always"]),
        (OutcomeCode.RETRY, ["failure", "retryable_failure", "always"]),
        (OutcomeCode.LOST, ["failure", "retryable_failure", "always"]),
        (OutcomeCode.ERROR, ["failure", "permanent_failure", "always"]),
        (OutcomeCode.RELEASED, []),
        (OutcomeCode.PARKED, []),
        (OutcomeCode.RESOLVED_MANUALLY, []),
    ],
)
def test_an_outcome_publishes_the_events_of_its_conditions(
    code: OutcomeCode, conditions: list[str]
) -> None:
    spec = StepSpec(
        name="charge", events=tuple(EventSpec(each.value, each) for each in EventCondition)
    )

    events, invalid = build_published_events(spec, outcome(code, "1"), JsonText("{}"))

    assert invalid is None
    assert conditions == [event.name for event in events]


@pytest.mark.parametrize(
    ("payload", "of_success", "of_failure"),
    [
        ({}, "{}", "{}"),
        ("", '{"cents":5}', '{"message":"no money","code":"declined"}'),
        ("result", '{"cents":5}', "null"),
        ("result.cents", "5", "null"),
        ("error.code", "null", '"declined"'),
        ({"id": "input.id", "ok": "error == null"}, '{"id":7,"ok":true}', '{"id":7,"ok":false}'),
    ],
)
def test_a_payload_is_computed_from_input_result_and_error(
    payload: str | dict[str, str], of_success: str, of_failure: str
) -> None:
    spec = StepSpec(name="charge", events=(EventSpec("a.b", "always", payload),))
    template = Template(namespace="n", name="t", version="1.0.0", steps=(spec,))
    (spec,) = template_from_document(template_to_document(template)).steps
    context = JsonText('{"id":7}')

    (success,), _ = build_published_events(
        spec, outcome(OutcomeCode.COMPLETE, '{"cents":5}'), context
    )
    (failure,), _ = build_published_events(spec, outcome(OutcomeCode.ERROR, None, FAILED), context)

    assert (of_success, of_failure) == (success.payload, failure.payload)


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (EventSpec("a.b", schema=SCHEMA), "does not match its schema: .*cents"),
        (EventSpec("a.b", payload="result.total > 5"), "invalid expression"),
        (EventSpec("a.b", payload="input.text"), "its payload"),
    ],
)
def test_an_invalid_event_is_reported_and_the_others_are_published(
    event: EventSpec, problem: str
) -> None:
    spec = StepSpec(name="charge", events=(event, EventSpec("good")))
    context = JsonText(f'{{"text":"{"x" * 70_000}"}}')

    events, invalid = build_published_events(
        spec, outcome(OutcomeCode.COMPLETE, '{"total":"5"}'), context
    )

    assert ["good"] == [event.name for event in events]
    with pytest.raises(InvalidInput, match=problem):
        raise invalid or AssertionError

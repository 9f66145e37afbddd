"""Steps of templates that wait: `wait` and `task`, in YAML and in Python."""

from datetime import timedelta
from typing import Any

import pytest

from tasker import Context, PermanentError, Retry, StepStatus, TaskStatus, parse_template
from tasker.errors import InvalidTemplate
from tasker.model import AwaitedSignal, Template, TimeoutAction
from tasker.template.document import template_to_document
from tasker.template.load import template_from_document
from tasker.testing import run_workflow_sync
from tasker.workflow import Workflow

HEAD = "name: order\nnamespace_name: shop\nversion: 1.0.0\nsteps:\n"


def parse(*steps: str) -> Template:
    return parse_template(HEAD + "".join(f"  - {step}\n" for step in steps), file="order.yaml")


def test_a_step_waits_for_a_time() -> None:
    """For a while, or until an instant that an earlier step knows."""
    flow = parse(
        "{name: quote}",
        "{name: cool_down, dependencies: [quote], wait: {for: 2h}}",
        "{name: valid, dependencies: [cool_down, quote], wait: {until: results.quote.expires_at}}",
    )

    def quote(ctx: Context) -> dict[str, str]:
        return {"expires_at": (ctx.now() + timedelta(days=1)).isoformat()}

    run = run_workflow_sync(flow, handlers={"quote": quote})

    assert TaskStatus.COMPLETE is run.task.status
    assert run.result is None
    assert timedelta(days=1) == run.slept


def test_a_step_waits_for_a_signal_and_returns_its_payload() -> None:
    """Steps may wait before and after other steps, several times in a row."""
    flow = parse(
        "{name: payment, wait: {signal: payment_received, key: input.order_id, timeout: 3d}}",
        "{name: ship, dependencies: [payment]}",
        "{name: receipt, dependencies: [ship], wait: {signal: delivered}}",
    )

    run = run_workflow_sync(
        flow,
        {"order_id": "o-1"},
        handlers={"ship": lambda payment: payment["cents"]},
        signals=[("delivered", "at the door"), ("payment_received", {"cents": 500})],
    )

    assert {"payment": {"cents": 500}, "ship": 500, "receipt": "at the door"} == run.results


def test_the_first_of_several_signals_is_named() -> None:
    flow = parse("{name: decision, wait: {any: [{signal: paid}, {signal: cancelled}, {for: 2d}]}}")

    run = run_workflow_sync(flow, signals=[("cancelled", "by phone")])

    assert ("cancelled", "by phone") == (run.result["name"], run.result["payload"])
    assert run_workflow_sync(flow).result is None


@pytest.mark.parametrize("action", list(TimeoutAction))
def test_a_wait_that_times_out_fails_skips_or_continues_the_step(action: TimeoutAction) -> None:
    flow = parse(
        f"{{name: payment, wait: {{signal: paid, timeout: 3d, on_timeout: {action}}}}}",
        "{name: ship, dependencies: [payment]}",
    )

    run = run_workflow_sync(flow, handlers={"ship": lambda payment: ["shipped", payment]})

    assert timedelta(days=3) == run.slept
    payment, ship = run.steps["payment"], run.steps["ship"]
    if action is TimeoutAction.CONTINUE:
        assert ["shipped", None] == run.result
    elif action is TimeoutAction.SKIP:
        assert (StepStatus.SKIPPED, StepStatus.SKIPPED) == (payment.status, ship.status)
    else:
        assert payment.error is not None
        assert ("wait_timeout", StepStatus.PENDING) == (payment.error["code"], ship.status)


@pytest.mark.parametrize(
    ("wait", "context", "code"),
    [
        ("{signal: paid, key: input.missing}", {}, "invalid_key"),
        ("{until: input.at}", {"at": "tomorrow"}, "invalid_instant"),
        ("{until: input.at}", {"at": "2030-01-01T00:00:00"}, "invalid_instant"),
    ],
)
def test_an_invalid_value_is_a_permanent_error(
    wait: str, context: dict[str, Any], code: str
) -> None:
    run = run_workflow_sync(parse(f"{{name: payment, wait: {wait}}}"), context)

    error = run.steps["payment"].error
    assert error is not None
    assert (code, 1) == (error["code"], run.steps["payment"].attempts)


def test_a_step_runs_a_task_and_returns_its_result() -> None:
    """Its context is computed."""
    child = Workflow("payments.refund", version="1.2.0")

    @child.step
    def pay(order: str, lines: list[int]) -> dict[str, Any]:
        return {"order": order, "cents": sum(lines)}

    flow = parse(
        "{name: quote}",
        '{name: refund, dependencies: [quote], task: {template: "payments.refund@^1",'
        ' context: {order: "o-{input.id}", lines: "{results.quote.lines}"}}}',
    )

    run = run_workflow_sync(
        flow, {"id": 7}, handlers=[{"quote": lambda: {"lines": [1, 2]}}, child], templates=[child]
    )

    assert {"order": "o-7", "cents": 3} == run.results["refund"]
    assert [TaskStatus.COMPLETE] == [each.status for each in run.children]


def test_a_failed_task_fails_its_step_or_is_retried() -> None:
    tries: list[int] = []
    child = Workflow("payments.refund", version="1.2.0")

    @child.step(retry=Retry(max_attempts=1))
    def pay() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise PermanentError("no such account", code="NO_ACCOUNT")
        return "paid"

    flow = Workflow("shop.order", version="1.0.0")
    flow.task("refund", child)
    patient = Workflow("shop.order", version="1.0.0")
    patient.task("refund", child, retry_child=True, retry=Retry(max_attempts=3))

    failed = run_workflow_sync(flow, templates=[child])
    tries.clear()
    run = run_workflow_sync(patient, templates=[child])

    error = failed.steps["refund"].error
    assert error is not None
    details = error["details"]
    assert isinstance(details, dict)
    assert ("task_failed", "NO_ACCOUNT") == (error["code"], details["code"])
    assert ("paid", 3) == (run.result, len(tries))


def test_waiting_steps_can_be_declared_in_python() -> None:
    flow = Workflow("shop.order", version="1.0.0")
    flow.wait("cool_down", delay="2h")
    flow.wait("valid", until="input.at", after="cool_down")
    flow.wait("paid", signal="paid", key="input.id", timeout="3d", on_timeout="skip", after="valid")
    flow.wait("any", any_of=["a", AwaitedSignal("b", "input.id")], after="paid")
    flow.task("refund", "payments.refund@^1", {"id": "{input.id}"}, detached=True, after="any")

    expected = parse(
        "{name: cool_down, wait: {for: 2h}}",
        "{name: valid, dependencies: [cool_down], wait: {until: input.at}}",
        "{name: paid, dependencies: [valid],"
        " wait: {signal: paid, key: input.id, timeout: 3d, on_timeout: skip}}",
        "{name: any, dependencies: [paid], wait: {any: [{signal: a}, {signal: b, key: input.id}]}}",
        "{name: refund, dependencies: [any], task: {template: payments.refund@^1,"
        ' context: {id: "{input.id}"}, detached: true}}',
    )
    assert expected.steps == flow.template.steps
    assert expected == template_from_document(template_to_document(expected))


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("wait: {}", "exactly one of 'for', 'until', 'signal' and 'any'"),
        ("wait: {for: 1h, signal: a}", "exactly one of 'for', 'until', 'signal' and 'any'"),
        ("wait: {for: soon}", "soon"),
        ("wait: {for: 1h, timeout: 2h}", "'timeout' is allowed only in a wait for signals"),
        ("wait: {signal: a, on_timeout: skip}", "'on_timeout' needs 'timeout'"),
        ("wait: {signal: a, timeout: 1h, on_timeout: stop}", "unknown value 'stop'"),
        ("wait: {signal: a, key: results.b.c}", "the wait uses results.b, but 'b' is not a step"),
        ("wait: {any: []}", "'any' needs 1 to 20 signals, found 0"),
        ("wait: {any: [{signal: a}], key: input.b}", "write a 'key' next to each 'signal'"),
        ("wait: {any: [{signal: a}, {for: 1h}], timeout: 2h}", "cannot have 'timeout'"),
        ("wait: {signal: a}, handler: {callable: b}", "a step has either 'handler' or 'wait'"),
        ("wait: {event: a}", "write 'signal'"),
        ("task: {}", "'template' is missing"),
        ('task: {template: a, context: {b: "{item}"}}', "item"),
        ("task: {template: a, retry: always}", "unknown value 'always'"),
    ],
)
def test_an_invalid_wait_is_reported(step: str, problem: str) -> None:
    with pytest.raises(InvalidTemplate) as refusal:
        parse(f"{{name: one, {step}}}")

    assert problem in str(refusal.value)

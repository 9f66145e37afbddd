"""Cases 1 to 16: registration, running steps, slots, failures."""

import time
from itertools import pairwise
from typing import Any

import pytest
from sdk.conformance.languages import Language
from sdk.conformance.server import ScriptedServer, Step

Start = Any

HANDLERS = {
    "echo",
    "describe",
    "add",
    "fail_permanent",
    "fail_retryable",
    "raise",
    "sleep",
    "checkpointing",
    "parent",
    "reads_ancestor",
    "big",
    "no_json",
}

NESTED: Any = {}
for _ in range(100):
    NESTED = {"in": NESTED}

VALUES = {
    "null": None,
    "unicode": "Zoë 😀 \u2028 \x7f",
    "small": 1e-7,
    "negative": -3,
    "half": 0.5,
    "empty": {},
    "none": [],
    "nested": NESTED,
    "truth": [True, False],
    "quotes": '"\\\n\t',
}


def test_case_1_a_worker_registers_with_names_slots_and_protocol(
    server: ScriptedServer, start: Start, language: Language
) -> None:
    with start(slots=3):
        body = server.requests[0].body
        assert (1, 3) == (body["protocol"], body["slots"])
        bound = [
            each.get("namespaces") or body["namespaces"]
            for each in body["handlers"]
            if each.get("namespaces") != ["elsewhere"]
        ]
        assert [["conformance"]] * len(bound) == bound
        assert set() == HANDLERS - {handler["name"] for handler in body["handlers"]}
        assert body["sdk"].startswith(f"{language.sdk or language.name}/")
        assert body["name"]


def test_case_2_every_request_carries_the_key(server: ScriptedServer, start: Start) -> None:
    server.api_key = "sesame"
    with start(TASKER_API_KEY="sesame"):
        server.wait_for_outcomes(server.add(Step("echo", {"a": 1})))
        assert {"sesame"} == {request.headers.get("x-api-key") for request in server.requests}


@pytest.mark.parametrize("status", [401, 403])
def test_case_3_a_refused_worker_does_not_start_and_reports_why(
    server: ScriptedServer, start: Start, status: int
) -> None:
    body = {"code": "forbidden", "detail": "The key may serve no namespace."}
    server.fail_next("register", status=status, body=body, times=-1)
    with start(registers=False) as worker:
        assert 0 != worker.wait()
        assert "The key may serve no namespace." in worker.output


def test_case_3_an_unsupported_protocol_is_named(server: ScriptedServer, start: Start) -> None:
    detail = "This server speaks protocol 7 to 9."
    body = {"code": "protocol_unsupported", "detail": detail}
    server.fail_next("register", status=400, body=body, times=-1)
    with start(registers=False) as worker:
        assert 0 != worker.wait()
        assert detail in worker.output


def test_case_4_a_step_runs(server: ScriptedServer, start: Start) -> None:
    with start():
        step = server.add(Step("add", {"a": 40, "b": 2}))
        server.wait_for_outcomes(step)
        assert {"sum": 42} == step.result


def test_case_5_every_field_reaches_the_handler(server: ScriptedServer, start: Start) -> None:
    with start():
        step = server.add(
            Step(
                "describe",
                {"a": 1},
                name="look",
                results={"before": {"b": [2]}},
                config={"c": 3},
                max_attempts=5,
                checkpoint={"d": 4},
            )
        )
        server.wait_for_outcomes(step)
        assert {
            "step": "look",
            "task_id": step.task_id,
            "namespace": "conformance",
            "template": "case",
            "version": "1.0.0",
            "attempt": 1,
            "counted_attempts": 1,
            "max_attempts": 5,
            "idempotency_key": f"{step.task_id}:look",
            "correlation_id": f"correlation-{step.task_id}",
            "parent_id": None,
            "config": {"c": 3},
            "results": {"before": {"b": [2]}},
            "context": {"a": 1},
            "checkpoint": {"d": 4},
        } == step.result


def test_case_6_json_is_returned_unchanged(language: Language, running: ScriptedServer) -> None:
    exact = "large_integers" not in language.differs
    values = {**VALUES, "large": 2**53 + 1 if exact else 2**53}
    step = running.add(Step("echo", values))
    running.wait_for_outcomes(step)
    assert values == step.result


def test_case_7_no_more_attempts_than_slots(server: ScriptedServer, start: Start) -> None:
    with start(slots=3):
        steps = [Step("sleep", {"ms": 30}) for _ in range(30)]
        server.add(*steps)
        server.wait_for_outcomes(*steps)
    # the fixture `server` fails if a claim ever exceeded the slots


def test_case_8_at_most_one_claim_request_is_in_progress(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=4):
        steps = [Step("echo", {"n": n}) for n in range(40)]
        for step in steps:
            server.add(step)
            time.sleep(0.002)
        server.wait_for_outcomes(*steps)
    assert [] == [claim for claim in server.of_route("claim") if claim.status == 409]


def test_case_9_slots_are_reserved_for_the_steps_that_a_settlement_claims(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2):
        chains = [Step("echo", {"n": n}) for n in range(8)]
        for chain in chains:
            chain.then = [Step("echo", {"second": True})]
        server.add(*chains)
        server.wait_for_outcomes(*chains, *[chain.then[0] for chain in chains])


def test_case_10_outcomes_are_collected_during_a_settlement(
    server: ScriptedServer, start: Start
) -> None:
    server.settle_takes = 0.5
    with start(slots=10):
        steps = [Step("sleep", {"ms": 20 + 15 * n}) for n in range(10)]
        server.add(*steps)
        server.wait_for_outcomes(*steps)
        sizes = [len(settle.body["outcomes"]) for settle in server.of_route("settle")]
        assert 10 == sum(sizes)
        assert len(sizes) < 6
        begun = sorted((settle.at, settle.ended or 0.0) for settle in server.of_route("settle"))
        assert all(end <= at for (_, end), (at, _) in pairwise(begun))


def test_case_11_a_chain_costs_one_request_a_step(server: ScriptedServer, start: Start) -> None:
    with start(slots=1):
        last = Step("add", {"a": 1, "b": 4})
        chain = [Step("add", {"a": 1, "b": n}) for n in range(4)] + [last]
        for before, after in pairwise(chain):
            before.then = [after]
        server.wait(lambda: server.of_route("claim"), "a claim is parked")
        server.add(chain[0])
        server.wait_for_outcomes(last)
        assert {"sum": 5} == last.result
        assert 5 == len(server.of_route("settle"))
        answers = [claim.answer for claim in server.of_route("claim") if claim.answer]
        assert 1 == len([answer for answer in answers if answer["steps"]])


def test_case_12_a_settlement_asks_for_no_more_steps_than_it_frees(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2):
        first = Step("echo", {})
        first.then = [Step("echo", {"n": n}) for n in range(6)]
        server.add(first)
        server.wait_for_outcomes(first, *first.then)
        assert max(settle.body["max"] for settle in server.of_route("settle")) <= 2


def test_case_13_a_permanent_error_is_not_retryable(running: ScriptedServer) -> None:
    step = running.add(Step("fail_permanent"))
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    assert ("the card is stolen", "STOLEN", False) == (
        error["message"],
        error["code"],
        error["retryable"],
    )
    assert {"card": "c-1"} == error["details"]
    assert "error" == step.status


def test_case_14_a_retryable_error_has_its_delay(running: ScriptedServer) -> None:
    step = running.add(Step("fail_retryable", max_attempts=2))
    running.wait_for_outcomes(step)
    assert 2 == len(step.outcomes)
    error = step.outcome["error"]
    assert (True, 7, "LATER") == (error["retryable"], error["retry_after_s"], error["code"])


def test_case_15_an_exception_is_retryable_with_type_message_and_trace(
    running: ScriptedServer,
) -> None:
    step = running.add(Step("raise", max_attempts=1))
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    assert (True, "boom") == (error["retryable"], error["message"])
    assert error["type"]
    assert "conformance" in error["trace"]


def test_case_16_a_result_that_is_not_json_is_permanent_and_names_the_path(
    language: Language, running: ScriptedServer
) -> None:
    step = running.add(Step("no_json"))
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    code = "invalid_input" if "invalid_input" in language.differs else "invalid_result"
    assert (code, False) == (error["code"], error["retryable"])
    if "path_of_result" not in language.differs:
        assert "$.list[1]" in error["message"]


def test_case_16_a_missing_handler_is_permanent(running: ScriptedServer) -> None:
    step = running.add(Step("nobody.wrote.this"))
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    assert ("handler_not_found", False) == (error["code"], error["retryable"])
    assert "nobody.wrote.this" in error["message"]

"""Cases 17 to 23: lost answers, refusals and servers that are away."""

import re
import time
from itertools import pairwise
from typing import Any

import pytest
from sdk.conformance.server import ScriptedServer, Step

Start = Any


def attempts_of(server: ScriptedServer, handler: str) -> list[int]:
    """Return how often the steps of a handler were handed out."""
    return [step.attempt for step in server.steps if step.handler == handler]


@pytest.mark.parametrize("kind", ["close", "half", "garbage"])
def test_case_17_a_settlement_whose_response_is_lost_is_sent_again_and_resumed(
    server: ScriptedServer, start: Start, kind: str
) -> None:
    with start(slots=2):
        first = Step("add", {"a": 1, "b": 1})
        first.then = [Step("add", {"a": 2, "b": 2})]
        server.fail_next("settle", kind, after=True)
        server.add(first)
        server.wait_for_outcomes(first, *first.then)
        settles = server.of_route("settle")
        assert settles[0].body["outcomes"] == settles[1].body["outcomes"]
        assert 1 <= len(server.of_route("resume"))
        assert [1, 1] == attempts_of(server, "add")
        assert [1, 1] == [len(first.outcomes), len(first.then[0].outcomes)]


@pytest.mark.parametrize("kind", ["close", "half", "garbage"])
def test_case_18_a_claim_whose_response_is_lost_is_resumed(
    server: ScriptedServer, start: Start, kind: str
) -> None:
    server.fail_next("claim", kind, after=True)
    step = server.add(Step("add", {"a": 1, "b": 1}))
    with start(slots=2):
        server.wait_for_outcomes(step)
        assert (1, 1) == (step.attempt, len(step.outcomes))
        resume = server.of_route("resume")[0]
        claims = server.of_route("claim")
        assert [] == [c for c in claims if claims[0].at < c.at < (resume.ended or 0)]


def test_case_19_a_settlement_that_never_arrived_is_sent_again(
    server: ScriptedServer, start: Start
) -> None:
    with start():
        server.fail_next("settle", "close", times=2)
        step = server.add(Step("add", {"a": 1, "b": 1}))
        server.wait_for_outcomes(step)
        assert (1, 1) == (step.attempt, len(step.outcomes))


@pytest.mark.parametrize(
    ("route", "status"),
    [("claim", 502), ("settle", 503), ("settle", 504), ("renew", 502), ("resume", 504)],
)
def test_case_20_a_failing_proxy_costs_no_attempt(
    server: ScriptedServer, start: Start, route: str, status: int
) -> None:
    if route == "resume":
        server.fail_next("claim", "close", after=True)
    with start():
        server.fail_next(route, status=status, times=2)
        steps = [Step("sleep", {"ms": 100}) for _ in range(6)]
        server.add(*steps)
        server.wait_for_outcomes(*steps)
        assert [1] * 6 == attempts_of(server, "sleep")


@pytest.mark.parametrize("status", [429, 503])
def test_case_21_retry_after_is_obeyed(server: ScriptedServer, start: Start, status: int) -> None:
    with start():
        server.fail_next("settle", status=status, headers={"Retry-After": "0.7"})
        step = server.add(Step("echo", {}))
        server.wait_for_outcomes(step)
        first, second = server.of_route("settle")[:2]
        assert 0.65 <= second.at - (first.ended or 0) < 20


def test_case_22_retries_have_growing_delays(server: ScriptedServer, start: Start) -> None:
    with start():
        server.fail_next("settle", status=503, times=5)
        step = server.add(Step("echo", {}))
        server.wait_for_outcomes(step)
        settles = server.of_route("settle")[:6]
        delays = [after.at - (before.ended or 0.0) for before, after in pairwise(settles)]
        bounds = [0.1, 0.2, 0.4, 0.8, 1.6]
        assert [True] * 5 == [
            0.49 * bound <= delay <= bound + 8  # a busy machine is late
            for delay, bound in zip(delays, bounds, strict=True)
        ], delays


def test_the_step_of_an_outcome_that_the_server_rejects_fails(
    server: ScriptedServer, start: Start
) -> None:
    """A proxy may accept smaller bodies than the server. Other outcomes are not affected."""
    with start():
        body = {"code": "too_large", "detail": "the body is too large"}
        server.fail_next("settle", status=413, body=body)
        step = server.add(Step("echo", {}))
        server.wait_for_outcomes(step)
        assert ["failed"] == [outcome["outcome"] for outcome in step.outcomes]
        assert not step.outcome["error"]["retryable"]
        assert "the body is too large" in step.outcome["error"]["message"]


def test_case_23_outcomes_wait_while_the_server_is_down(
    server: ScriptedServer, start: Start
) -> None:
    with start():
        steps = [Step("sleep", {"ms": 300}) for _ in range(4)]
        server.add(*steps)
        server.wait(lambda: all(s.status == "in_progress" for s in steps), "all run")
        server.stop()
        time.sleep(2)
        server.start()
        server.wait_for_outcomes(*steps)
        assert [1] * 4 == [step.attempt for step in steps]
        assert [1] * 4 == [len(step.outcomes) for step in steps]


def test_an_unavailable_server_is_logged_once_and_when_it_is_back(
    server: ScriptedServer, start: Start
) -> None:
    """In a long outage it is logged again at growing intervals, from ten seconds."""
    began = time.monotonic()
    with start() as worker:
        server.stop()
        server.wait(lambda: "unavailable" in worker.output, "the worker says that it is away")
        server.start()
        step = server.add(Step("echo", {}))
        server.wait_for_outcomes(step)
        back = r"store_available|is available again"
        server.wait(lambda: re.search(back, worker.output), "the worker says that it is back")
        lines = re.findall(r"store_unavailable|is unavailable", worker.output)
        assert 1 <= len(lines) <= 1 + (time.monotonic() - began) / 10, worker.output

"""Cases 38 to 48: limits of attempts, shutdown, helpers and large answers."""

import signal
import time
from typing import Any

from sdk.conformance.server import ScriptedServer, Step, is_renewed

Start = Any


def test_case_38_an_attempt_fails_at_its_timeout(running: ScriptedServer) -> None:
    begun = time.monotonic()
    step = running.add(Step("sleep", {"ms": 60_000}, timeout_s=0.3, max_attempts=1))
    running.wait_for_outcomes(step, timeout=40)
    assert 0.3 <= time.monotonic() - begun
    error = step.outcome["error"]
    assert ("timeout", True) == (error["code"], error["retryable"])


def test_case_39_a_late_end_settles_nothing(server: ScriptedServer, start: Start) -> None:
    with start(slots=1):
        step = server.add(Step("sleep", {"ms": 60_000}, timeout_s=0.2, max_attempts=1))
        after = server.add(Step("echo", {}))
        server.wait_for_outcomes(step, after)
        sent = [o["ticket"] for s in server.of_route("settle") for o in s.body["outcomes"]]
        assert [step.ticket, after.ticket] == sent


def test_case_39_a_handler_that_goes_on_after_its_timeout_keeps_its_slot(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=1):
        step = server.add(Step("hangs", {"ms": 2000}, timeout_s=0.2, max_attempts=1))
        server.wait_for_outcomes(step)
        after = server.add(Step("echo", {}))
        server.wait_for_outcomes(after)
        claims = [each for each in server.of_route("claim") if (each.answer or {}).get("steps")]
        assert server.of_route("settle")[-1].at - claims[0].at >= 1.9


def test_case_40_a_missing_heartbeat_fails_the_attempt(running: ScriptedServer) -> None:
    step = running.add(
        Step("hangs", {"ms": 20_000}, max_attempts=1, extra={"heartbeat_timeout_s": 0.3})
    )
    running.wait_for_outcomes(step)
    assert "heartbeat_timeout" == step.outcome["error"]["code"]


def test_case_41_sigterm_waits_for_running_handlers_and_retires(
    server: ScriptedServer, start: Start
) -> None:
    server.settings["wait_s"] = 0.2  # how often it claims while it does not stop
    with start(GRACE="20") as worker:
        step = server.add(Step("sleep", {"ms": 4000}))
        server.wait(lambda: is_renewed(server, step), "it runs")
        worker.send(signal.SIGTERM)
        assert 0 == worker.wait()
        assert {"slept": 4000} == step.result
        assert 1 == len(server.of_route("retire"))
        last = server.of_route("claim")[-1]
        assert len([renew for renew in server.of_route("renew") if renew.at > last.at]) >= 2


def test_case_42_remaining_attempts_are_released_after_the_grace_time(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2, GRACE="4") as worker:
        long, short = Step("sleep", {"ms": 60_000}), Step("sleep", {"ms": 1500})
        server.add(long, short)
        server.wait(lambda: is_renewed(server, long, short), "both run")
        worker.send(signal.SIGTERM)
        assert 0 == worker.wait()
        assert ["released"] == [outcome["outcome"] for outcome in long.outcomes]
        assert "complete" == short.status
        retire, settle = server.of_route("retire")[0], server.of_route("settle")[-1]
        assert retire.at > (settle.ended or 0)


def test_case_43_a_second_signal_ends_the_grace_time(server: ScriptedServer, start: Start) -> None:
    with start(GRACE="60") as worker:
        step = server.add(Step("sleep", {"ms": 60_000}))
        server.wait(lambda: is_renewed(server, step), "it runs")
        worker.send(signal.SIGTERM)
        time.sleep(0.5)
        assert worker.process.poll() is None
        begun = time.monotonic()
        while worker.process.poll() is None and time.monotonic() < begun + 30:
            worker.send(signal.SIGTERM)  # a busy machine may deliver two as one
            time.sleep(0.5)
        worker.wait(1)
        assert [] == [o for o in step.outcomes if o["outcome"] != "released"]


def test_case_44_an_idle_worker_stops_immediately(server: ScriptedServer, start: Start) -> None:
    with start(GRACE="60") as worker:
        server.wait(lambda: server.of_route("claim"), "it claims")
        worker.send(signal.SIGTERM)
        assert 0 == worker.wait()
        assert 1 == len(server.of_route("retire"))


def test_case_44_a_stopping_worker_finishes_and_claims_no_more(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2):
        step = Step("sleep", {"ms": 2500})
        step.then = [Step("echo", {})]
        server.add(step)
        server.wait(lambda: step.status == "in_progress", "it runs")
        server.update(quiet=True)
        server.wait_for_outcomes(step)
        settle = server.of_route("settle")[-1]
        assert 0 == settle.body.get("max", 0)
        quiet, renewals = server.of_route("claim")[-1], len(server.of_route("renew"))
        server.wait(lambda: len(server.of_route("renew")) > renewals + 2, "it goes on renewing")
        assert quiet is server.of_route("claim")[-1]
        server.update(quiet=False)
        server.wait_for_outcomes(step.then[0])


def test_case_45_decisions_have_their_documented_form(running: ScriptedServer) -> None:
    some, none = running.add(Step("decide")), running.add(Step("decide_none"))
    running.wait_for_outcomes(some, none)
    given = {name: value for name, value in some.result.items() if value}  # "" is no reason
    assert {"chosen": ["left", "right"]} == given
    assert ([], "nothing to do") == (none.result["chosen"], none.result["reason"])


def test_case_46_the_cursor_of_a_batch_is_read(running: ScriptedServer) -> None:
    step = running.add(Step("cursor", items={"cursor": {"start": 100, "end": 250}}))
    running.wait_for_outcomes(step)
    assert {"rows": 150} == step.result


def test_case_47_unknown_fields_are_ignored(server: ScriptedServer, start: Start) -> None:
    server.extra = {"news": {"from": "a later version"}}
    with start():
        step = server.add(Step("add", {"a": 1, "b": 2}, extra={"news": [1]}))
        server.wait_for_outcomes(step)
        assert {"sum": 3} == step.result


def test_case_48_many_steps_arrive_in_one_response_and_payloads_are_fetched(
    server: ScriptedServer, start: Start
) -> None:
    steps = [Step("add", {"a": n, "b": 1}) for n in range(500)]
    steps += [Step("reads_ancestor", {"step": "before"}, by_reference=True) for _ in range(3)]
    for step in steps[-3:]:
        step.results = {"before": {"large": True}}
    server.add(*steps)
    with start(slots=503):
        server.wait_for_outcomes(*steps)
        assert list(range(1, 501)) == [step.result["sum"] for step in steps[:500]]
        assert [{"got": {"large": True}}] * 3 == [step.result for step in steps[-3:]]
        assert 503 == len(server.of_route("claim")[0].answer["steps"])


def test_case_48_large_results_are_complete(running: ScriptedServer) -> None:
    step = running.add(Step("big", {"n": 900_000}))
    running.wait_for_outcomes(step)
    assert 900_000 == len(step.result["text"])

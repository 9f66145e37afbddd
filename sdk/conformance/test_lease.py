"""Cases 24 to 34: renewals, cancellation, lost leases and checkpoints."""

import time
from functools import partial
from itertools import pairwise
from typing import Any

from sdk.conformance.server import Request, ScriptedServer, Step, is_renewed

Start = Any

LONG = {"ms": 20_000}


def in_progress(*steps: Step) -> bool:
    """Return whether steps are handed out."""
    return all(step.status == "in_progress" for step in steps)


def renewals_of(server: ScriptedServer, step: Step) -> list[Request]:
    """Return the renewals that name a step's attempt."""
    return [renew for renew in server.of_route("renew") if step.ticket in renew.body["held"]]


def test_case_24_the_lease_is_renewed_while_a_handler_runs(
    server: ScriptedServer, start: Start
) -> None:
    with start():
        step = server.add(Step("sleep", LONG))
        server.wait(lambda: len(renewals_of(server, step)) >= 4, "it is renewed again and again")
        begun = [renew.at for renew in renewals_of(server, step)]
        lease = server.settings["lease_s"]
        assert max(after - before for before, after in pairwise(begun)) < lease


def test_case_25_renewals_list_all_held_claims(server: ScriptedServer, start: Start) -> None:
    with start(slots=3):
        steps = [Step("sleep", LONG) for _ in range(3)]
        server.add(*steps)
        server.wait(lambda: in_progress(*steps), "all run")
        tickets = {step.ticket for step in steps}
        server.wait(
            lambda: any(tickets == set(r.body["held"]) for r in server.of_route("renew")),
            "a renewal names all tickets",
        )


def test_case_26_renewals_continue_during_a_long_settlement(
    server: ScriptedServer, start: Start
) -> None:
    server.holds_settlements = True
    with start():
        step = server.add(Step("echo", {}))
        server.wait(lambda: server.of_route("settle"), "it has ended")
        settle = server.of_route("settle")[0]

        def during() -> list[Request]:
            return [renew for renew in renewals_of(server, step) if renew.at > settle.at]

        server.wait(lambda: len(during()) >= 2, "renewals name it during its settlement")
        server.update(holds_settlements=False)
        server.wait_for_outcomes(step)
        assert 1 == len(server.of_route("settle"))


def test_case_27_a_cancelled_attempt_stops_within_100_ms_and_settles_nothing(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=1):
        delays: list[float] = []
        while not delays or (min(delays) > 0.1 + MARGIN and len(delays) < TRIES):
            step = server.add(Step("sleep", LONG))
            server.wait(partial(is_renewed, server, step), "it runs")
            after = Step("echo", {})
            cancelled = time.monotonic()
            server.cancel(step)
            server.add(after)
            server.wait_for_outcomes(after)
            claim = next(c for c in server.of_route("claim") if c.at > cancelled)
            delays.append(claim.at - cancelled)
            assert [] == step.outcomes
        assert min(delays) <= 0.1 + MARGIN, delays
        assert [step.ticket for step in server.steps if step.handler == "echo"] == [
            outcome["ticket"]
            for settle in server.of_route("settle")
            for outcome in settle.body["outcomes"]
        ]


MARGIN = 0.4  #: seconds that a loaded machine may add
TRIES = 10  #: of which one has to be in time: a busy machine may keep the others waiting


def test_case_28_the_slot_of_a_cancelled_attempt_is_free_again(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2):
        steps = [Step("sleep", LONG) for _ in range(2)]
        server.add(*steps)
        server.wait(lambda: in_progress(*steps), "both run")
        for step in steps:
            server.cancel(step)
        after = [Step("sleep", {"ms": 50}) for _ in range(4)]
        server.add(*after)
        server.wait_for_outcomes(*after)


def test_case_29_a_refused_outcome_is_no_error(server: ScriptedServer, start: Start) -> None:
    with start(slots=1):
        server.hides_cancellations = True
        step = server.add(Step("sleep", {"ms": 1500}))
        server.wait(lambda: in_progress(step), "it runs")
        server.cancel(step)
        server.wait(lambda: server.of_route("settle"), "it is settled")
        after = server.add(Step("echo", {}))
        server.wait_for_outcomes(after)
        settlements = server.of_route("settle")
        server.wait(lambda: all(each.answer for each in settlements), "they are answered")
        assert [["refused"], ["complete"]] == [each.answer["settled"] for each in settlements]


def test_case_30_a_worker_that_lost_its_lease_registers_again(
    server: ScriptedServer, start: Start
) -> None:
    with start():
        step = server.add(Step("sleep", LONG, max_attempts=2))
        server.wait(lambda: is_renewed(server, step), "it runs")
        server.lose_leases()
        server.wait(lambda: len(server.workers) >= 2, "it registers again")
        server.wait(lambda: step.attempt == 2, "the step is claimed again")
        assert step.worker == list(server.workers)[-1]
        assert [] == step.outcomes


def test_case_31_ended_attempts_are_sent_once_more_under_the_previous_id(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=2):
        fault = server.fail_next("settle", status=503, times=-1)
        step = server.add(Step("sleep", {"ms": 200}))
        server.wait(lambda: server.of_route("settle"), "it has ended")
        server.end_leases()
        server.faults.remove(fault)
        server.wait_for_outcomes(step)
        server.wait(lambda: len(server.workers) == 2, "it registers again")
        former, _ = server.workers
        server.wait(lambda: server.of_route("settle")[-1].status == 200, "the outcome is answered")
        last = server.of_route("settle")[-1]
        assert f"/v1/workers/{former}/settle" == last.path
        assert 0 == last.body.get("max", 0)
        assert 1 == step.attempt


def test_case_32_an_unknown_worker_registers_again(server: ScriptedServer, start: Start) -> None:
    with start():
        server.wait(lambda: server.of_route("renew"), "it renews")
        server.forget_workers()
        server.wait(lambda: len(server.workers) >= 2, "it registers again")
        step = server.add(Step("echo", {"a": 1}))
        server.wait_for_outcomes(step)
        assert {"a": 1} == step.result


def test_case_33_a_checkpoint_is_stored_when_the_call_returns(running: ScriptedServer) -> None:
    step = running.add(Step("checkpointing"))
    twice = running.add(Step("checkpoint_twice"))
    running.wait_for_outcomes(step, twice)
    assert {"from": {"done": 1}} == step.result
    assert ([1, 2], 2) == (
        [
            c.body["value"]
            for c in running.of_route("checkpoint")
            if c.body["ticket"] == twice.ticket
        ],
        twice.checkpoint,
    )
    stored = next(c.ended for c in running.of_route("checkpoint") if c.body["value"] == {"done": 1})
    settled = next(
        settle.at for settle in running.of_route("settle") if "again" in str(settle.body)
    )
    assert (stored or 0) <= settled


def test_case_34_a_refused_checkpoint_stops_the_handler(
    server: ScriptedServer, start: Start
) -> None:
    with start(slots=1):
        server.hides_cancellations = True
        step = server.add(Step("checkpoint_twice", cancelled_at_checkpoint=True))
        server.wait(lambda: step.checkpoint == 1, "the first checkpoint is stored")
        after = server.add(Step("echo", {}))
        server.wait_for_outcomes(after)
        assert [204, 409] == [request.status for request in server.of_route("checkpoint")]
        assert [] == step.outcomes


def test_case_34_a_checkpoint_is_sent_again_after_a_lost_response(
    server: ScriptedServer, start: Start
) -> None:
    with start():
        server.fail_next("checkpoint", "close", after=True)
        step = server.add(Step("checkpoint_twice"))
        server.wait_for_outcomes(step)
        assert [1, 1, 2] == [c.body["value"] for c in server.of_route("checkpoint")]

"""Cases 35 to 37: children, and the other durable calls."""

from functools import partial

from sdk.conformance.server import ScriptedServer, Step


def is_waiting(step: Step) -> bool:
    """Return whether a step is parked."""
    return step.status == "waiting"


def test_case_35_a_task_is_created_with_the_ticket_and_a_key(running: ScriptedServer) -> None:
    step = running.add(Step("creates"))
    running.wait_for_outcomes(step)
    (task,) = running.tasks.values()
    assert {"id": task.id} == step.result
    assert step.ticket == task.ticket
    assert ("child", "conformance", {"n": 2}) == tuple(
        task.body[name] for name in ("name", "namespace", "context")
    )
    assert task.key
    assert task.key.startswith(f"{step.task_id}:step")


def test_case_36_waiting_for_a_task_parks_the_step_even_inside_a_catch_all(
    running: ScriptedServer,
) -> None:
    step = running.add(Step("parent"))
    running.wait(lambda: step.status == "waiting", "it waits")
    (task,) = running.tasks.values()
    assert {"task": task.id} == step.outcome["wait_for"]
    assert ("conformance.child", {"n": 1}, "run_task-1") == tuple(
        task.body[name] for name in ("template", "context", "call")
    )
    running.end_task(task, "complete", result={"done": True})
    running.wait_for_outcomes(step)
    assert {"child": {"done": True}} == step.result
    assert (1, 2) == (len(running.tasks), step.attempt)


def test_case_37_a_failed_child_fails_the_step_with_its_error(running: ScriptedServer) -> None:
    step = running.add(Step("parent"))
    running.wait(lambda: step.status == "waiting", "it waits")
    (task,) = running.tasks.values()
    running.end_task(task, "error", error={"code": "STOLEN", "message": "the card is stolen"})
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    assert ("STOLEN", False) == (error["code"], error["retryable"])
    assert "the card is stolen" in error["message"]


def test_case_37_once_calls_once(running: ScriptedServer) -> None:
    step = running.add(Step("once"))
    running.wait_for_outcomes(step)
    assert {"drawn": 1} == step.result
    assert (2, 1) == (step.attempt, len(running.of_route("once")))
    assert [2] == [s.attempt for s in running.steps if running.of_route("calls")]


def test_case_37_sleeps_park_until_they_are_over(running: ScriptedServer) -> None:
    step = running.add(Step("sleeps"))
    for number, seconds in ((1, 60), (2, 120)):
        running.wait(lambda: step.status == "waiting", "it sleeps")
        assert {"delay_s": seconds, "call": f"sleep-{number}"} == step.outcome["wait_for"]
        running.wake(step)
    running.wait_for_outcomes(step)
    assert {"attempt": 3} == step.result


def test_case_37_a_sleep_that_is_not_over_continues(running: ScriptedServer) -> None:
    step = running.add(Step("sleeps"))
    running.wait(lambda: step.status == "waiting", "it sleeps")
    step.calls["sleep-1"]["remaining_s"] = 17.5
    running.update_step(step, status="enqueued")
    running.wait(lambda: step.attempt == 2 and step.status == "waiting", "it sleeps again")
    assert {"delay_s": 17.5, "call": "sleep-1"} == step.outcome["wait_for"]


def test_case_37_a_signal_ends_a_wait(running: ScriptedServer) -> None:
    step = running.add(Step("waits"))
    running.wait(lambda: step.status == "waiting", "it waits")
    wait = {"signal": {"name": "paid"}, "timeout_s": 3600, "call": "wait_signal-1"}
    assert wait == step.outcome["wait_for"]
    running.wake(step, {"name": "paid", "key": None, "payload": {"cents": 5}, "sent_by": "ann"})
    running.wait_for_outcomes(step)
    assert {"paid": {"cents": 5}} == step.result


def test_case_37_a_wait_that_times_out_fails_or_continues(running: ScriptedServer) -> None:
    fails, goes_on = running.add(Step("waits")), running.add(Step("waits_on"))
    for step in (fails, goes_on):
        running.wait(partial(is_waiting, step), "it waits")
        running.wake(step, {"timed_out": True})
    running.wait_for_outcomes(fails, goes_on)
    error = fails.outcome["error"]
    assert ("wait_timeout", False) == (error["code"], error["retryable"])
    assert {"paid": None} == goes_on.result


def test_case_37_a_record_of_another_kind_is_a_conflict(running: ScriptedServer) -> None:
    call = {"name": "wait_signal-1", "kind": "sleep", "value": None, "remaining_s": 0}
    step = running.add(Step("waits", calls={"wait_signal-1": call}, attempt=1))
    running.wait_for_outcomes(step)
    error = step.outcome["error"]
    assert ("durable_call_conflict", False) == (error["code"], error["retryable"])


def test_case_37_yielding_stores_the_checkpoint(running: ScriptedServer) -> None:
    step = running.add(Step("hands_back"))
    running.wait_for_outcomes(step)
    assert ["yielded", "complete"] == [outcome["outcome"] for outcome in step.outcomes]
    assert {"from": {"row": 5}} == step.result

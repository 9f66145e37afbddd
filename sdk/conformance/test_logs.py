"""Cases 51 to 54: log records and progress."""

from sdk.conformance.server import ScriptedServer, Step

RECORDS = 1_000  # of an attempt, before the one which says that there were more


def messages(step: Step) -> list[str]:
    """Return the messages of a step's log records."""
    return [line["message"] for line in step.logs.values()]


def test_case_51_log_records_arrive_before_the_outcome(running: ScriptedServer) -> None:
    step = running.add(Step("logs", {"ms": 0}))
    running.wait_for_outcomes(step)
    assert {"logged": 2} == step.result
    begun, slow, *progress = (step.logs[number] for number in range(len(step.logs)))
    assert ("info", "begun", {"page": 12}) == (begun["level"], begun["message"], begun["fields"])
    assert ("warning", "slow") == (slow["level"], slow["message"])
    assert ("progress", "page 12", {"fraction": 0.4}) == tuple(
        progress[-1][name] for name in ("source", "message", "fields")
    )


def test_case_52_log_records_arrive_while_the_handler_runs(running: ScriptedServer) -> None:
    step = running.add(Step("logs", {"ms": 60_000}))
    running.wait(lambda: "page 12" in messages(step), "its records have arrived")
    assert "in_progress" == step.status
    running.cancel(step)


def test_case_53_the_log_of_an_attempt_is_bounded(running: ScriptedServer) -> None:
    step = running.add(Step("logs_many", {"n": 1_500}))
    running.wait_for_outcomes(step)
    assert [*range(RECORDS + 1)] == sorted(step.logs)
    assert f"record {RECORDS - 1}" == step.logs[RECORDS - 1]["message"]
    assert f"{RECORDS} records" in step.logs[RECORDS]["message"].replace(",", "")
    assert len(running.of_route("logs")) < 50


def test_case_54_an_outcome_does_not_wait_for_log_records(running: ScriptedServer) -> None:
    running.fail_next("logs", times=1_000)
    step = running.add(Step("logs", {"ms": 0}))
    running.wait_for_outcomes(step)
    assert {"logged": 2} == step.result
    assert running.of_route("logs")


def test_case_54_a_lost_answer_stores_no_record_twice(running: ScriptedServer) -> None:
    running.fail_next("logs", "close", after=True)
    step = running.add(Step("logs", {"ms": 3_000}))
    running.wait_for_outcomes(step)
    first, second, *_ = (request.body["lines"] for request in running.of_route("logs"))
    assert first == second[: len(first)]
    assert 1 == messages(step).count("begun")
